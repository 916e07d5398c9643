//! The namespace, and what each program may do: verb by verb, an account each.

use korder_api::names::{CONTROLLER_NAME, GROUP, LEADER_LEASE, SYSTEM_NAMESPACE, WEBHOOK_NAME};
use korder_api::{Inventory, Order, Stock, Ticket};
use kube::CustomResourceExt;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::{GATE_NAME, labels, object};

/// Name of the Secret in which the webhook keeps its certificates.
pub const CERTIFICATES_SECRET: &str = "korder-webhook-certificates";

/// The user name of the controllers: the one account that hands tickets over, makes guardians and writes status.
pub(crate) fn controller_user() -> String {
    format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{CONTROLLER_NAME}")
}

/// CEL that holds of requests of everybody else.
pub(crate) fn not_the_controller() -> (&'static str, String) {
    ("is-not-the-controller", format!("request.userInfo.username != '{}'", controller_user()))
}

/// The namespace of korder's own programs, which meet the strictest pod security standard, as do guardians.
pub(crate) fn namespace() -> DynamicObject {
    let mut labels = labels::ours();
    labels["pod-security.kubernetes.io/enforce"] = json!("restricted");
    object(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": SYSTEM_NAMESPACE, "labels": labels },
    }))
}

/// The accounts of the programs.
pub(crate) fn service_accounts() -> Vec<DynamicObject> {
    [CONTROLLER_NAME, WEBHOOK_NAME]
        .map(|name| {
            object(json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": { "name": name, "namespace": SYSTEM_NAMESPACE, "labels": labels::of(name) },
                "automountServiceAccountToken": false,
            }))
        })
        .into()
}

/// Roles and their bindings.
pub(crate) fn rights() -> Vec<DynamicObject> {
    [
        granted(CONTROLLER_NAME, None, &controller_rules()),
        granted(CONTROLLER_NAME, Some("kube-system"), &scheduler_rules()),
        granted(CONTROLLER_NAME, Some(SYSTEM_NAMESPACE), &leader_rules()),
        granted(WEBHOOK_NAME, None, &webhook_rules()),
        granted(WEBHOOK_NAME, Some(SYSTEM_NAMESPACE), &certificate_rules()),
    ]
    .concat()
}

fn controller_rules() -> Value {
    json!([
        // Deleted when they ended long enough ago.
        { "apiGroups": [GROUP], "resources": ["orders"], "verbs": ["get", "list", "watch", "delete"] },
        { "apiGroups": [GROUP], "resources": ["tickets"], "verbs": ["get", "list", "watch", "create", "delete"] },
        // Made for orders, and units; patched: a finalizer is put on or taken off, a variant becomes as its inventory is.
        { "apiGroups": [GROUP], "resources": ["inventories", "stocks"],
          "verbs": ["get", "list", "watch", "create", "patch", "delete"] },
        { "apiGroups": [GROUP], "resources": ["orders/status", "tickets/status", "inventories/status"], "verbs": ["update"] },
        // Patched: the claim of a unit is one small write.
        { "apiGroups": [GROUP], "resources": ["stocks/status"], "verbs": ["update", "patch"] },
        // What produces stock, and what is delivered of it; whoever asks for it was judged. Secrets only where there is a grant.
        { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "delete"] },
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "delete"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "patch", "delete"] },
        { "apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"] },
        { "apiGroups": [""], "resources": ["nodes", "namespaces"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["persistentvolumeclaims", "persistentvolumes"], "verbs": ["list", "watch"] },
        { "apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["list", "watch"] },
        { "apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"],
          "verbs": ["get", "list", "watch", "create"] },
        // Looked at once, at the start: without its kinds the controller can only wait.
        { "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
          "resourceNames": [Order::crd_name(), Ticket::crd_name(), Inventory::crd_name(), Stock::crd_name()], "verbs": ["get"] },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] },
        // Who reads the metrics, and whether he may.
        { "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"] },
        { "apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"] },
    ])
}

/// A hand-over must know when a scheduler begins; which Leases are schedulers', only the pods tell.
fn scheduler_rules() -> Value {
    json!([{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "watch"] }])
}

/// Making can't be narrowed by name.
fn leader_rules() -> Value {
    json!([
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"] },
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [LEADER_LEASE],
          "verbs": ["get", "update"] },
    ])
}

/// The webhook writes its certificate authority into its own configuration.
fn webhook_rules() -> Value {
    json!([{ "apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"],
             "resourceNames": [GATE_NAME], "verbs": ["get", "list", "watch", "patch"] }])
}

fn certificate_rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["secrets"], "resourceNames": [CERTIFICATES_SECRET],
          "verbs": ["get", "list", "watch", "update"] },
    ])
}

/// A role and its binding to the account of a program, in one namespace or in all.
fn granted(account: &str, namespace: Option<&str>, rules: &Value) -> Vec<DynamicObject> {
    granted_as(account, account, namespace, rules)
}

/// The same under another name than the account's.
pub(crate) fn granted_as(name: &str, account: &str, namespace: Option<&str>, rules: &Value) -> Vec<DynamicObject> {
    let (role, binding) = match namespace {
        None => ("ClusterRole", "ClusterRoleBinding"),
        Some(_) => ("Role", "RoleBinding"),
    };
    let mut metadata = json!({ "name": name, "labels": labels::of(account) });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    let api_version = "rbac.authorization.k8s.io/v1";
    vec![
        object(json!({ "apiVersion": api_version, "kind": role, "metadata": metadata, "rules": rules })),
        object(json!({
            "apiVersion": api_version,
            "kind": binding,
            "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": SYSTEM_NAMESPACE }],
        })),
    ]
}
