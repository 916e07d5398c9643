//! Who may reach korder's programs, and whom they reach.

use korder_api::names::{CONTROLLER_NAME, SYSTEM_NAMESPACE, WEBHOOK_NAME};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::programs::selector;
use crate::{labels, object};

/// The network policies: only the ports that others need, and out only to the API server and DNS.
///
/// From where requests come can't be narrowed: the API server and kubelets have addresses of nodes, and who reads metrics is
/// up to the cluster. Nor can the way out be narrowed to the API server: its address and port differ from cluster to cluster.
pub(crate) fn policies() -> Vec<DynamicObject> {
    vec![policy(CONTROLLER_NAME, "metrics"), policy(WEBHOOK_NAME, "webhook")]
}

fn policy(program: &str, port: &str) -> DynamicObject {
    let tcp = |port: Value| json!({ "port": port, "protocol": "TCP" });
    object(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": program, "namespace": SYSTEM_NAMESPACE, "labels": labels::of(program) },
        "spec": {
            "podSelector": { "matchLabels": selector(program) },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "ports": [tcp(json!("health")), tcp(json!(port))] }],
            "egress": [{ "ports": [{ "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }] }],
        },
    }))
}
