//! Facts about the whole set of manifests.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use k8s_openapi::api::{admissionregistration as admission, apps, batch, core, networking, policy, rbac, scheduling};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::{Serialize, de::DeserializeOwned};

use super::*;

fn every_form() -> Vec<Options> {
    let profiles = [Profile::InCluster { image: "korder:test".into() }, Profile::Host { webhook_port: 1234 }];
    let gates = [Gate::Policy(PolicyApi::V1), Gate::Policy(PolicyApi::V1beta1), Gate::Webhook];
    profiles.iter().flat_map(|profile| gates.map(|gate| Options { profile: profile.clone(), gate })).collect()
}

/// Each object of each form.
static EVERY_OBJECT: LazyLock<Vec<Vec<DynamicObject>>> = LazyLock::new(|| every_form().iter().map(manifests).collect());

fn kind(object: &DynamicObject) -> &str {
    &object.types.as_ref().unwrap().kind
}

/// Fields that the type of the kind doesn't know vanish on the way through it.
#[track_caller]
fn keeps_every_field<K: DeserializeOwned + Serialize>(object: &DynamicObject) {
    let written = serde_json::to_value(object).unwrap();
    let typed: K = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), written, "{}", kind(object));
}

#[test]
fn every_field_is_one_of_its_kind() {
    let hook = helm_hook("korder:test");
    for object in EVERY_OBJECT.iter().flatten().chain(&hook) {
        match kind(object) {
            "Namespace" => keeps_every_field::<core::v1::Namespace>(object),
            "ServiceAccount" => keeps_every_field::<core::v1::ServiceAccount>(object),
            "Service" => keeps_every_field::<core::v1::Service>(object),
            "Job" => keeps_every_field::<batch::v1::Job>(object),
            "PriorityClass" => keeps_every_field::<scheduling::v1::PriorityClass>(object),
            "NetworkPolicy" => keeps_every_field::<networking::v1::NetworkPolicy>(object),
            "PodDisruptionBudget" => keeps_every_field::<policy::v1::PodDisruptionBudget>(object),
            "Deployment" => keeps_every_field::<apps::v1::Deployment>(object),
            "ClusterRole" => keeps_every_field::<rbac::v1::ClusterRole>(object),
            "ClusterRoleBinding" => keeps_every_field::<rbac::v1::ClusterRoleBinding>(object),
            "Role" => keeps_every_field::<rbac::v1::Role>(object),
            "RoleBinding" => keeps_every_field::<rbac::v1::RoleBinding>(object),
            "CustomResourceDefinition" => keeps_every_field::<CustomResourceDefinition>(object),
            "ValidatingAdmissionPolicy" => {
                keeps_every_field::<admission::v1::ValidatingAdmissionPolicy>(object);
            }
            "ValidatingAdmissionPolicyBinding" => {
                keeps_every_field::<admission::v1::ValidatingAdmissionPolicyBinding>(object);
            }
            "MutatingWebhookConfiguration" => {
                keeps_every_field::<admission::v1::MutatingWebhookConfiguration>(object);
            }
            // The types of `v1` are those of `v1beta1`, field by field; ours is the older Kubernetes' crate.
            "MutatingAdmissionPolicy" | "MutatingAdmissionPolicyBinding" => {
                let mut older = object.clone();
                older.types.as_mut().unwrap().api_version = PolicyApi::V1beta1.as_str().into();
                if kind(&older) == "MutatingAdmissionPolicy" {
                    keeps_every_field::<admission::v1beta1::MutatingAdmissionPolicy>(&older);
                } else {
                    keeps_every_field::<admission::v1beta1::MutatingAdmissionPolicyBinding>(&older);
                }
            }
            other => panic!("no check for kind `{other}`"),
        }
    }
}

#[test]
fn everything_carries_our_labels_and_is_there_once() {
    for form in EVERY_OBJECT.iter() {
        let mut seen = BTreeSet::new();
        for object in form {
            let labels = object.metadata.labels.clone().unwrap_or_default();
            for label in [MANAGED_BY, PART_OF] {
                assert_eq!(labels.get(label).map(String::as_str), Some("korder"), "{object:?}");
            }
            let key = (kind(object).to_owned(), object.metadata.namespace.clone(), object.metadata.name.clone());
            assert!(seen.insert(key.clone()), "{key:?} is there twice");
        }
    }
}

/// Client-side apply keeps a copy of the object in an annotation, and annotations end at 262,144 bytes.
#[test]
fn each_kind_is_small_enough_for_kubectl_apply() {
    for crd in crds() {
        let size = serde_json::to_string(&crd).unwrap().len();
        assert!(size < 200_000, "{:?} has {size} bytes", crd.metadata.name);
    }
}

#[test]
fn rights_name_their_verbs_and_never_escalate() {
    let hook = helm_hook("korder:test");
    for object in EVERY_OBJECT[0].iter().chain(&hook) {
        let Some(rules) = object.data.get("rules").and_then(Value::as_array) else { continue };
        for rule in rules {
            let paths = rule.get("nonResourceURLs").is_some();
            for part in if paths { &["nonResourceURLs", "verbs"][..] } else { &["apiGroups", "resources", "verbs"] } {
                let names: Vec<&str> =
                    rule[part].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
                assert!(!names.is_empty() && !names.iter().any(|name| name.contains('*')), "{rule}");
                assert!(!names.iter().any(|name| ["escalate", "bind", "impersonate"].contains(name)), "{rule}");
            }
        }
    }
}

#[test]
fn the_gate_is_narrowed_and_leaves_the_certificate_authority_alone() {
    let options = Options { profile: Profile::Host { webhook_port: 1234 }, gate: Gate::Webhook };
    let webhook = manifests(&options).pop().unwrap();
    let entry = &webhook.data["webhooks"][0];
    assert_eq!(entry["clientConfig"], serde_json::json!({ "url": "https://127.0.0.1:1234/gate" }));
    assert_eq!(entry["failurePolicy"], "Fail");
    assert_eq!(entry["matchConditions"].as_array().unwrap().len(), 3);
}

#[test]
fn both_forms_of_the_gate_follow_one_rule() {
    let gate = |gate| manifests(&Options { profile: Profile::Host { webhook_port: 1 }, gate });
    let policy = gate(Gate::Policy(PolicyApi::V1));
    let policy = &policy[policy.len() - 2].data["spec"];
    let webhook = &gate(Gate::Webhook).pop().unwrap().data["webhooks"][0];
    assert_eq!(policy["matchConditions"], webhook["matchConditions"]);
    assert_eq!(policy["matchConstraints"]["resourceRules"], webhook["rules"]);
}
