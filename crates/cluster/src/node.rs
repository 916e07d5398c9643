//! Simulated nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::error::Error;

/// The annotation of nodes that the control plane simulates.
const SIMULATED: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// How often to look whether nodes are ready, and how long at most.
const READY_INTERVAL: Duration = Duration::from_millis(50);
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// A simulated node to make.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeTemplate {
    name: String,
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
    allocatable: BTreeMap<String, Quantity>,
}

impl NodeTemplate {
    /// A node with 8 CPUs, 32 GiB of memory and room for 110 pods.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let labels =
            [("kubernetes.io/hostname", name.as_str()), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")];
        Self {
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            taints: Vec::new(),
            allocatable: BTreeMap::new(),
            name,
        }
        .allocatable("cpu", "8")
        .allocatable("memory", "32Gi")
        .allocatable("pods", "110")
    }

    /// Adds a label, or replaces the one with that key.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds a taint; the effect is `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[must_use]
    pub fn taint(mut self, key: impl Into<String>, value: impl Into<String>, effect: impl Into<String>) -> Self {
        let value = Some(value.into()).filter(|value| !value.is_empty());
        self.taints.push(Taint { key: key.into(), value, effect: effect.into(), time_added: None });
        self
    }

    /// Sets how much of a resource pods may request, in Kubernetes' notation (`8`, `500m`, `32Gi`).
    #[must_use]
    pub fn allocatable(mut self, resource: impl Into<String>, quantity: impl Into<String>) -> Self {
        self.allocatable.insert(resource.into(), Quantity(quantity.into()));
        self
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The object to create. What the node can allocate must be in it from the start: a node that
    /// appears without it is taken to have none.
    fn to_node(&self) -> Node {
        let (key, value) = SIMULATED;
        Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels.clone()),
                annotations: Some([(key.to_owned(), value.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec { taints: Some(self.taints.clone()), ..NodeSpec::default() }),
            status: Some(NodeStatus {
                allocatable: Some(self.allocatable.clone()),
                capacity: Some(self.allocatable.clone()),
                ..NodeStatus::default()
            }),
        }
    }
}

/// Creates the nodes that are not there yet; one that is there stays as it is.
pub(crate) async fn ensure(client: &Client, templates: &[NodeTemplate]) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    for template in templates {
        match nodes.create(&PostParams::default(), &template.to_node()).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            result => drop(result.map_err(Error::api(format!("create node `{}`", template.name)))?),
        }
    }
    Ok(())
}

/// Tells simulated nodes from an earlier run where their kubelet's API is now.
pub(crate) async fn correct_kubelet_port(client: &Client, port: u16) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    for node in list(&nodes).await?.iter().filter(|node| is_simulated(node)) {
        if kubelet_port(node).is_none_or(|known| known == i32::from(port)) {
            continue;
        }
        let name = node.name_any();
        let patch = json!({"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
        nodes
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(Error::api(format!("update the kubelet port of node `{name}`")))?;
    }
    Ok(())
}

/// Waits until every simulated node is ready and pods can be bound to it.
pub(crate) async fn wait_ready(client: &Client) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let all_ready = async {
        while !list(&nodes).await?.iter().filter(|node| is_simulated(node)).all(is_ready) {
            tokio::time::sleep(READY_INTERVAL).await;
        }
        Ok(())
    };
    tokio::time::timeout(READY_TIMEOUT, all_ready).await.unwrap_or_else(|_| {
        Err(Error::Timeout { what: "the readiness of the simulated nodes".to_owned(), after: READY_TIMEOUT })
    })
}

async fn list(nodes: &Api<Node>) -> Result<Vec<Node>, Error> {
    Ok(nodes.list(&ListParams::default()).await.map_err(Error::api("list the nodes"))?.items)
}

fn is_simulated(node: &Node) -> bool {
    node.annotations().get(SIMULATED.0).is_some_and(|value| value == SIMULATED.1)
}

fn kubelet_port(node: &Node) -> Option<i32> {
    Some(node.status.as_ref()?.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref()?.port)
}

/// Ready by its condition, and the controller manager has noticed.
fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && !taints.into_iter().any(|taint| taint.key == NOT_READY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_its_taint_has_gone_too() {
        let node = |taints: serde_json::Value, status: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": {"name": "n"},
                "spec": {"taints": taints},
                "status": {"conditions": [{"type": "Ready", "status": status}]},
            }))
            .unwrap()
        };
        assert!(is_ready(&node(json!([]), "True")));
        assert!(is_ready(&node(json!([{"key": "mine", "effect": "NoSchedule"}]), "True")));
        assert!(!is_ready(&node(json!([]), "Unknown")));
        assert!(!is_ready(&node(json!([{"key": NOT_READY, "effect": "NoSchedule"}]), "True")));
    }

    #[test]
    fn what_can_be_allocated_is_in_the_object_to_create() {
        let node = NodeTemplate::new("n").allocatable("cpu", "2").allocatable("example.com/gpu", "1").to_node();
        let status = node.status.unwrap_or_default();
        let allocatable = status.allocatable.unwrap_or_default();
        assert_eq!(allocatable.get("cpu"), Some(&Quantity("2".to_owned())));
        assert_eq!(allocatable.get("example.com/gpu"), Some(&Quantity("1".to_owned())));
        assert_eq!(status.capacity, Some(allocatable));
    }
}
