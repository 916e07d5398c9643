//! What a pod and a node say of each other: labels, names, taints.

use k8s_openapi::api::core::v1::Taint;

use super::Misfit;
use crate::node::Node;
use crate::pod::{Constraints, Toleration};

/// The taint that a cordoned node counts as having.
const CORDON: &str = "node.kubernetes.io/unschedulable";

/// What keeps a pod away from a node whatever else is there.
pub(crate) fn misfit(wants: &Constraints, node: &Node) -> Option<Misfit> {
    unselected(wants, node)
        .or_else(|| cordoned(&wants.tolerations, node))
        .or_else(|| unborne_taints(&wants.tolerations, node).next().map(Misfit::from))
}

/// Whether the pod's node selector or its required node affinity rules the node out.
pub(super) fn unselected(wants: &Constraints, node: &Node) -> Option<Misfit> {
    let lacks = |(key, value): &(&String, &String)| node.labels().get(*key) != Some(*value);
    if let Some((key, value)) = wants.node_selector.iter().find(lacks) {
        return Some(Misfit::NodeSelector { key: key.clone(), value: value.clone() });
    }
    let selected = |affinity: &crate::selector::NodeSelector| affinity.matches(node.labels(), Some(node.name()));
    let ruled_out = wants.node_affinity.as_ref().is_some_and(|affinity| !selected(affinity));
    ruled_out.then_some(Misfit::NodeAffinity)
}

/// Whether the node is cordoned for pods that bear no more than this.
pub(crate) fn cordoned(tolerations: &[Toleration], node: &Node) -> Option<Misfit> {
    let taint = Taint { key: CORDON.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    let borne = || tolerations.iter().any(|toleration| tolerates(toleration, &taint));
    (node.spec.unschedulable && !borne()).then(|| Misfit::from(&taint))
}

/// The taints that keep away pods that bear no more than this; `PreferNoSchedule` keeps none.
pub(crate) fn unborne_taints<'a>(tolerations: &'a [Toleration], node: &'a Node) -> impl Iterator<Item = &'a Taint> {
    let keeps_away = |taint: &&Taint| taint.effect != "PreferNoSchedule";
    let borne = |taint: &Taint| tolerations.iter().any(|toleration| tolerates(toleration, taint));
    node.spec.taints.iter().filter(keeps_away).filter(move |taint| !borne(taint))
}

impl From<&Taint> for Misfit {
    fn from(taint: &Taint) -> Self {
        Self::Taint { key: taint.key.clone(), effect: taint.effect.clone() }
    }
}

/// `Toleration.ToleratesTaint` of `k8s.io/api/core/v1`. The numeric operators are refused at admission where the
/// scheduler doesn't know them.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let matches = |wanted: Option<&String>, is: &str| wanted.is_none_or(|wanted| wanted == is);
    if !matches(toleration.effect.as_ref(), &taint.effect) || !matches(toleration.key.as_ref(), &taint.key) {
        return false;
    }
    let value = taint.value.as_deref().unwrap_or_default();
    let compared = |holds: fn(&i64, &i64) -> bool| match (integer(value), integer(&toleration.value)) {
        (Some(value), Some(bound)) => holds(&value, &bound),
        _ => false,
    };
    match toleration.operator.as_deref() {
        None | Some("Equal") => toleration.value == value,
        Some("Exists") => true,
        Some("Lt") => compared(i64::lt),
        Some("Gt") => compared(i64::gt),
        Some(_) => false,
    }
}

/// A number without leading zeros or a plus sign (`IsDecimalInteger`).
fn integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::tests::{cluster_node, pod_of};
    use serde_json::{Value, json};

    fn told(spec: &Value, node: &Node) -> Option<String> {
        misfit(pod_of("p", spec).constraints(), node).map(|misfit| misfit.to_string())
    }

    #[test]
    fn taints_are_borne_as_the_scheduler_says() {
        let taint = json!({"key": "team", "value": "a", "effect": "NoSchedule"});
        let number = json!({"key": "load", "value": "5", "effect": "NoExecute"});
        let table = [
            (&taint, json!({"operator": "Exists"}), true),
            (&taint, json!({"key": "team", "operator": "Exists"}), true),
            (&taint, json!({"key": "team", "operator": "Exists", "effect": "NoExecute"}), false),
            (&taint, json!({"key": "team", "value": "a", "effect": "NoSchedule"}), true),
            (&taint, json!({"key": "team", "operator": "Equal", "value": "b"}), false),
            (&taint, json!({"key": "other", "operator": "Exists"}), false),
            (&taint, json!({"key": "team", "operator": "Lt", "value": "3"}), false),
            (&number, json!({"key": "load", "operator": "Lt", "value": "6"}), true),
            (&number, json!({"key": "load", "operator": "Lt", "value": "5"}), false),
            (&number, json!({"key": "load", "operator": "Gt", "value": "4"}), true),
            (&number, json!({"key": "load", "operator": "Gt", "value": "5"}), false),
            (&number, json!({"key": "load", "operator": "Gt", "value": "04"}), false),
        ];
        for (taint, toleration, borne) in table {
            let node = cluster_node("n", &json!({"spec": {"taints": [taint]}}));
            let told = told(&json!({"tolerations": [toleration]}), &node);
            assert_eq!(told.is_none(), borne, "{toleration}");
        }
        let soft = cluster_node("n", &json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}}));
        assert_eq!(told(&json!({}), &soft), None);
    }

    #[test]
    fn a_cordoned_node_counts_as_tainted() {
        let node = cluster_node("n", &json!({"spec": {"unschedulable": true}}));
        let message = "the node has the taint `node.kubernetes.io/unschedulable:NoSchedule`";
        assert_eq!(told(&json!({}), &node).as_deref(), Some(message));
        let daemon = json!({"tolerations": [{"key": CORDON, "operator": "Exists", "effect": "NoSchedule"}]});
        assert_eq!(told(&daemon, &node), None);
    }

    #[test]
    fn a_node_that_is_not_selected_is_told_from_one_without_the_label() {
        let node = cluster_node("n", &json!({"metadata": {"labels": {"a": "1"}}}));
        assert_eq!(told(&json!({"nodeSelector": {"a": "1"}}), &node), None);
        assert_eq!(told(&json!({"nodeSelector": {"a": "2"}}), &node).as_deref(), Some("the node has no label `a=2`"));
        let named = |name: &str| {
            let field = json!({"key": "metadata.name", "operator": "In", "values": [name]});
            let terms = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
        };
        assert_eq!(told(&named("n"), &node), None);
        assert_eq!(told(&named("m"), &node).as_deref(), Some("the pod's node affinity rules the node out"));
    }
}
