//! What people may do with korder's kinds, added to Kubernetes' own `admin`, `edit` and `view`; and who may read metrics.

use korder_api::names::GROUP;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::{labels, object};

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Roles for those who run, use and look at things in a namespace.
pub(crate) fn aggregated() -> Vec<DynamicObject> {
    let see = rule(&["orders", "tickets", "inventories", "stocks", "quotas"], &READ);
    let order = rule(&["orders", "tickets"], &WRITE);
    let scale = rule(&["orders/scale"], &["get", "update", "patch"]);
    let keep = rule(&["inventories"], &WRITE);
    // To be written for the annotation that lets go of what can't be torn down; a policy keeps the rest.
    let discard = rule(&["stocks"], &["update", "patch", "delete", "deletecollection"]);
    vec![
        role("korder-viewer", "view", &[&see]),
        role("korder-editor", "edit", &[&see, &order, &scale]),
        role("korder-admin", "admin", &[&see, &order, &scale, &keep, &discard]),
    ]
}

/// The role of those who read the controllers' metrics; whom it is given to is up to the cluster.
pub(crate) fn metrics_reader() -> DynamicObject {
    object(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "korder-metrics-reader", "labels": labels::ours() },
        "rules": [{ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }],
    }))
}

fn rule(resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [GROUP], "resources": resources, "verbs": verbs })
}

fn role(name: &str, added_to: &str, rules: &[&Value]) -> DynamicObject {
    let mut labels = labels::ours();
    labels[format!("rbac.authorization.k8s.io/aggregate-to-{added_to}")] = json!("true");
    object(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name, "labels": labels },
        "rules": rules,
    }))
}
