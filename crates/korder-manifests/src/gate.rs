//! The gate: a pod that asks for a ticket waits until it has one.
//!
//! One rule in two forms. As an admission policy it runs inside the API server, so that no program of ours stands in
//! any pod's way; where policies can't change objects, as a webhook that is asked about such pods only. Nothing is
//! claimed here: the pod has no uid yet and may still be refused.

use korder_api::names::{CLAIM_ANNOTATIONS, GATE, LABEL_ROLE, ROLE_GUARDIAN, SYSTEM_NAMESPACE, WEBHOOK_NAME};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::policy::{cel_list, constraints, rules};
use crate::{GATE_NAME, GATE_PATH, Options, Profile, labels, object};

/// The form that the gate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// A policy that the API server applies by itself.
    Policy(PolicyApi),
    /// A webhook that the API server asks.
    Webhook,
}

/// The version in which an API server has mutating admission policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyApi {
    /// Kubernetes 1.36 and newer.
    V1,
    /// From Kubernetes 1.34 on, where it is switched on.
    V1beta1,
}

impl PolicyApi {
    /// The `apiVersion` of its objects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "admissionregistration.k8s.io/v1",
            Self::V1beta1 => "admissionregistration.k8s.io/v1beta1",
        }
    }
}

/// Long enough for a webhook under load, short enough for whoever waits for his pod.
const TIMEOUT_SECONDS: u32 = 5;
/// The annotation of a pod that a kubelet runs from a file; the API server only mirrors it.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";

/// The objects of the gate.
pub(crate) fn gate(options: &Options) -> Vec<DynamicObject> {
    match options.gate {
        Gate::Policy(api) => policy(api),
        Gate::Webhook => vec![webhook(&options.profile)],
    }
}

/// CEL of what must hold for a pod to be gated.
pub fn gate_conditions() -> Vec<String> {
    conditions().into_iter().map(|(_, expression)| expression).collect()
}

fn conditions() -> [(&'static str, String); 3] {
    let claims = cel_list(&CLAIM_ANNOTATIONS);
    [
        (
            "asks-for-a-ticket",
            format!("has(object.metadata.annotations) && object.metadata.annotations.exists(key, key in {claims})"),
        ),
        (
            "is-no-mirror-pod",
            format!("!has(object.metadata.annotations) || !('{MIRROR_POD}' in object.metadata.annotations)"),
        ),
        (
            "is-no-guardian",
            format!(
                "!has(object.metadata.labels) || !('{LABEL_ROLE}' in object.metadata.labels) \
                 || object.metadata.labels['{LABEL_ROLE}'] != '{ROLE_GUARDIAN}'"
            ),
        ),
    ]
}

fn match_conditions() -> Value {
    let named = conditions().map(|(name, expression)| json!({ "name": name, "expression": expression }));
    json!(named)
}

fn new_pods() -> Value {
    rules("", "v1", &["pods"], &["CREATE"])
}

/// Of type `ApplyConfiguration`: gates are merged by name, so that others' gates stay and ours is there once.
fn policy(api: PolicyApi) -> Vec<DynamicObject> {
    let gated =
        format!("Object{{spec: Object.spec{{schedulingGates: [Object.spec.schedulingGates{{name: '{GATE}'}}]}}}}");
    let metadata = json!({ "name": GATE_NAME, "labels": labels::ours() });
    vec![
        object(json!({
            "apiVersion": api.as_str(),
            "kind": "MutatingAdmissionPolicy",
            "metadata": metadata,
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "IfNeeded",
                "matchConstraints": constraints(&new_pods()),
                "matchConditions": match_conditions(),
                "mutations": [
                    { "patchType": "ApplyConfiguration", "applyConfiguration": { "expression": gated } },
                ],
            },
        })),
        object(json!({
            "apiVersion": api.as_str(),
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": { "policyName": GATE_NAME },
        })),
    ]
}

/// Without `caBundle`: the webhook writes it, and applying these manifests again must not take it away.
fn webhook(profile: &Profile) -> DynamicObject {
    let server = match profile {
        Profile::InCluster { .. } => json!({
            "service": { "name": WEBHOOK_NAME, "namespace": SYSTEM_NAMESPACE, "path": GATE_PATH, "port": 443 },
        }),
        Profile::Host { webhook_port } => json!({ "url": format!("https://127.0.0.1:{webhook_port}{GATE_PATH}") }),
    };
    object(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": GATE_NAME, "labels": labels::of(WEBHOOK_NAME) },
        "webhooks": [{
            "name": GATE_NAME,
            "admissionReviewVersions": ["v1"],
            "clientConfig": server,
            "failurePolicy": "Fail",
            "matchConditions": match_conditions(),
            "matchPolicy": "Equivalent",
            "reinvocationPolicy": "IfNeeded",
            "rules": new_pods(),
            "sideEffects": "None",
            "timeoutSeconds": TIMEOUT_SECONDS,
        }],
    }))
}
