//! The part of a node that korder's rules look at.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Taint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::resources::Amounts;
use crate::selector::Labels;

/// A node as korder sees it.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Deserialize)]
#[resource(inherit = k8s_openapi::api::core::v1::Node)]
pub struct Node {
    /// Name, version, labels.
    pub metadata: ObjectMeta,
    /// What keeps pods away.
    #[serde(default)]
    pub spec: NodeSpec,
    /// What it has.
    #[serde(default)]
    pub status: NodeStatus,
}

/// What keeps pods away from a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Taints; cordoning adds one.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned; the taint comes a moment later.
    pub unschedulable: bool,
}

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// What pods may request of it, all together.
    pub allocatable: Amounts,
}

impl Node {
    /// The node's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The node's labels.
    pub fn labels(&self) -> &Labels {
        static NONE: Labels = BTreeMap::new();
        self.metadata.labels.as_ref().unwrap_or(&NONE)
    }
}
