//! The objects of the scenarios.

use korder_api::names;
use serde_json::{Value, json};

/// A node of so many cores.
pub fn node(name: &str, cores: u32) -> Value {
    let amounts = json!({"cpu": cores.to_string(), "memory": "64Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": amounts, "capacity": amounts},
    })
}

/// An order for tickets of one core.
pub fn order(name: &str, replicas: u32, refresh_policy: &str, duration: &str) -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": "Order", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "OneTime", "refreshPolicy": refresh_policy},
            "template": {"spec": {
                "duration": duration,
                "resources": {"requests": {"cpu": "1"}},
                "lifecycle": {"ttlSecondsAfterFinished": 10},
            }},
        },
    })
}

/// A ticket of nobody's order, of one core.
pub fn ticket(name: &str) -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": "Ticket", "metadata": {"name": name},
        "spec": {"duration": "1h", "resources": {"requests": {"cpu": "1"}}},
    })
}

/// A pod of one core that asks for a ticket of an order, or of any.
pub fn claimant(name: &str, order: Option<&str>) -> Value {
    let mut pod = competitor(name);
    pod["metadata"]["annotations"] = match order {
        Some(order) => json!({ names::ANNOTATION_ORDER: order }),
        None => json!({ names::ANNOTATION_REQUIRED: "true" }),
    };
    pod
}

/// A pod of one core with these annotations, whose keys are given without `korder.dev/`.
pub fn asking(name: &str, annotations: &[(&str, &str)]) -> Value {
    let mut pod = competitor(name);
    let annotations = annotations.iter().map(|(key, value)| (format!("korder.dev/{key}"), json!(value)));
    pod["metadata"]["annotations"] = annotations.collect();
    pod
}

/// A pod of one core and of the claimants' priority that asks for nothing else.
pub fn competitor(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{
            "name": "app", "image": "app", "resources": {"requests": {"cpu": "1"}},
        }]},
    })
}

/// A priority class of this value.
pub fn priority_class(name: &str, value: i32) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
        "preemptionPolicy": "PreemptLowerPriority",
    })
}
