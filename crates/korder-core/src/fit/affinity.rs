//! Required affinity and anti-affinity between pods (the scheduler's plugin `InterPodAffinity`).

use std::collections::BTreeMap;

use super::Misfit;
use super::world::World;
use crate::node::Node;
use crate::pod::{Pod, PodTerm};

/// How many terms are met by the pods of each place: a topology key and a value of it.
type Counts<'w> = BTreeMap<(&'w str, &'w str), i64>;

/// What the pods that are there mean for one pod, on every node.
#[derive(Clone, Debug, Default)]
pub(super) struct Neighbours<'w> {
    /// Pods that meet all terms of the pod's affinity, with those on their way.
    wanted: Counts<'w>,
    /// The same without those on their way, which are not yet there when the scheduler looks.
    wanted_and_bound: Counts<'w>,
    /// Pods that meet a term of the pod's anti-affinity.
    unwanted: Counts<'w>,
    /// Pods of whose anti-affinity the pod meets a term.
    unwelcome_at: Counts<'w>,
}

impl<'w> Neighbours<'w> {
    /// Counts the pods of the world, but for the pod itself.
    pub(super) fn of(pod: &'w Pod, world: &'w World<'_>) -> Self {
        let mut counted = Self::default();
        let affinity = &pod.constraints().affinity;
        let others = |&&index: &&usize| world.placed.get(index).filter(|placed| placed.pod.uid() != pod.uid());
        for there in world.jealous.iter().filter_map(|index| others(&index)) {
            for term in there.pod.spec.anti_affinity.iter().filter(|term| meets(pod, term, there.pod, world)) {
                count(&mut counted.unwelcome_at, term, there.node);
            }
        }
        if affinity.is_empty() && pod.spec.anti_affinity.is_empty() {
            return counted;
        }
        for there in world.placed.iter().filter(|placed| placed.pod.uid() != pod.uid()) {
            if meets_all(there.pod, affinity, pod, world) {
                for term in affinity {
                    count(&mut counted.wanted, term, there.node);
                    if there.bound {
                        count(&mut counted.wanted_and_bound, term, there.node);
                    }
                }
            }
            for term in pod.spec.anti_affinity.iter().filter(|term| meets(there.pod, term, pod, world)) {
                count(&mut counted.unwanted, term, there.node);
            }
        }
        counted
    }

    /// Why the pod can't be on the node, on which this guardian counts as gone.
    pub(super) fn misfit(&self, pod: &Pod, node: &Node, guardian: &Pod, world: &World<'_>) -> Option<Misfit> {
        let affinity = &pod.constraints().affinity;
        let is_here = guardian.spec.node_name.as_deref() == Some(node.name());
        let guardian_is_wanted = is_here && meets_all(guardian, affinity, pod, world);
        let met = |counts: &Counts<'_>| is_met(affinity, pod, node, counts, guardian_is_wanted, world);
        if !(affinity.is_empty() || met(&self.wanted) && met(&self.wanted_and_bound)) {
            return Some(Misfit::PodAffinity);
        }
        let without_guardian =
            |counts: &Counts<'_>, key: &str, terms: &[PodTerm], is_met: &dyn Fn(&PodTerm) -> bool| {
                let there = node.labels().get(key).and_then(|value| counts.get(&(key, value.as_str()))).copied();
                let of_guardian = terms.iter().filter(|term| term.topology_key == key && is_met(term)).count();
                there.unwrap_or(0) - i64::try_from(of_guardian).unwrap_or(i64::MAX) > 0
            };
        let by_guardian = |term: &PodTerm| is_here && meets(guardian, term, pod, world);
        let own = &pod.spec.anti_affinity;
        if let Some(term) =
            own.iter().find(|term| without_guardian(&self.unwanted, &term.topology_key, own, &by_guardian))
        {
            return Some(Misfit::PodAntiAffinity { of: "the pod's", topology_key: term.topology_key.clone() });
        }
        let by_pod = |term: &PodTerm| is_here && meets(pod, term, guardian, world);
        let of_guardian = &guardian.spec.anti_affinity;
        let mut keys = self.unwelcome_at.keys().map(|(key, _)| *key);
        let key = keys.find(|key| without_guardian(&self.unwelcome_at, key, of_guardian, &by_pod))?;
        Some(Misfit::PodAntiAffinity { of: "another pod's", topology_key: key.to_owned() })
    }
}

fn count<'w>(counts: &mut Counts<'w>, term: &'w PodTerm, node: &'w Node) {
    if let Some(value) = node.labels().get(&term.topology_key) {
        *counts.entry((&term.topology_key, value)).or_default() += 1;
    }
}

/// Whether each term is met in its place around the node; where nobody meets them anywhere, a pod that meets them itself
/// is the first of its kind and may go anywhere (`satisfyPodAffinity`).
fn is_met(
    terms: &[PodTerm],
    pod: &Pod,
    node: &Node,
    counts: &Counts<'_>,
    guardian_is_wanted: bool,
    world: &World<'_>,
) -> bool {
    let of_guardian = |key: &str| {
        let own = terms.iter().filter(|term| guardian_is_wanted && term.topology_key == key);
        i64::try_from(own.count()).unwrap_or(i64::MAX)
    };
    let at = |key: &str| node.labels().get(key);
    if terms.iter().any(|term| at(&term.topology_key).is_none()) {
        return false;
    }
    let count = |key: &str| at(key).and_then(|value| counts.get(&(key, value.as_str()))).copied().unwrap_or(0);
    if terms.iter().all(|term| count(&term.topology_key) - of_guardian(&term.topology_key) > 0) {
        return true;
    }
    let is_here = |key: &str, value: &str| at(key).is_some_and(|here| here == value);
    let nobody = counts.iter().all(|(&(key, value), &count)| is_here(key, value) && count - of_guardian(key) <= 0);
    nobody && meets_all(pod, terms, pod, world)
}

/// Whether a pod meets all terms of another one's; without any it does not.
fn meets_all(pod: &Pod, terms: &[PodTerm], of: &Pod, world: &World<'_>) -> bool {
    !terms.is_empty() && terms.iter().all(|term| meets(pod, term, of, world))
}

/// Whether a pod meets a term of another one's.
fn meets(pod: &Pod, term: &PodTerm, of: &Pod, world: &World<'_>) -> bool {
    let Some(selector) = &term.selector else { return false };
    let namespace = pod.namespace();
    let in_namespace = if term.namespaces.is_empty() && term.namespace_selector.is_none() {
        namespace == of.namespace()
    } else {
        let selected = |selector: &crate::selector::Selector| selector.matches(world.namespace(namespace));
        term.namespaces.iter().any(|name| name == namespace) || term.namespace_selector.as_ref().is_some_and(selected)
    };
    in_namespace && selector.selects(pod)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::fit::tests::{Scene, cluster_node, labelled, pod_of};
    use crate::node::Node;

    const HOST: &str = "kubernetes.io/hostname";

    fn node(name: &str, zone: &str) -> Node {
        cluster_node(name, &json!({"metadata": {"labels": {HOST: name, "zone": zone}}}))
    }

    /// Three nodes in two zones.
    fn scene() -> Scene {
        Scene::new().node(node("a1", "a")).node(node("a2", "a")).node(node("b1", "b"))
    }

    fn near(kind: &str, key: &str, extra: &Value) -> Value {
        let mut term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "db"}}});
        json_merge(&mut term, extra);
        json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    }

    fn json_merge(value: &mut Value, with: &Value) {
        if let (Some(into), Some(from)) = (value.as_object_mut(), with.as_object()) {
            into.extend(from.clone());
        }
    }

    /// The nodes on which it fits.
    fn fits(scene: &Scene, pod: &crate::pod::Pod) -> Vec<&'static str> {
        ["a1", "a2", "b1"].into_iter().filter(|node| scene.told(pod, node).is_none()).collect()
    }

    #[test]
    fn affinity_wants_a_pod_in_the_same_place() {
        let db = || labelled(pod_of("db", &json!({})), "app", "db");
        let with = |key: &str| pod_of("p", &near("podAffinity", key, &json!({})));
        assert!(fits(&scene(), &with("zone")).is_empty(), "there is none");
        assert_eq!(fits(&scene().bound(db(), "a1"), &with("zone")), ["a1", "a2"]);
        assert_eq!(fits(&scene().bound(db(), "a1"), &with(HOST)), ["a1"]);
        assert!(fits(&scene().bound(db(), "a1"), &with("rack")).is_empty(), "a node without the label is no place");
        assert!(fits(&scene().promised(db(), "a1"), &with("zone")).is_empty(), "it is not there yet");
    }

    #[test]
    fn the_first_of_its_kind_may_go_anywhere_and_others_follow() {
        let first = labelled(pod_of("p", &near("podAffinity", "zone", &json!({}))), "app", "db");
        assert_eq!(fits(&scene(), &first), ["a1", "a2", "b1"]);
        let other = labelled(pod_of("db", &json!({})), "app", "db");
        assert_eq!(fits(&scene().bound(other.clone(), "b1"), &first), ["b1"]);
        // One that is on its way: it may be there or not when the scheduler looks.
        assert_eq!(fits(&scene().promised(other, "b1"), &first), ["b1"]);
    }

    #[test]
    fn anti_affinity_holds_in_both_directions() {
        let db = || labelled(pod_of("db", &json!({})), "app", "db");
        let shy = pod_of("p", &near("podAntiAffinity", "zone", &json!({})));
        assert_eq!(fits(&scene().bound(db(), "a1"), &shy), ["b1"]);
        assert_eq!(fits(&scene().promised(db(), "a1"), &shy), ["b1"], "those on their way count");
        assert_eq!(fits(&scene().bound(shy.clone(), "a1"), &db()), ["b1"]);
        assert_eq!(fits(&scene().promised(shy.clone(), "a1"), &db()), ["b1"]);
        assert_eq!(fits(&scene().bound(shy.clone(), "a1"), &shy), ["a1", "a2", "b1"], "it is the pod itself");
        let told = scene().bound(db(), "a1").told(&shy, "a1").unwrap();
        assert_eq!(told, "the pod's anti-affinity keeps it away from other pods with the same `zone`");
        let told = scene().bound(shy, "a1").told(&db(), "a1").unwrap();
        assert_eq!(told, "another pod's anti-affinity keeps it away from other pods with the same `zone`");
    }

    #[test]
    fn namespaces_are_named_selected_or_the_pods_own() {
        let elsewhere = |name: &str| {
            let mut db = labelled(pod_of("db", &json!({})), "app", "db");
            db.metadata.namespace = Some(name.to_owned());
            db
        };
        let scene = |name: &str| scene().namespace("prod", &json!({"env": "prod"})).bound(elsewhere(name), "a1");
        let shy = |extra: Value| pod_of("p", &near("podAntiAffinity", "zone", &extra));
        let all = ["a1", "a2", "b1"];
        let prod = json!({"namespaceSelector": {"matchLabels": {"env": "prod"}}});
        for (name, extra, there) in [
            ("default", json!({}), &all[2..]),
            ("prod", json!({}), &all[..]),
            ("prod", json!({"namespaces": ["prod"]}), &all[2..]),
            ("default", json!({"namespaces": ["prod"]}), &all[..]),
            ("prod", prod.clone(), &all[2..]),
            ("default", prod, &all[..]),
            ("default", json!({"namespaceSelector": {}}), &all[2..]),
            ("default", json!({"labelSelector": null}), &all[..]),
        ] {
            assert_eq!(fits(&scene(name), &shy(extra.clone())), there, "{name} {extra}");
        }
    }

    #[test]
    fn the_guardian_counts_as_gone_and_others_do_not() {
        let everybody = json!({"labelSelector": {}});
        let shy = pod_of("p", &near("podAntiAffinity", HOST, &everybody));
        assert!(scene().guardian_on("a1").told(&shy, "a1").is_none());
        let another = labelled(pod_of("another-guardian", &json!({})), "korder.dev/role", "guardian");
        assert!(scene().guardian_on("a1").bound(another, "a1").told(&shy, "a1").is_some());
        // Where only the guardian is near, nobody is.
        let sociable = pod_of("p", &near("podAffinity", HOST, &everybody));
        assert!(scene().guardian_on("a1").told(&sociable, "a1").is_none(), "it meets its own terms");
        let picky = json!({"labelSelector": {"matchExpressions": [{"key": "korder.dev/role", "operator": "Exists"}]}});
        let sociable = pod_of("p", &near("podAffinity", HOST, &picky));
        assert!(scene().guardian_on("a1").told(&sociable, "a1").is_some());
    }
}
