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
    let policy = |program, port| {
        let metadata = json!({ "name": program, "namespace": SYSTEM_NAMESPACE, "labels": labels::of(program) });
        policy(&metadata, &selector(program), &["health", port])
    };
    vec![policy(CONTROLLER_NAME, "metrics"), policy(WEBHOOK_NAME, "webhook")]
}

/// What pods with these labels may be asked on these ports, and on no others; out they may go to the API server and DNS.
pub(crate) fn policy(metadata: &Value, pods: &Value, ports: &[&str]) -> DynamicObject {
    let mut spec = json!({
        "podSelector": { "matchLabels": pods },
        "policyTypes": ["Ingress", "Egress"],
        "egress": [{ "ports": [{ "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }] }],
    });
    if !ports.is_empty() {
        let ports: Vec<_> = ports.iter().map(|port| json!({ "port": port, "protocol": "TCP" })).collect();
        spec["ingress"] = json!([{ "ports": ports }]);
    }
    object(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec,
    }))
}
