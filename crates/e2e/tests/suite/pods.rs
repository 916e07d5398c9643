//! What tests ask of pods.

use anyhow::Result;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use korder_api::names;
use serde_json::Value;

/// The node that a pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// A condition of a pod.
pub(crate) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// Whether the scheduler has looked for a node and found none.
pub(crate) fn is_pending(pod: &Pod) -> bool {
    let reason = condition(pod, "PodScheduled").and_then(|condition| condition.reason.as_deref());
    node_of(pod).is_none() && reason == Some("Unschedulable")
}

/// Whether korder's gate holds a pod back.
pub(crate) fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.into_iter().any(|gate| gate.name == names::GATE)
}

/// Why a pod waits for a ticket: reason and message of korder's condition.
pub(crate) fn waits_for(pod: &Pod) -> Option<(&str, &str)> {
    let condition = condition(pod, names::CONDITION_TICKET_BOUND).filter(|condition| condition.status == "False")?;
    Some((condition.reason.as_deref().unwrap_or_default(), condition.message.as_deref().unwrap_or_default()))
}

/// A pod with a difference, given as a JSON merge patch.
pub(crate) fn merged(pod: Pod, difference: &Value) -> Result<Pod> {
    Ok(serde_json::from_value(merged_value(serde_json::to_value(pod)?, difference))?)
}

/// The same for any value.
pub(crate) fn merged_value(mut value: Value, difference: &Value) -> Value {
    json_patch::merge(&mut value, difference);
    value
}
