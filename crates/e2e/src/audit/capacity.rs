//! What is on a node fits on it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource;
use korder_api::Quantity;
use kube::ResourceExt as _;

use crate::Change;

/// Amounts by resource: thousandths of `cpu`, whole units of the rest.
pub type Amounts = BTreeMap<String, i64>;

/// Watches that the requests of the pods bound to a node never exceed what it can allocate.
///
/// A pod counts from the moment it is bound until it has ended or is gone. Requests are those of ordinary containers:
/// the pods of this suite have no others.
#[derive(Debug, Default)]
pub struct Capacity {
    nodes: BTreeMap<String, Amounts>,
    /// Node and requests of each bound pod, by uid.
    bound: BTreeMap<String, (String, Amounts)>,
    objections: Vec<String>,
}

impl Capacity {
    /// An auditor of these nodes; pods on others don't count.
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        let mut capacity = Self::default();
        for node in nodes {
            capacity.see_node(Change::Added, node);
        }
        capacity
    }

    /// Takes in the next change of a node.
    pub fn see_node(&mut self, change: Change, node: &Node) {
        let amounts = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        match (change, amounts) {
            (Change::Added | Change::Modified, Some(there)) => {
                self.nodes.insert(node.name_any(), amounts_of(there));
            }
            _ => drop(self.nodes.remove(&node.name_any())),
        }
    }

    /// Takes in the next change.
    pub fn see(&mut self, change: Change, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let gone = change == Change::Deleted || matches!(phase, Some("Succeeded" | "Failed"));
        let node = spec.and_then(|spec| spec.node_name.clone()).filter(|_| !gone);
        let Some(node) = node else {
            self.bound.remove(&uid);
            return;
        };
        if self.bound.insert(uid, (node.clone(), requests(pod))).is_none() {
            self.judge(&node, pod);
        }
    }

    fn judge(&mut self, node: &str, newcomer: &Pod) {
        let Some(allocatable) = self.nodes.get(node) else { return };
        let mut sum = Amounts::new();
        for (_, requests) in self.bound.values().filter(|(place, _)| place == node) {
            for (name, amount) in requests {
                *sum.entry(name.clone()).or_default() += amount;
            }
        }
        for (name, amount) in sum {
            let limit = allocatable.get(&name).copied().unwrap_or_default();
            if amount > limit {
                let version = newcomer.resource_version().unwrap_or_default();
                let pod = newcomer.name_any();
                self.objections.push(format!(
                    "at version {version} pod `{pod}` was bound to node `{node}`: {amount} of {name} requested, \
                     {limit} allocatable"
                ));
            }
        }
    }

    /// What was wrong, in the order in which it happened.
    pub fn objections(&self) -> &[String] {
        &self.objections
    }
}

/// What the ordinary containers of a pod request together, and one of `pods`.
pub fn requests(pod: &Pod) -> Amounts {
    let mut sum = Amounts::from([("pods".to_owned(), 1)]);
    for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        for (name, amount) in requests.map(amounts_of).into_iter().flatten() {
            *sum.entry(name).or_default() += amount;
        }
    }
    sum
}

fn amounts_of(quantities: &BTreeMap<String, resource::Quantity>) -> Amounts {
    let amount = |(name, quantity): (&String, &resource::Quantity)| {
        let quantity: Quantity = quantity.0.parse().expect("the API server only has valid quantities");
        (name.clone(), if name == "cpu" { quantity.millis() } else { quantity.units() })
    };
    quantities.iter().map(amount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{self, Size};

    fn pod(name: &str, node: Option<&str>, phase: &str) -> Pod {
        let mut pod = objects::pod(name, Size::SMALL);
        pod.metadata.uid = Some(name.to_owned());
        pod.spec.get_or_insert_default().node_name = node.map(str::to_owned);
        pod.status.get_or_insert_default().phase = Some(phase.to_owned());
        pod
    }

    fn capacity() -> Capacity {
        Capacity::of([&objects::node("n", "o", Size { cpu: "1", memory: "8Gi" })])
    }

    #[test]
    fn one_pod_too_many_is_seen_once() {
        let mut capacity = capacity();
        for name in ["a", "b"] {
            capacity.see(Change::Added, &pod(name, Some("n"), "Pending"));
        }
        assert_eq!(capacity.objections(), [""; 0]);
        capacity.see(Change::Added, &pod("c", Some("elsewhere"), "Pending"));
        capacity.see(Change::Added, &pod("d", None, "Pending"));
        assert_eq!(capacity.objections(), [""; 0]);
        capacity.see(Change::Modified, &pod("d", Some("n"), "Pending"));
        capacity.see(Change::Modified, &pod("d", Some("n"), "Running"));
        assert_eq!(
            capacity.objections(),
            ["at version  pod `d` was bound to node `n`: 1500 of cpu requested, 1000 allocatable"]
        );
    }

    #[test]
    fn what_has_ended_or_gone_counts_no_more() {
        let mut capacity = capacity();
        for name in ["a", "b"] {
            capacity.see(Change::Added, &pod(name, Some("n"), "Running"));
        }
        capacity.see(Change::Modified, &pod("a", Some("n"), "Succeeded"));
        capacity.see(Change::Added, &pod("c", Some("n"), "Pending"));
        capacity.see(Change::Deleted, &pod("b", Some("n"), "Running"));
        capacity.see(Change::Added, &pod("d", Some("n"), "Pending"));
        assert_eq!(capacity.objections(), [""; 0]);
    }
}
