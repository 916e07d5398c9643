//! What the scheduler has refused though the rules allowed it: not tried again for a while.
//!
//! A rule that these rules don't know may be behind it (a plugin, a limit of a driver), and each try costs a ticket.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use crate::node::Node;
use crate::pod::Pod;

/// How long a refusal is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(5);
/// How many refusals are remembered; those that end first give way.
const MOST: usize = 1024;
/// Labels that tell pods of one kind from each other, so that they say nothing of where these fit.
const NAMES: [&str; 3] =
    ["statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "batch.kubernetes.io/job-completion-index"];

/// Pairs of a pod's shape and a node, and until when they are not tried.
#[derive(Clone, Debug, Default)]
pub struct Refusals(BTreeMap<(u64, String), Refusal>);

#[derive(Clone, Debug)]
struct Refusal {
    until: Timestamp,
    /// The node and its pods as they were.
    state: u64,
}

impl Refusals {
    /// The scheduler has refused a pod on a node with these pods. Where there is no room left for it the place was taken,
    /// and that is no rule.
    pub fn remember<'p>(&mut self, pod: &Pod, node: &Node, bound: impl Iterator<Item = &'p Pod>, now: Timestamp) {
        let bound: Vec<&Pod> = on(node, bound).collect();
        let mut room = node.status.allocatable.clone();
        for pod in &bound {
            room.subtract(&pod.spec.requests);
        }
        if pod.spec.requests.shortage(&room).is_some() {
            return;
        }
        self.forget(now);
        while self.0.len() >= MOST {
            let Some(first) = self.0.iter().min_by_key(|(_, refusal)| refusal.until).map(|(key, _)| key.clone()) else {
                break;
            };
            self.0.remove(&first);
        }
        let refusal = Refusal { until: now + REMEMBERED, state: state(node, bound.into_iter()) };
        self.0.insert((shape(pod), node.name().to_owned()), refusal);
    }

    /// Forgets what is over.
    pub fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, refusal| now < refusal.until);
    }

    /// Whether there is nothing to remember, so that nobody need look at pods for it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Until when pods of a shape are not tried on a node: not at all if the node or its pods have changed.
    pub(super) fn until<'p>(
        &self,
        shape: u64,
        node: &Node,
        bound: impl Iterator<Item = &'p Pod>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let refusal = self.0.get(&(shape, node.name().to_owned()))?;
        (now < refusal.until && refusal.state == state(node, bound)).then_some(refusal.until)
    }
}

/// What of a pod decides where it fits, as a number.
pub(super) fn shape(pod: &Pod) -> u64 {
    let mut hasher = DefaultHasher::new();
    let spec = &pod.spec;
    pod.namespace().hash(&mut hasher);
    for (key, value) in pod.labels.iter().filter(|(key, _)| !NAMES.contains(key)) {
        (key, value).hash(&mut hasher);
    }
    (&spec.scheduler_name, spec.priority, &spec.requests).hash(&mut hasher);
    (&spec.host_ports, &spec.claims, &spec.anti_affinity, pod.constraints()).hash(&mut hasher);
    hasher.finish()
}

/// A node and the pods on it that are not korder's own, as a number.
fn state<'p>(node: &Node, bound: impl Iterator<Item = &'p Pod>) -> u64 {
    let mut pods: Vec<&str> = on(node, bound).filter(|pod| !pod.is_guardian()).map(Pod::uid).collect();
    pods.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (node.labels(), node.spec.unschedulable, &node.status.allocatable, pods).hash(&mut hasher);
    for taint in &node.spec.taints {
        (&taint.key, &taint.value, &taint.effect).hash(&mut hasher);
    }
    hasher.finish()
}

/// The pods that are on a node.
fn on<'p>(node: &Node, pods: impl Iterator<Item = &'p Pod>) -> impl Iterator<Item = &'p Pod> {
    pods.filter(|pod| pod.spec.node_name.as_deref() == Some(node.name()) && !pod.has_ended())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fit::tests::{cluster_node, labelled, on_node, pod_of};
    use crate::fixtures::at;

    #[test]
    fn a_refusal_is_forgotten_in_time_and_when_the_node_or_its_pods_change() {
        let node = cluster_node("n", &json!({}));
        let pod = pod_of("p", &json!({"nodeSelector": {"a": "b"}}));
        let neighbour = on_node(pod_of("neighbour", &json!({})), "n");
        let mut refusals = Refusals::default();
        refusals.remember(&pod, &node, [&neighbour].into_iter(), at(0));
        let until = |pod: &Pod, node: &Node, there: &[&Pod], now| {
            refusals.until(shape(pod), node, there.iter().copied(), now).is_some()
        };
        assert!(until(&pod, &node, &[&neighbour], at(299)));
        assert!(!until(&pod, &node, &[&neighbour], at(300)));
        assert!(!until(&pod, &node, &[], at(1)));
        assert!(!until(&pod, &cluster_node("n", &json!({"metadata": {"labels": {"a": "b"}}})), &[&neighbour], at(1)));
        assert!(!until(&pod, &cluster_node("m", &json!({})), &[&neighbour], at(1)));
        // Guardians come and go by themselves, and pods elsewhere are all the same.
        let guardian = labelled(on_node(pod_of("g", &json!({})), "n"), "korder.dev/role", "guardian");
        let elsewhere = on_node(pod_of("elsewhere", &json!({})), "m");
        assert!(until(&pod, &node, &[&neighbour, &guardian, &elsewhere], at(1)));
        // Another pod of the same kind is refused as well, one of another kind is tried.
        let mut twin = pod_of("twin", &json!({"nodeSelector": {"a": "b"}}));
        twin = labelled(twin, "apps.kubernetes.io/pod-index", "1");
        assert!(until(&twin, &node, &[&neighbour], at(1)));
        assert!(!until(&pod_of("other", &json!({})), &node, &[&neighbour], at(1)));
    }

    #[test]
    fn a_pod_for_which_there_is_no_room_left_was_robbed_and_not_refused() {
        let node = cluster_node("n", &json!({"status": {"allocatable": {"cpu": "2"}}}));
        let cores = |cores: &str| json!({"containers": [{"resources": {"requests": {"cpu": cores}}}]});
        let pod = pod_of("p", &cores("1"));
        let remembered = |other: &str| {
            let other = on_node(pod_of("other", &cores(other)), "n");
            let mut refusals = Refusals::default();
            refusals.remember(&pod, &node, [&other].into_iter(), at(0));
            !refusals.is_empty()
        };
        assert!(remembered("1"));
        assert!(!remembered("1500m"));
    }

    #[test]
    fn the_memory_has_a_bound() {
        let mut refusals = Refusals::default();
        for number in 0..2000 {
            let node = cluster_node(&format!("n-{number}"), &json!({}));
            refusals.remember(&pod_of("p", &json!({})), &node, std::iter::empty(), at(i64::from(number) / 100));
        }
        assert_eq!(refusals.0.len(), MOST);
        assert!(refusals.0.keys().any(|(_, node)| node == "n-1999"));
        assert!(!refusals.0.keys().any(|(_, node)| node == "n-0"));
    }
}
