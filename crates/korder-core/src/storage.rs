//! The parts of claims, volumes and classes of storage that decide where a pod fits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::storage::v1 as storage;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use korder_api::Quantity;
use serde::{Deserialize, Deserializer};

use crate::selector::{Labels, NodeSelector, Selector};

/// Annotation of a claim whose binding is complete.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Annotation of a claim for whose pod the scheduler has chosen a node.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Annotation of claims and volumes that goes before their storage class.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// Access mode of a claim that one pod alone may use.
const ONE_POD: &str = "ReadWriteOncePod";
/// What a class without dynamic provisioning names.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// A claim of storage.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Deserialize)]
#[resource(inherit = core::PersistentVolumeClaim)]
pub struct PersistentVolumeClaim {
    /// Name, uid, annotations, owners.
    pub metadata: ObjectMeta,
    /// What is claimed.
    #[serde(default)]
    pub spec: ClaimSpec,
    /// What became of it.
    #[serde(default)]
    pub status: Phase,
}

/// What is claimed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// The volume that it is, or is to be, bound to.
    pub volume_name: String,
    /// The class.
    pub storage_class_name: String,
    /// How the volume is to be used.
    pub access_modes: Vec<String>,
    /// How much.
    pub resources: Requested,
    /// Labels of the volumes that will do.
    #[serde(deserialize_with = "selector")]
    pub selector: Option<Selector>,
    /// `Filesystem` where not given.
    pub volume_mode: Option<String>,
    /// Class of attributes.
    pub volume_attributes_class_name: String,
}

/// How much storage is claimed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Requested {
    /// The request.
    pub requests: Storage,
}

/// An amount of storage.
#[derive(Clone, Debug, Default, PartialEq, PartialOrd, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// The amount.
    pub storage: Option<Quantity>,
}

/// In which phase something is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Phase {
    /// The phase.
    pub phase: String,
}

/// A volume.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Deserialize)]
#[resource(inherit = core::PersistentVolume)]
pub struct PersistentVolume {
    /// Name, labels, annotations.
    pub metadata: ObjectMeta,
    /// What it is.
    #[serde(default)]
    pub spec: VolumeSpec,
    /// What became of it.
    #[serde(default)]
    pub status: Phase,
}

/// What a volume is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    /// The claim that it is, or is to be, bound to.
    pub claim_ref: Option<ObjectReference>,
    /// The class.
    pub storage_class_name: String,
    /// How it can be used.
    pub access_modes: Vec<String>,
    /// How much there is.
    pub capacity: Storage,
    /// `Filesystem` where not given.
    pub volume_mode: Option<String>,
    /// Class of attributes.
    pub volume_attributes_class_name: String,
    /// Where it can be used.
    #[serde(deserialize_with = "reachable_from")]
    pub node_affinity: Option<NodeSelector>,
}

/// A class of storage.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Deserialize)]
#[resource(inherit = storage::StorageClass)]
#[serde(rename_all = "camelCase")]
pub struct StorageClass {
    /// Name.
    pub metadata: ObjectMeta,
    /// Who makes its volumes.
    #[serde(default)]
    pub provisioner: String,
    /// When its claims are bound.
    #[serde(default)]
    pub volume_binding_mode: Option<String>,
    /// Where its volumes can be made: one of them must hold, if there is any.
    #[serde(default)]
    pub allowed_topologies: Vec<core::TopologySelectorTerm>,
}

fn selector<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Selector>, D::Error> {
    Ok(Option::<LabelSelector>::deserialize(deserializer)?.map(Selector::from))
}

fn reachable_from<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NodeSelector>, D::Error> {
    let affinity = Option::<core::VolumeNodeAffinity>::deserialize(deserializer)?;
    Ok(affinity.and_then(|affinity| affinity.required).map(NodeSelector::from))
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

impl PersistentVolumeClaim {
    /// The claim's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The claim's namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The name of its class, or nothing.
    pub fn class(&self) -> &str {
        annotation(&self.metadata, CLASS).unwrap_or(&self.spec.storage_class_name)
    }

    /// Whether it has its volume, and both sides know.
    pub fn is_bound(&self) -> bool {
        !self.spec.volume_name.is_empty() && annotation(&self.metadata, BIND_COMPLETED).is_some()
    }

    /// The node for which its volume is being made.
    pub fn selected_node(&self) -> Option<&str> {
        annotation(&self.metadata, SELECTED_NODE)
    }

    /// Whether one pod alone may use it.
    pub fn is_for_one_pod(&self) -> bool {
        self.spec.access_modes.iter().any(|mode| mode == ONE_POD)
    }

    /// Whether it was made for the pod of this uid.
    pub fn is_made_for(&self, pod: &str) -> bool {
        self.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true) && owner.uid == pod)
    }
}

impl PersistentVolume {
    /// The volume's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The volume's labels.
    pub fn labels(&self) -> &Labels {
        static NONE: Labels = BTreeMap::new();
        self.metadata.labels.as_ref().unwrap_or(&NONE)
    }

    fn class(&self) -> &str {
        annotation(&self.metadata, CLASS).unwrap_or(&self.spec.storage_class_name)
    }

    /// Whether a node of these labels can use it.
    pub fn is_reachable_from(&self, node: &Labels) -> bool {
        self.spec.node_affinity.as_ref().is_none_or(|affinity| affinity.matches(node, None))
    }

    fn is_meant_for(&self, claim: &PersistentVolumeClaim) -> bool {
        self.spec.claim_ref.as_ref().is_some_and(|meant| {
            meant.name.as_deref() == Some(claim.name())
                && meant.namespace.as_deref() == Some(claim.namespace())
                && meant.uid.as_deref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
        })
    }

    /// The volume that the scheduler would bind a claim to on a node of these labels: one that is meant for the claim,
    /// else the smallest that will do (`component-helpers/storage/volume.FindMatchingVolume`).
    pub fn find<'v>(
        claim: &PersistentVolumeClaim,
        volumes: impl Iterator<Item = &'v Self>,
        node: &Labels,
    ) -> Option<&'v Self> {
        let mut smallest: Option<&Self> = None;
        for volume in volumes {
            let meant = volume.is_meant_for(claim);
            if volume.spec.claim_ref.is_some() && !meant || !volume.will_do(claim) {
                continue;
            }
            let reachable = volume.is_reachable_from(node);
            if meant {
                return reachable.then_some(volume);
            }
            if !reachable || !volume.is_free_for(claim) {
                continue;
            }
            if smallest.is_none_or(|smallest| volume.spec.capacity < smallest.spec.capacity) {
                smallest = Some(volume);
            }
        }
        smallest
    }

    /// Whether it is large enough and of the kind that the claim wants, also if the two are meant for each other.
    fn will_do(&self, claim: &PersistentVolumeClaim) -> bool {
        let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
        self.class() == claim.class()
            && self.spec.capacity >= claim.spec.resources.requests
            && mode(&self.spec.volume_mode) == mode(&claim.spec.volume_mode)
            && self.spec.volume_attributes_class_name == claim.spec.volume_attributes_class_name
            && self.metadata.deletion_timestamp.is_none()
    }

    fn is_free_for(&self, claim: &PersistentVolumeClaim) -> bool {
        self.status.phase == "Available"
            && claim.spec.selector.as_ref().is_none_or(|selector| selector.matches(self.labels()))
            && claim.spec.access_modes.iter().all(|mode| self.spec.access_modes.contains(mode))
    }
}

impl StorageClass {
    /// The class's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether its claims are bound when a pod that uses them is placed.
    pub fn binds_late(&self) -> bool {
        self.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
    }

    /// Whether volumes of it are made when they are wanted.
    pub fn provisions(&self) -> bool {
        !self.provisioner.is_empty() && self.provisioner != NO_PROVISIONER
    }

    /// Whether its volumes can be made for a node of these labels.
    pub fn allows(&self, node: &Labels) -> bool {
        let holds = |term: &core::TopologySelectorTerm| {
            let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
            let met = |one: &core::TopologySelectorLabelRequirement| {
                node.get(&one.key).is_some_and(|value| one.values.contains(value))
            };
            !expressions.is_empty() && expressions.iter().all(met)
        };
        self.allowed_topologies.is_empty() || self.allowed_topologies.iter().any(holds)
    }
}
