//! Objects of any kind: how they are named, reached and found.

use futures::future::try_join_all;
use korder_api::names::{ANNOTATION_RUNS_ON, LEADER_LEASE, SYSTEM_NAMESPACE};
use korder_manifests::{CERTIFICATES_SECRET, OURS, PolicyApi};
use kube::api::{ApiResource, DynamicObject, ListParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};

use crate::told::Told as _;

/// A kind: its API version and name.
pub(super) type Kind = (&'static str, &'static str);

const POLICIES: &str = "admissionregistration.k8s.io/v1";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Kinds that an installation consists of, those left out whose removal would take the users' objects along.
pub(super) const INSTALLED: &[Kind] = &[
    (POLICIES, "MutatingWebhookConfiguration"),
    (POLICIES, "ValidatingAdmissionPolicyBinding"),
    (POLICIES, "ValidatingAdmissionPolicy"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Service"),
    (RBAC, "ClusterRoleBinding"),
    (RBAC, "ClusterRole"),
    (RBAC, "RoleBinding"),
    (RBAC, "Role"),
    ("v1", "ServiceAccount"),
];

/// Kinds of what makes pods wait, and of what lets the programs act; the gate as a policy comes beside them.
pub(super) const GATE_AND_GRANTS: &[Kind] =
    &[(POLICIES, "MutatingWebhookConfiguration"), (RBAC, "ClusterRoleBinding"), (RBAC, "RoleBinding")];

/// Kinds of objects of the whole cluster that korder's programs make for themselves.
pub(super) const MADE_BY_PROGRAMS: &[Kind] = &[("scheduling.k8s.io/v1", "PriorityClass")];

/// What korder's programs make for themselves in their namespace, by name.
const MADE_BY_NAME: [(Kind, &str); 2] =
    [(("v1", "Secret"), CERTIFICATES_SECRET), (("coordination.k8s.io/v1", "Lease"), LEADER_LEASE)];

/// Whether this is one of the objects by which pods are gated.
pub(super) fn is_gate(object: &DynamicObject) -> bool {
    types(object).kind.starts_with("Mutating")
}

/// Whether this is the gate as a webhook.
pub(super) fn is_gate_webhook(object: &DynamicObject) -> bool {
    types(object).kind == "MutatingWebhookConfiguration"
}

/// Whether this defines a kind.
pub(super) fn is_definition(object: &DynamicObject) -> bool {
    types(object).kind == "CustomResourceDefinition"
}

/// Whether this stands for a program that runs as a process of the host.
pub(super) fn runs_on_host(object: &DynamicObject) -> bool {
    object.annotations().contains_key(ANNOTATION_RUNS_ON)
}

/// Whether this is a namespace.
pub(super) fn is_namespace(object: &DynamicObject) -> bool {
    types(object).kind == "Namespace"
}

/// Whether this gives rights to the programs.
pub(super) fn is_grant(object: &DynamicObject) -> bool {
    types(object).kind.ends_with("RoleBinding")
}

/// What `wanted` tells from another object: its kind, namespace and name, whatever the version of its kind.
pub(super) fn identity(object: &DynamicObject) -> (String, Option<String>, String) {
    (types(object).kind.clone(), object.namespace(), object.name_any())
}

/// Kind and name, as kubectl writes them.
pub(super) fn shown(object: &DynamicObject) -> String {
    let kind = types(object).kind.to_lowercase();
    match object.namespace().as_deref() {
        Some(namespace) if namespace != SYSTEM_NAMESPACE => format!("{kind}/{} in {namespace}", object.name_any()),
        _ => format!("{kind}/{}", object.name_any()),
    }
}

/// Where the object is written.
pub(super) fn api_of(client: &Client, object: &DynamicObject) -> Api<DynamicObject> {
    let TypeMeta { api_version, kind } = types(object);
    let resource = resource(api_version, kind);
    match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// What is there of an installation, of these kinds and of the gate as a policy.
pub(super) async fn existing(
    client: &Client,
    policies: Option<PolicyApi>,
    kinds: &[Kind],
) -> anyhow::Result<Vec<DynamicObject>> {
    let gate = policies
        .map(|api| [(api.as_str(), "MutatingAdmissionPolicyBinding"), (api.as_str(), "MutatingAdmissionPolicy")]);
    let lists = gate.iter().flatten().chain(kinds).map(|(api_version, kind)| labelled(client, api_version, kind));
    Ok(try_join_all(lists).await?.concat())
}

/// What is there of what korder's programs make for themselves in their namespace.
pub(super) async fn made_by_name(client: &Client) -> anyhow::Result<Vec<DynamicObject>> {
    let reads = MADE_BY_NAME.iter().map(|((api_version, kind), name)| async move {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), SYSTEM_NAMESPACE, &resource(api_version, kind));
        let found = api.get_metadata_opt(name).await.told(|| format!("read `{}/{name}`", kind.to_lowercase()))?;
        let types = TypeMeta { api_version: (*api_version).to_owned(), kind: (*kind).to_owned() };
        let object = |metadata| DynamicObject { types: Some(types), metadata, data: serde_json::Value::Null };
        anyhow::Ok(found.map(|found| object(found.metadata)))
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

/// The release of Helm that an object belongs to.
pub(super) fn installed_by_helm(object: &DynamicObject) -> Option<String> {
    object.annotations().get("meta.helm.sh/release-name").cloned()
}

/// All objects of a kind that carry our labels, in any namespace.
pub(super) async fn labelled(client: &Client, api_version: &str, kind: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(api_version, kind));
    let list = api
        .list(&ListParams::default().labels(OURS))
        .await
        .told(|| format!("list the objects of kind `{kind}` that belong to korder"))?;
    let types = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
    // The items of a list don't say their kind.
    Ok(list.items.into_iter().map(|item| DynamicObject { types: Some(types.clone()), ..item }).collect())
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn types(object: &DynamicObject) -> &TypeMeta {
    object.types.as_ref().expect("manifests and lists of ours say their kind")
}
