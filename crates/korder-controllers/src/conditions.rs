//! korder's condition and annotations on a pod, as JSON patch operations.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use korder_api::names;
use korder_core::pod::Pod;
use serde_json::{Value, json};

/// The operations that set [`names::CONDITION_TICKET_BOUND`] on the version of the pod that was looked at.
pub(crate) fn of_pod(pod: &Pod, holds: bool, reason: &str, message: &str, now: Timestamp) -> Vec<Value> {
    let status = if holds { "True" } else { "False" };
    let same = pod.condition(names::CONDITION_TICKET_BOUND).filter(|is| is.status == status && is.reason == reason);
    let condition = json!({
        "type": names::CONDITION_TICKET_BOUND,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": same.and_then(|same| same.last_transition_time.clone()).unwrap_or(Time(now)),
        "lastProbeTime": Time(now),
    });
    let conditions = &pod.status.conditions;
    if conditions.is_empty() {
        return vec![json!({"op": "add", "path": "/status/conditions", "value": [condition]})];
    }
    let there = conditions.iter().position(|one| one.type_ == names::CONDITION_TICKET_BOUND);
    vec![match there {
        Some(index) => json!({"op": "replace", "path": format!("/status/conditions/{index}"), "value": condition}),
        None => json!({"op": "add", "path": "/status/conditions/-", "value": condition}),
    }]
}

/// The operation that sets an annotation on the version of the pod that was looked at.
pub(crate) fn annotation(pod: &Pod, key: &str, value: &str) -> Value {
    if pod.metadata.annotations.is_none() {
        return json!({"op": "add", "path": "/metadata/annotations", "value": { key: value }});
    }
    json!({"op": "add", "path": format!("/metadata/annotations/{}", key.replace('/', "~1")), "value": value})
}

/// The operation that takes an annotation off, where it is there.
pub(crate) fn without_annotation(pod: &Pod, key: &str) -> Option<Value> {
    pod.annotation(key)?;
    Some(json!({"op": "remove", "path": format!("/metadata/annotations/{}", key.replace('/', "~1"))}))
}
