//! The part of a pod that korder's rules look at.
//!
//! A cache holds every pod of the cluster, so this names only what decides something, worked out once; the rest is not
//! kept. It is never written back: pods are changed by patches.

mod labels;
mod manifest;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use korder_api::names;
use serde::Deserialize;

pub use labels::Labels;
pub(crate) use manifest::PodSpec as Manifest;

use crate::reasons;
use crate::resources::Amounts;
use crate::selector::{self, NodeSelector, Selector};
use crate::ticket::Owner;

/// A pod as korder sees it.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Deserialize)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
#[serde(from = "manifest::Pod")]
pub struct Pod {
    /// Name, uid, version, annotations. Labels and owners stand beside it.
    pub metadata: ObjectMeta,
    /// Labels.
    pub labels: Labels,
    /// The tickets that own it.
    pub tickets: Vec<Owner>,
    /// What was asked for.
    pub spec: PodSpec,
    /// What became of it.
    pub status: PodStatus,
}

/// What a pod asks for, as far as it decides where the pod fits, or what fits beside it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "manifest::PodSpec")]
pub struct PodSpec {
    /// The node that the pod is bound to.
    pub node_name: Option<String>,
    /// Gates that hold the pod back from the scheduler.
    pub scheduling_gates: Vec<Named>,
    /// The scheduler that places it.
    pub scheduler_name: Option<String>,
    /// Priority, filled in by admission.
    pub priority: Option<i32>,
    /// What it requests, all of it together.
    pub requests: Amounts,
    /// Ports of the node that it takes.
    pub host_ports: Vec<HostPort>,
    /// The storage that it uses.
    pub claims: Vec<StorageClaim>,
    /// Pods that it must not be near to, and that must not come near to it.
    pub anti_affinity: Vec<PodTerm>,
    /// What else decides its place; nothing where there is nothing, and of no use once it has a place.
    pub constraints: Option<Box<Constraints>>,
}

/// What decides a pod's place and matters to nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Constraints {
    /// Labels that the node must have.
    pub node_selector: selector::Labels,
    /// Nodes that it must be on one of.
    pub node_affinity: Option<NodeSelector>,
    /// Taints that it bears.
    pub tolerations: Vec<Toleration>,
    /// Pods that it must be near to.
    pub affinity: Vec<PodTerm>,
    /// Rules of spreading that must hold.
    pub spread: Vec<Spread>,
    /// Whether it claims devices.
    pub has_resource_claims: bool,
    /// Whether it names a disk itself, of which two pods must not have the same.
    pub has_inline_disk: bool,
}

/// Something of which only the name matters.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Its name.
    pub name: String,
}

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Its number.
    pub port: u16,
    /// The address; none for all of the node's.
    pub ip: Option<String>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

impl HostPort {
    /// The address that stands for all.
    const ALL: &str = "0.0.0.0";
}

/// A `PersistentVolumeClaim` that a pod uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StorageClaim {
    /// By its name.
    Named(String),
    /// Made for the pod, from the volume of this name.
    Ephemeral(String),
}

/// Pods, and how far around them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodTerm {
    /// Nodes with the same value of this label are one place.
    pub topology_key: String,
    /// Which pods; none are meant without it.
    pub selector: Option<Selector>,
    /// In these namespaces; without any, and without a selector, the pod's own.
    pub namespaces: Vec<String>,
    /// And in those with such labels.
    pub namespace_selector: Option<Selector>,
}

/// A taint that a pod bears; what is not given is all the same to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// The taint's key.
    pub key: Option<String>,
    /// `Equal` where not given.
    pub operator: Option<String>,
    /// What the taint's value is compared with.
    pub value: String,
    /// The taint's effect.
    pub effect: Option<String>,
}

/// A rule of spreading that must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spread {
    /// Nodes with the same value of this label are one domain.
    pub topology_key: String,
    /// How many more pods one domain may have than another.
    pub max_skew: i64,
    /// With fewer domains than these, there is one without pods.
    pub min_domains: i64,
    /// Which pods are counted; none without it.
    pub selector: Option<Selector>,
    /// And of those only the ones with the pod's own values of these labels.
    pub match_label_keys: Vec<String>,
    /// Whether only nodes count that the pod's selector and affinity allow.
    pub honors_node_affinity: bool,
    /// Whether only nodes count whose taints the pod bears.
    pub honors_taints: bool,
}

/// What became of a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// The node that the pod is meant for.
    pub nominated_node_name: Option<String>,
    /// Conditions.
    pub conditions: Vec<PodCondition>,
    /// Its containers.
    pub container_statuses: Vec<ContainerStatus>,
}

/// What became of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// Its state now.
    pub state: ContainerState,
}

/// The state of a container, as far as it does not run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// It waits.
    pub waiting: Option<Waiting>,
}

/// Why a container waits.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// In one word, such as `ImagePullBackOff`.
    pub reason: String,
}

/// A condition of a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
    /// Since when.
    pub last_transition_time: Option<Time>,
    /// When it was last written.
    pub last_probe_time: Option<Time>,
}

impl Pod {
    /// The pod's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The pod's namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The pod's uid.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)
    }

    /// What else decides its place.
    pub fn constraints(&self) -> &Constraints {
        static NONE: Constraints = Constraints {
            node_selector: BTreeMap::new(),
            node_affinity: None,
            tolerations: Vec::new(),
            affinity: Vec::new(),
            spread: Vec::new(),
            has_resource_claims: false,
            has_inline_disk: false,
        };
        self.spec.constraints.as_deref().unwrap_or(&NONE)
    }

    /// The name of a `PersistentVolumeClaim` that it uses.
    pub fn claim_name(&self, claim: &StorageClaim) -> String {
        match claim {
            StorageClaim::Named(name) => name.clone(),
            StorageClaim::Ephemeral(volume) => format!("{}-{volume}", self.name()),
        }
    }

    /// Whether it holds a ticket's place.
    pub fn is_guardian(&self) -> bool {
        self.label(names::LABEL_ROLE) == Some(names::ROLE_GUARDIAN)
    }

    /// Whether it asks for a ticket, or did: its annotations may be taken off, the gate and the ticket's name remain.
    pub fn is_claimant(&self) -> bool {
        let asks = || names::CLAIM_ANNOTATIONS.iter().any(|key| self.annotation(key).is_some());
        !self.is_guardian() && (asks() || self.is_gated() || self.annotation(names::ANNOTATION_BOUND_TICKET).is_some())
    }

    /// Whether korder's gate holds it back.
    pub fn is_gated(&self) -> bool {
        self.spec.scheduling_gates.iter().any(|gate| gate.name == names::GATE)
    }

    /// Whether the scheduler looks for a place for it.
    pub fn is_pending(&self) -> bool {
        self.spec.node_name.is_none() && self.spec.scheduling_gates.is_empty() && !self.is_ending()
    }

    /// Whether it is going or has ended: it will not use a place any more.
    pub fn is_ending(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.has_ended()
    }

    /// Whether it has run to its end.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether it runs on a node and is to stay there.
    pub fn is_running(&self) -> bool {
        self.status.phase == "Running" && self.spec.node_name.is_some() && self.metadata.deletion_timestamp.is_none()
    }

    /// A condition by its type.
    pub fn condition(&self, type_: &str) -> Option<&PodCondition> {
        self.status.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// When it was made.
    pub fn created(&self) -> Option<Timestamp> {
        self.metadata.creation_timestamp.as_ref().map(|time| time.0)
    }

    /// What the scheduler last said when it found no place.
    pub fn unschedulable(&self) -> Option<&str> {
        let condition = self.condition("PodScheduled")?;
        (condition.status == "False" && condition.reason == reasons::UNSCHEDULABLE)
            .then_some(condition.message.as_str())
    }
}
