//! Topology spread constraints that must hold (the scheduler's plugin `PodTopologySpread`).

use std::collections::BTreeMap;

use super::world::World;
use super::{Misfit, nodes};
use crate::node::Node;
use crate::pod::{Constraints, Pod, Spread};
use crate::selector::{Requirement, Selector};

/// One constraint of a pod, and how its pods are spread.
#[derive(Clone, Debug)]
pub(super) struct Domains<'w> {
    spread: &'w Spread,
    /// None selects nobody.
    selector: Option<Selector>,
    /// Pods in each domain, with those on their way.
    counts: BTreeMap<&'w str, Count>,
}

/// Pods in one domain.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    bound: i64,
    on_their_way: i64,
}

/// The domains of each constraint of a pod.
pub(super) fn domains<'w>(pod: &'w Pod, world: &'w World<'_>) -> Vec<Domains<'w>> {
    let wants = pod.constraints();
    let mut all: Vec<Domains<'w>> = wants
        .spread
        .iter()
        .map(|spread| Domains { spread, selector: selector(spread, pod), counts: BTreeMap::new() })
        .collect();
    for domains in &mut all {
        for node in world.nodes.values().filter(|node| is_counted(domains.spread, wants, node)) {
            if let Some(value) = node.labels().get(&domains.spread.topology_key) {
                domains.counts.entry(value).or_default();
            }
        }
        for there in world.placed.iter().filter(|there| there.pod.uid() != pod.uid()) {
            if domains.selects(there.pod, pod.namespace()) && is_counted(domains.spread, wants, there.node) {
                let Some(value) = there.node.labels().get(&domains.spread.topology_key) else { continue };
                let count = domains.counts.entry(value).or_default();
                *(if there.bound { &mut count.bound } else { &mut count.on_their_way }) += 1;
            }
        }
    }
    all
}

/// The constraint's selector, and with it the pod's own values of the labels that it names.
fn selector(spread: &Spread, pod: &Pod) -> Option<Selector> {
    let own = |key: &String| Some(Requirement::equals(key, pod.label(key)?));
    let own = spread.match_label_keys.iter().filter_map(own);
    Some(own.fold(spread.selector.clone()?, Selector::and))
}

/// Whether the node counts: it has the keys of all constraints and is not left out by what the constraint honours.
fn is_counted(spread: &Spread, wants: &Constraints, node: &Node) -> bool {
    wants.spread.iter().all(|spread| node.labels().contains_key(&spread.topology_key))
        && (!spread.honors_node_affinity || nodes::unselected(wants, node).is_none())
        && (!spread.honors_taints || nodes::unborne_taints(&wants.tolerations, node).next().is_none())
}

impl Domains<'_> {
    /// Whether a pod that is there counts. A selector of everything counts nobody (`countPodsMatchSelector`).
    fn selects(&self, pod: &Pod, namespace: &str) -> bool {
        let selected = |selector: &Selector| !selector.is_empty() && selector.selects(pod);
        pod.namespace() == namespace
            && pod.metadata.deletion_timestamp.is_none()
            && self.selector.as_ref().is_some_and(selected)
    }

    /// Why the pod can't be on the node, on which this guardian counts as gone.
    ///
    /// Those on their way arrive in any order, so that here they count, and where pods are fewest they do not.
    pub(super) fn misfit(&self, pod: &Pod, node: &Node, guardian: &Pod) -> Option<Misfit> {
        let Spread { topology_key, max_skew, min_domains, .. } = self.spread;
        let Some(here) = node.labels().get(topology_key) else {
            return Some(Misfit::NoTopology(topology_key.clone()));
        };
        let is_here = guardian.spec.node_name.as_deref() == Some(node.name());
        let gone =
            is_here && self.selects(guardian, pod.namespace()) && is_counted(self.spread, pod.constraints(), node);
        let bound = |value: &str, count: &Count| count.bound - i64::from(gone && value == here);
        let fewest = self.counts.iter().map(|(value, count)| bound(value, count)).min();
        let enough_domains = i64::try_from(self.counts.len()).unwrap_or(i64::MAX) >= *min_domains;
        let fewest = if enough_domains { fewest.unwrap_or(i64::from(i32::MAX)) } else { 0 };
        let itself = self.selector.as_ref().is_some_and(|selector| selector.selects(pod));
        let there = self.counts.get(here.as_str()).map_or(0, |count| bound(here, count) + count.on_their_way);
        let skew = there + i64::from(itself) - fewest;
        (skew > *max_skew).then(|| Misfit::Spread { topology_key: topology_key.clone(), skew, allowed: *max_skew })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::fit::tests::{Scene, cluster_node, labelled, merged, pod_of};
    use crate::node::Node;
    use crate::pod::{Labels, Pod};

    fn node(name: &str, zone: &str) -> Node {
        cluster_node(name, &json!({"metadata": {"labels": {"zone": zone}}}))
    }

    fn scene() -> Scene {
        Scene::new().node(node("a", "a")).node(node("b", "b")).node(node("c", "c"))
    }

    fn app(name: &str, spec: &Value) -> Pod {
        labelled(pod_of(name, spec), "app", "web")
    }

    fn spread(extra: &Value) -> Value {
        let constraint = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
                                "labelSelector": {"matchLabels": {"app": "web"}}});
        json!({"topologySpreadConstraints": [merged(constraint, extra)]})
    }

    fn even(extra: &Value) -> Pod {
        app("p", &spread(extra))
    }

    fn fits(scene: &Scene, pod: &Pod) -> Vec<&'static str> {
        ["a", "b", "c"].into_iter().filter(|node| scene.told(pod, node).is_none()).collect()
    }

    fn web(name: &str) -> Pod {
        app(name, &json!({}))
    }

    #[test]
    fn a_domain_may_have_so_many_more_than_the_least() {
        let even = |extra: &Value| even(extra);
        let one = || scene().bound(web("w1"), "a");
        assert_eq!(fits(&scene(), &even(&json!({}))), ["a", "b", "c"]);
        assert_eq!(fits(&one(), &even(&json!({}))), ["b", "c"]);
        assert_eq!(fits(&one(), &even(&json!({"maxSkew": 2}))), ["a", "b", "c"]);
        assert_eq!(fits(&one(), &even(&json!({"whenUnsatisfiable": "ScheduleAnyway"}))), ["a", "b", "c"]);
        let told = one().told(&even(&json!({})), "a").unwrap();
        assert_eq!(told, "its `zone` would have 2 pods more than another, and 1 is the most");
        let everybody = json!({"labelSelector": {"matchLabels": null}});
        assert_eq!(fits(&one(), &even(&everybody)), ["a", "b", "c"], "a selector of everything counts nobody");
        // One that would not count itself.
        let stranger = labelled(even(&json!({})), "app", "other");
        assert_eq!(fits(&one(), &stranger), ["a", "b", "c"]);
    }

    #[test]
    fn pods_on_their_way_count_here_and_not_where_pods_are_fewest() {
        let everywhere = scene().promised(web("w1"), "a").promised(web("w2"), "b").promised(web("w3"), "c");
        assert!(fits(&everywhere, &even(&json!({}))).is_empty(), "each may come first");
        let bound = scene().bound(web("w1"), "a").bound(web("w2"), "b").bound(web("w3"), "c");
        assert_eq!(fits(&bound, &even(&json!({}))), ["a", "b", "c"]);
    }

    #[test]
    fn too_few_domains_count_as_one_without_pods() {
        let full = || scene().bound(web("w1"), "a").bound(web("w2"), "b").bound(web("w3"), "c");
        assert_eq!(fits(&full(), &even(&json!({"minDomains": 3}))), ["a", "b", "c"]);
        assert!(fits(&full(), &even(&json!({"minDomains": 4}))).is_empty());
    }

    #[test]
    fn nodes_are_left_out_as_the_constraint_says() {
        let tainted =
            json!({"metadata": {"labels": {"zone": "d"}}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
        let full = || {
            let nodes = scene().node(cluster_node("d", &tainted));
            nodes.bound(web("w1"), "a").bound(web("w2"), "b").bound(web("w3"), "c")
        };
        assert!(fits(&full(), &even(&json!({}))).is_empty(), "the tainted node has none");
        assert_eq!(fits(&full(), &even(&json!({"nodeTaintsPolicy": "Honor"}))), ["a", "b", "c"]);
        let only_a = |policy: &str| {
            let spec = merged(spread(&json!({"nodeAffinityPolicy": policy})), &json!({"nodeSelector": {"zone": "a"}}));
            app("p", &spec)
        };
        let one = || scene().bound(web("w1"), "a");
        assert_eq!(fits(&one(), &only_a("Honor")), ["a"]);
        assert!(fits(&one(), &only_a("Ignore")).is_empty());
    }

    #[test]
    fn only_pods_of_the_namespace_that_stay_and_have_the_same_labels_count() {
        let pod = even(&json!({}));
        let beside = |change: fn(&mut Pod)| {
            let mut other = web("w1");
            change(&mut other);
            fits(&scene().bound(other, "a"), &pod).len()
        };
        assert_eq!(beside(|_| ()), 2);
        assert_eq!(beside(|pod| pod.metadata.namespace = Some("other".to_owned())), 3);
        assert_eq!(beside(|pod| pod.labels = Labels::default()), 3);
        assert_eq!(beside(|pod| *pod = crate::fixtures::ending(pod.clone())), 3);
        let versions = |value: &str| labelled(even(&json!({"matchLabelKeys": ["version"]})), "version", value);
        let old = || labelled(web("w1"), "version", "1");
        assert_eq!(fits(&scene().bound(old(), "a"), &versions("1")), ["b", "c"]);
        assert_eq!(fits(&scene().bound(old(), "a"), &versions("2")), ["a", "b", "c"]);
    }

    #[test]
    fn a_node_without_the_label_is_no_domain_and_the_guardian_is_gone() {
        let bare = || Scene::new().node(cluster_node("a", &json!({})));
        assert_eq!(bare().told(&even(&json!({})), "a").unwrap(), "the node has no label `zone`");
        let expressions = json!([{"key": "no", "operator": "DoesNotExist"}]);
        let all = json!({"labelSelector": {"matchLabels": null, "matchExpressions": expressions}});
        assert_eq!(fits(&scene().guardian_on("a"), &even(&all)), ["a", "b", "c"]);
        assert_eq!(fits(&scene().guardian_on("a").bound(web("w1"), "a"), &even(&all)), ["b", "c"]);
    }
}
