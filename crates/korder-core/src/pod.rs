//! The part of a pod that korder's rules look at.
//!
//! A cache holds tens of thousands of these, so it names only what decides something; the rest of the pod is not even
//! decoded. It is never written back: pods are changed by patches.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use korder_api::{Quantity, names};
use serde::{Deserialize, Serialize};

/// A pod as korder sees it.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub struct Pod {
    /// Name, uid, version, labels, annotations.
    pub metadata: ObjectMeta,
    /// What was asked for.
    #[serde(default)]
    pub spec: PodSpec,
    /// What became of it.
    #[serde(default)]
    pub status: PodStatus,
}

/// What a pod asks for, as far as it decides where the pod fits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node that the pod is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Gates that hold the pod back from the scheduler.
    pub scheduling_gates: Vec<Named>,
    /// The scheduler that places it.
    pub scheduler_name: Option<String>,
    /// Priority, filled in by admission.
    pub priority: Option<i32>,
    /// Ordinary containers.
    pub containers: Vec<Container>,
    /// Init containers, side cars among them.
    pub init_containers: Vec<Container>,
    /// Requests of the whole pod, which go before those of its containers.
    pub resources: Option<Requests>,
    /// What the runtime itself takes.
    pub overhead: BTreeMap<String, Quantity>,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod bears.
    pub tolerations: Vec<Toleration>,
    /// Rules of nearness.
    pub affinity: Option<Affinity>,
    /// Rules of spreading.
    pub topology_spread_constraints: Vec<Spread>,
    /// Volumes, by what decides a place.
    pub volumes: Vec<Volume>,
    /// Devices.
    pub resource_claims: Vec<Named>,
}

/// Something of which only the name matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Its name.
    pub name: String,
}

/// A container, as far as it decides where the pod fits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// What it requests.
    pub resources: Requests,
    /// Its ports.
    pub ports: Vec<Port>,
    /// `Always` makes an init container a side car.
    pub restart_policy: Option<String>,
}

/// Requests of a container or a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// Amounts by resource; the API server has filled in those that only have a limit.
    pub requests: BTreeMap<String, Quantity>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// A port of the node that it takes.
    pub host_port: Option<i32>,
}

/// Rules of nearness, each present or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// To nodes.
    pub node_affinity: Option<NodeAffinity>,
    /// To other pods.
    pub pod_affinity: Option<RequiredRules>,
    /// Away from other pods.
    pub pod_anti_affinity: Option<RequiredRules>,
}

/// Affinity to nodes; only what is required decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAffinity {
    /// What must hold.
    pub required_during_scheduling_ignored_during_execution: Option<Present>,
}

/// Rules of which only those that must hold count, and only whether there are any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequiredRules {
    /// What must hold.
    pub required_during_scheduling_ignored_during_execution: Vec<Present>,
}

/// Something of which only its being there matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Present {}

/// A rule of spreading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spread {
    /// `DoNotSchedule` makes it a must.
    pub when_unsatisfiable: String,
}

/// A volume, as far as it decides where the pod fits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// A claim of storage.
    pub persistent_volume_claim: Option<Present>,
    /// A claim of storage made with the pod.
    pub ephemeral: Option<Present>,
}

/// What became of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// Its state now.
    pub state: ContainerState,
}

/// The state of a container, as far as it does not run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// It waits.
    pub waiting: Option<Waiting>,
}

/// Why a container waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// In one word, such as `ImagePullBackOff`.
    pub reason: String,
}

/// A condition of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
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
        (condition.status == "False" && condition.reason == "Unschedulable").then_some(condition.message.as_str())
    }
}
