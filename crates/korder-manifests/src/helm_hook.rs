//! What the Helm chart has beside the manifests: a Job that lets go of pods before a release is removed.
//!
//! Helm would take the programs away and leave waiting pods behind their gate for ever, and guardians in their places.

use korder_api::names::{CONTROLLER_NAME, GROUP, LEADER_LEASE, SYSTEM_NAMESPACE, WEBHOOK_NAME};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::availability::PRIORITY_CLASS;
use crate::grants::GRANT_NAME;
use crate::programs::restricted;
use crate::{CERTIFICATES_SECRET, GATE_NAME, network, object};

const NAME: &str = "korder-uninstall";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The Job, which runs `korder uninstall --only-pods`, with its account, its rights and what it may reach.
///
/// It has none of korder's labels, so that it does not take itself away.
pub fn helm_hook(image: &str) -> Vec<DynamicObject> {
    let meta = |weight: &str| {
        json!({
            "name": NAME,
            "namespace": SYSTEM_NAMESPACE,
            "labels": labels(),
            "annotations": {
                "helm.sh/hook": "pre-delete",
                "helm.sh/hook-weight": weight,
                "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
            },
        })
    };
    let unbound = |mut meta: Value| {
        if let Some(meta) = meta.as_object_mut() {
            meta.remove("namespace");
        }
        meta
    };
    let role = |kind: &str, metadata: Value, rules: Value| {
        object(json!({ "apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": metadata, "rules": rules }))
    };
    let binding = |kind: &str, role: &str, metadata: Value| {
        object(json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": metadata,
            "roleRef": { "apiGroup": RBAC, "kind": role, "name": NAME },
            "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": SYSTEM_NAMESPACE }],
        }))
    };
    let job = object(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta("0"),
        "spec": {
            "backoffLimit": 3,
            "activeDeadlineSeconds": 600,
            "template": { "metadata": { "labels": labels() }, "spec": pod(image) },
        },
    }));
    vec![
        object(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("-2"),
                       "automountServiceAccountToken": false })),
        role("ClusterRole", unbound(meta("-2")), cluster_rules()),
        role("Role", meta("-2"), own_rules()),
        binding("ClusterRoleBinding", "ClusterRole", unbound(meta("-1"))),
        binding("RoleBinding", "Role", meta("-1")),
        network::policy(&meta("-1"), &labels(), &[]),
        job,
    ]
}

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME })
}

fn pod(image: &str) -> Value {
    let mut pod = restricted(NAME);
    // Where guardians and those who wait have filled all nodes, it must still find a place.
    pod["priorityClassName"] = json!(PRIORITY_CLASS);
    pod["restartPolicy"] = json!("Never");
    pod["containers"][0]["image"] = json!(image);
    pod["containers"][0]["args"] = json!(["uninstall", "--only-pods", "--yes"]);
    pod
}

/// What it looks at of the whole cluster, and what of that it takes away.
fn cluster_rules() -> Value {
    let admission = ["mutatingwebhookconfigurations", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];
    let bindings = ["clusterrolebindings", "rolebindings"];
    json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "patch", "delete"] },
        { "apiGroups": [GROUP], "resources": ["orders", "tickets"], "verbs": ["list"] },
        { "apiGroups": ["admissionregistration.k8s.io"], "resources": admission, "verbs": ["list"] },
        { "apiGroups": ["admissionregistration.k8s.io"], "resources": admission, "resourceNames": [GATE_NAME],
          "verbs": ["delete"] },
        { "apiGroups": [RBAC], "resources": bindings, "verbs": ["list"] },
        { "apiGroups": [RBAC], "resources": bindings, "resourceNames": [CONTROLLER_NAME, WEBHOOK_NAME, GRANT_NAME],
          "verbs": ["delete"] },
        // Those of guardians have their priority in the name.
        { "apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": ["list", "delete"] },
    ])
}

fn own_rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["secrets"], "resourceNames": [CERTIFICATES_SECRET],
          "verbs": ["get", "delete"] },
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [LEADER_LEASE],
          "verbs": ["get", "delete"] },
    ])
}
