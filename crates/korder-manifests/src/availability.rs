//! What keeps korder's programs running while nodes go, and on clusters that are full.

use korder_api::names::{CONTROLLER_NAME, SYSTEM_NAMESPACE, WEBHOOK_NAME};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::programs::selector;
use crate::{labels, object};

/// The priority class of korder's programs.
pub(crate) const PRIORITY_CLASS: &str = "korder-system";
/// The highest that is not Kubernetes' own.
const PRIORITY: i32 = 1_000_000_000;

/// The priority class of the programs: guardians, which run at their claimants' priority, must not keep korder itself from
/// its place, nor may the pods that wait for tickets.
pub(crate) fn priority_class() -> DynamicObject {
    object(json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": { "name": PRIORITY_CLASS, "labels": labels::ours() },
        "value": PRIORITY,
        "description": "korder's own programs, without which pods that wait for tickets would wait for ever",
    }))
}

/// Of each program one pod may be missing at a time. Guardians have no budget: they are moved off nodes that are drained.
pub(crate) fn budgets() -> Vec<DynamicObject> {
    let budget = |program| {
        object(json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": { "name": program, "namespace": SYSTEM_NAMESPACE, "labels": labels::of(program) },
            "spec": {
                "maxUnavailable": 1,
                "selector": { "matchLabels": selector(program) },
                // A pod that does not run anyway must not hold up a drain.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }))
    };
    [CONTROLLER_NAME, WEBHOOK_NAME].map(budget).into()
}

/// One program's pods on different nodes, and in different zones, where that can be had.
pub(crate) fn spread(program: &str) -> Value {
    json!(["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|domain| {
        json!({
            "maxSkew": 1,
            "topologyKey": domain,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": selector(program) },
            // Each form by itself, or an upgrade would leave both pods on one node.
            "matchLabelKeys": ["pod-template-hash"],
        })
    }))
}
