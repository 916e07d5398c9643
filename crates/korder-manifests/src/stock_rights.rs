//! Who may have units of stock made, and of what: nobody gets more by an order or an inventory than by his own hands.
//!
//! Units are made as the item's service account. So whoever names one must be allowed to impersonate it, or to create what
//! the item's operation creates: who may create a Job may run any pod as any account of the namespace anyway. What
//! somebody gets by an order that names an inventory is up to the inventory.

use korder_api::names::{GROUP, VERSION};
use kube::core::DynamicObject;

use crate::accounts::not_the_controller;
use crate::policy::{Action, Policy, Validation, cel_list, rules};

/// The policy and its binding.
pub(crate) fn policies() -> Vec<DynamicObject> {
    policy().objects()
}

/// The names of variables: what is left to be asked for after so many questions. The API server allows 10,000,000 units of cost a
/// policy, and each question to its authorizer takes 350,000 of them.
const LEFT: [&str; 17] = [
    "left0", "left1", "left2", "left3", "left4", "left5", "left6", "left7", "left8", "left9", "left10", "left11",
    "left12", "left13", "left14", "left15", "left16",
];
/// How many kinds of objects are asked for one by one.
const MAX_KINDS: usize = LEFT.len() - 1;

/// Groups of which the API server judges the content of an object by who writes it: a role by what its maker may do, an inventory
/// by this policy. Made as the account, they would be judged by what the account may do.
const JUDGED_BY_WRITER: [&str; 2] = ["rbac.authorization.k8s.io", GROUP];

/// Kinds that are in no namespace, after their group; those of others are refused when a unit is made.
const CLUSTER_SCOPED: [&str; 35] = [
    "/ComponentStatus",
    "/Namespace",
    "/Node",
    "/PersistentVolume",
    "admissionregistration.k8s.io/MutatingAdmissionPolicy",
    "admissionregistration.k8s.io/MutatingAdmissionPolicyBinding",
    "admissionregistration.k8s.io/MutatingWebhookConfiguration",
    "admissionregistration.k8s.io/ValidatingAdmissionPolicy",
    "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding",
    "admissionregistration.k8s.io/ValidatingWebhookConfiguration",
    "apiextensions.k8s.io/CustomResourceDefinition",
    "apiregistration.k8s.io/APIService",
    "authentication.k8s.io/SelfSubjectReview",
    "authentication.k8s.io/TokenReview",
    "authorization.k8s.io/SelfSubjectAccessReview",
    "authorization.k8s.io/SelfSubjectRulesReview",
    "authorization.k8s.io/SubjectAccessReview",
    "certificates.k8s.io/CertificateSigningRequest",
    "certificates.k8s.io/ClusterTrustBundle",
    "core.korder.dev/Quota",
    "flowcontrol.apiserver.k8s.io/FlowSchema",
    "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration",
    "networking.k8s.io/IPAddress",
    "networking.k8s.io/IngressClass",
    "networking.k8s.io/ServiceCIDR",
    "node.k8s.io/RuntimeClass",
    "rbac.authorization.k8s.io/ClusterRole",
    "rbac.authorization.k8s.io/ClusterRoleBinding",
    "resource.k8s.io/DeviceClass",
    "resource.k8s.io/ResourceSlice",
    "scheduling.k8s.io/PriorityClass",
    "storage.k8s.io/CSIDriver",
    "storage.k8s.io/CSINode",
    "storage.k8s.io/StorageClass",
    "storage.k8s.io/VolumeAttachment",
];

/// The fields of an inventory that have Jobs run for units later, as the item's account.
const LATER: [&str; 2] = ["reset", "probe"];
/// The fields of an inventory by which others than its maker say what its account does: what they may set, and who they are.
const BY_OTHERS: [&str; 2] = ["inputs", "allowedNamespaces"];

/// Orders and inventories with an item, when they are made and when what is done as the account changes.
fn policy() -> Policy {
    Policy {
        name: "stock-rights.korder.dev",
        action: Action::Deny,
        rules: rules(GROUP, VERSION, &["orders", "inventories"], &["CREATE", "UPDATE"]),
        only_if: vec![
            ("has-an-item", "has(object.spec.item)".into()),
            (
                "item-is-new",
                format!(
                    "oldObject == null || !has(oldObject.spec.item) || object.spec.item != oldObject.spec.item \
                     || {}.exists(field, field in dyn(object.spec) \
                     && (!(field in dyn(oldObject.spec)) || dyn(object.spec)[field] != dyn(oldObject.spec)[field])) \
                     || {}.exists(field, field in dyn(oldObject.spec) && !(field in dyn(object.spec)))",
                    cel_list(&[LATER, BY_OTHERS].concat()),
                    // A selector may leave out its own namespace, which is admitted where nothing is said.
                    cel_list(&BY_OTHERS)
                ),
            ),
            // It makes the inventories of orders, whose makers were judged.
            not_the_controller(),
        ],
        variables: [of_the_item(), what_is_left(), of_objects()].concat(),
        validations: [objects(), questions(), whole()].concat(),
    }
}

/// What is said of the objects of a unit.
fn objects() -> Vec<Validation> {
    vec![
        Validation {
            expression: "variables.elsewhere.size() == 0".into(),
            message: "'`' + variables.elsewhere[0].kind + '` `' + variables.elsewhere[0].metadata.name + '` is of namespace `' \
                      + variables.elsewhere[0].metadata['namespace'] + '`: the objects of a unit are in the namespace of the ' \
                      + object.kind + ', `' + request.namespace + '`; leave `metadata.namespace` out'"
                .into(),
        },
        Validation {
            expression: "variables.unscoped.size() == 0".into(),
            message: "'`' + variables.unscoped[0].kind + '` is a kind of the whole cluster: units of stock consist of objects in \
                      their namespace'"
                .into(),
        },
        Validation {
            expression: "variables.strange.size() == 0 || variables.mayImpersonate".into(),
            message: refused(
                "' + variables.strange[0].kind + ' `' + variables.strange[0].name + '` is no object of the unit, and is read as",
            ),
        },
        Validation {
            expression: "variables.judgedByWriter.size() == 0 || variables.mayImpersonate".into(),
            message: refused(&format!(
                "' + {} + ' are made with the rights of",
                shown("variables.judgedByWriter[0]")
            )),
        },
    ]
}

/// Whether the requester may create each resource: a validation each, since messages can't ask.
fn questions() -> Vec<Validation> {
    let question = |name: &&str| {
        let left = format!("variables.{name}");
        let allowed = format!(
            "authorizer.group({left}[0].group).resource({left}[0].resource).namespace(request.namespace)\
             .check('create').allowed()"
        );
        Validation {
            expression: format!("{left}.size() == 0 || variables.mayImpersonate || {allowed}"),
            message: refused(&format!(
                "you may not create ' + {} + ' in namespace `' + request.namespace + '` yourself; units are made as",
                shown(&format!("{left}[0]"))
            )),
        }
    };
    LEFT[..MAX_KINDS].iter().map(question).collect()
}

/// What can't be judged piece by piece.
fn whole() -> Vec<Validation> {
    vec![
        Validation {
            expression: format!("variables.{}.size() == 0 || variables.mayImpersonate", LEFT[MAX_KINDS]),
            message: refused(&format!("units of more than {MAX_KINDS} kinds of objects are made as")),
        },
        Validation {
            expression: "!('package' in variables.operation) || variables.mayImpersonate".into(),
            message: refused("what a package consists of is not known here; it is installed as"),
        },
    ]
}

/// A message, CEL without the quotes around it, that ends with whom the requester would have to be allowed to impersonate.
fn refused(why: &str) -> String {
    format!(
        "'`spec.item` is refused: {why} the service account `' + variables.account + '`, which you may not `impersonate`'"
    )
}

/// A resource, as `deployments.apps`.
fn shown(resource: &str) -> String {
    format!("'`' + {resource}.resource + ({resource}.group == '' ? '' : '.' + {resource}.group) + '`'")
}

type Variable = (&'static str, String);

fn of_the_item() -> Vec<Variable> {
    // As a map: the API server checks the names of fields, and knows none of an object that anybody may define.
    let item = "dyn(object.spec.item)".to_owned();
    let manifests = "'manifests' in variables.operation ? variables.operation.manifests : []";
    let group = "manifest.apiVersion.contains('/') ? manifest.apiVersion.split('/')[0] : ''";
    // As a kind's resource is called nearly always. Where it is not, nobody has the right that is asked for, and to
    // impersonate the account is what is left.
    let plural = "kind.name == 'endpoints' ? kind.name \
                  : kind.name.matches('[^aeiou]y$') ? kind.name.substring(0, kind.name.size() - 1) + 'ies' \
                  : kind.name.matches('(s|x|z|ch|sh)$') ? kind.name + 'es' : kind.name + 's'";
    vec![
        ("item", item),
        ("account", "'serviceAccountName' in variables.item ? variables.item.serviceAccountName : 'default'".into()),
        (
            "mayImpersonate",
            "authorizer.group('').resource('serviceaccounts').namespace(request.namespace).name(variables.account)\
             .check('impersonate').allowed()"
                .into(),
        ),
        ("operation", "variables.item.operation".into()),
        ("manifests", manifests.into()),
        (
            "kinds",
            format!("variables.manifests.map(manifest, {{'group': {group}, 'name': manifest.kind.lowerAscii()}})"),
        ),
        (
            "created",
            format!(
                "('job' in variables.operation || {}.exists(field, field in dyn(object.spec) \
                 && (field != 'probe' || 'job' in dyn(object.spec)[field])) \
                 ? [{{'group': 'batch', 'resource': 'jobs'}}] : []) \
                 + variables.kinds.map(kind, {{'group': kind.group, 'resource': {plural}}})",
                cel_list(&LATER)
            ),
        ),
    ]
}

/// The created resources, without those that were asked for before: the first is next, and its like are left out with it.
fn what_is_left() -> Vec<Variable> {
    let judged = format!("resource.group in {}", cel_list(&JUDGED_BY_WRITER));
    let first = (LEFT[0], format!("variables.created.filter(resource, !({judged}))"));
    let rest = LEFT.windows(2).map(|pair| {
        let left = format!("variables.{}", pair[0]);
        (pair[1], format!("{left}.size() == 0 ? [] : {left}.filter(resource, resource != {left}[0])"))
    });
    let judged = ("judgedByWriter", format!("variables.created.filter(resource, {judged})"));
    [judged, first].into_iter().chain(rest).collect()
}

fn of_objects() -> Vec<Variable> {
    let scope = "(manifest.apiVersion.contains('/') ? manifest.apiVersion.split('/')[0] : '') + '/' + manifest.kind";
    // Read as the account: outputs, and whether a unit is ready, would tell what is in other objects.
    let is_one =
        "variables.manifests.exists(manifest, manifest.kind == named.kind && manifest.metadata.name == named.name)";
    let outputs = "('outputs' in variables.item ? variables.item.outputs : []).filter(output, 'object' in output.from)\
                   .map(output, output.from.object)";
    let conditions = "('readyWhen' in variables.item ? variables.item.readyWhen : [])";
    vec![
        (
            "elsewhere",
            "variables.manifests.filter(manifest, 'namespace' in manifest.metadata \
             && manifest.metadata['namespace'] != request.namespace)"
                .into(),
        ),
        ("unscoped", format!("variables.manifests.filter(manifest, {scope} in {})", cel_list(&CLUSTER_SCOPED))),
        (
            "named",
            format!("{outputs} + {conditions}.map(condition, {{'kind': condition.kind, 'name': condition.name}})"),
        ),
        ("strange", format!("variables.named.filter(named, !{is_one})")),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::tests::refusal_to;

    fn item(operation: &Value) -> Value {
        json!({ "serviceAccountName": "builder", "operation": operation })
    }

    fn object(api_version: &str, kind: &str) -> Value {
        json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "$(stock.name)" } })
    }

    /// What somebody is told of an inventory of this item in namespace `team-a` who may do so much there; nothing where it passes.
    #[track_caller]
    fn told(may: &[&str], item: &Value) -> String {
        let inventory = json!({ "kind": "Inventory", "metadata": { "name": "i" }, "spec": { "item": item } });
        refusal_to(may, &policy(), &inventory, None).unwrap_or_default()
    }

    const IMPERSONATE: &str = "impersonate serviceaccounts/builder";

    #[test]
    fn whoever_may_create_jobs_may_have_jobs_run() {
        let job = item(&json!({ "job": { "template": {} } }));
        assert_eq!(
            told(&["create deployments.apps", "impersonate serviceaccounts/default"], &job),
            "`spec.item` is refused: you may not create `jobs.batch` in namespace `team-a` yourself; units are made as the \
             service account `builder`, which you may not `impersonate`"
        );
        assert_eq!(told(&["create jobs.batch"], &job), "");
        assert_eq!(told(&[IMPERSONATE], &job), "");
        let of_default = json!({ "operation": { "job": { "template": {} } } });
        assert_eq!(told(&["impersonate serviceaccounts/default"], &of_default), "");
        assert!(told(&[], &of_default).contains("the service account `default`"));
    }

    #[test]
    fn jobs_that_run_later_are_jobs_too() {
        let item = item(&json!({ "manifests": [object("v1", "ConfigMap")] }));
        let inventory = |more: &Value| {
            let mut spec = json!({ "item": item, "replicas": 1 });
            for (field, value) in more.as_object().into_iter().flatten() {
                spec[field] = value.clone();
            }
            json!({ "kind": "Inventory", "metadata": { "name": "i" }, "spec": spec })
        };
        let told = |may: &[&str], more: &Value| refusal_to(may, &policy(), &inventory(more), None).unwrap_or_default();
        let maps = "create configmaps";
        let job = json!({ "job": { "template": {} } });
        for later in [json!({ "reset": { "template": {} } }), json!({ "probe": job })] {
            assert!(told(&[maps], &later).contains("you may not create `jobs.batch`"), "{later}");
            assert_eq!(told(&[maps, "create jobs.batch"], &later), "");
            assert!(told(&["create jobs.batch"], &later).contains("you may not create `configmaps`"));
            assert_eq!(told(&[IMPERSONATE], &later), "");
        }
        assert_eq!(told(&[maps], &json!({ "probe": { "expression": "true" } })), "");
        // One that gets such a Job later is judged again.
        let (_, is_new) = &policy().only_if[1];
        let judge = Policy {
            validations: vec![Validation { expression: format!("!({is_new})"), message: "'judged'".into() }],
            ..policy()
        };
        let judged =
            |new: &Value, old: &Value| refusal_to(&[], &judge, &inventory(new), Some(&inventory(old))).is_some();
        let (none, probe) = (json!({}), json!({ "probe": { "expression": "a" } }));
        assert!(judged(&json!({ "reset": {} }), &none));
        assert!(judged(&json!({ "probe": { "expression": "b" } }), &probe));
        assert!(!judged(&json!({ "probe": { "expression": "a" }, "replicas": 7 }), &probe));
        assert!(!judged(&none, &json!({ "reset": {} })));
        // So is one that lets others say more of what its account does, or lets more of them.
        let inputs = |pattern: &str| json!({ "inputs": { "SIZE": { "pattern": pattern, "maxLength": 4096 } } });
        assert!(judged(&inputs(".+"), &none));
        assert!(judged(&inputs(".+"), &inputs("[a-z]+")));
        assert!(!judged(&inputs(".+"), &inputs(".+")));
        let from = |from: &str| json!({ "allowedNamespaces": { "from": from } });
        assert!(judged(&from("All"), &none));
        assert!(judged(&from("All"), &from("Same")));
        assert!(!judged(&from("All"), &from("All")));
        assert!(judged(&none, &from("Selector")));
    }

    #[test]
    fn each_kind_of_manifests_is_asked_for() {
        let all = [
            ("v1", "ConfigMap", "configmaps"),
            ("v1", "Endpoints", "endpoints"),
            ("apps/v1", "Deployment", "deployments.apps"),
            ("networking.k8s.io/v1", "Ingress", "ingresses.networking.k8s.io"),
            ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies.networking.k8s.io"),
            ("gateway.networking.k8s.io/v1", "Gateway", "gateways.gateway.networking.k8s.io"),
            ("example.com/v1", "Switch", "switches.example.com"),
        ];
        let manifests: Vec<Value> =
            all.iter().chain(&all).map(|(api_version, kind, _)| object(api_version, kind)).collect();
        let item = item(&json!({ "manifests": manifests }));
        let rights: Vec<String> = all.iter().map(|(_, _, resource)| format!("create {resource}")).collect();
        let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
        assert_eq!(told(&rights, &item), "");
        assert_eq!(told(&[IMPERSONATE], &item), "");
        for (index, (_, _, resource)) in all.iter().enumerate() {
            let mut fewer = rights.clone();
            fewer.remove(index);
            let told = told(&fewer, &item);
            assert!(told.contains(&format!("you may not create `{resource}` in namespace `team-a`")), "{told}");
        }
    }

    #[test]
    fn as_many_kinds_as_the_api_server_has_time_for() {
        let kinds = |count: usize| (0..count).map(|number| object("example.com/v1", &format!("K{number}"))).collect();
        let manifests =
            |count: usize| item(&json!({ "manifests": Vec::<Value>::from_iter::<Vec<Value>>(kinds(count)) }));
        let rights: Vec<String> = (0..=MAX_KINDS).map(|number| format!("create k{number}s.example.com")).collect();
        let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
        assert_eq!(told(&rights, &manifests(MAX_KINDS)), "");
        assert!(told(&rights, &manifests(MAX_KINDS + 1)).contains("units of more than 16 kinds of objects"));
        assert!(told(&rights[..MAX_KINDS - 1], &manifests(MAX_KINDS)).contains("`k15s.example.com`"));
        assert_eq!(told(&[IMPERSONATE], &manifests(MAX_KINDS + 1)), "");
    }

    #[test]
    fn what_is_judged_by_its_writer_needs_the_account_itself() {
        let kinds = [
            ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings.rbac.authorization.k8s.io"),
            ("core.korder.dev/v1alpha1", "Inventory", "inventories.core.korder.dev"),
        ];
        for (api_version, kind, resource) in kinds {
            let item = item(&json!({ "manifests": [object(api_version, kind)] }));
            let told_creator = told(&[&format!("create {resource}")], &item);
            assert_eq!(
                told_creator,
                format!(
                    "`spec.item` is refused: `{resource}` are made with the rights of the service account `builder`, which you \
                     may not `impersonate`"
                )
            );
            assert_eq!(told(&[IMPERSONATE], &item), "");
        }
        let package = item(&json!({ "package": { "name": "town", "version": "1.0.0" } }));
        assert!(told(&[], &package).contains("a package"));
        assert_eq!(told(&[IMPERSONATE], &package), "");
    }

    #[test]
    fn objects_are_in_the_namespace() {
        let mut elsewhere = object("v1", "ConfigMap");
        elsewhere["metadata"]["namespace"] = json!("team-b");
        assert_eq!(
            told(&[IMPERSONATE], &item(&json!({ "manifests": [object("v1", "Secret"), elsewhere] }))),
            "`ConfigMap` `$(stock.name)` is of namespace `team-b`: the objects of a unit are in the namespace of the Inventory, \
             `team-a`; leave `metadata.namespace` out"
        );
        let mut here = object("v1", "ConfigMap");
        here["metadata"]["namespace"] = json!("team-a");
        assert_eq!(told(&[IMPERSONATE], &item(&json!({ "manifests": [here] }))), "");
        for scope in CLUSTER_SCOPED {
            let (group, kind) = scope.split_once('/').unwrap();
            let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            let told = told(&[IMPERSONATE], &item(&json!({ "manifests": [object(&api_version, kind)] })));
            assert!(told.contains(&format!("`{kind}` is a kind of the whole cluster")), "{told}");
        }
        let others = item(&json!({ "manifests": [object("postgresql.cnpg.io/v1", "Node")] }));
        assert_eq!(told(&[IMPERSONATE], &others), "");
    }

    #[test]
    fn what_is_told_of_a_unit_is_of_the_unit() {
        let secret = |name: &str| json!({ "kind": "Secret", "name": name });
        let output = |name: &str| json!({ "name": "p", "from": { "object": secret(name), "secretKey": "p" } });
        let mut item = item(&json!({ "manifests": [object("v1", "Secret")] }));
        item["outputs"] = json!([output("$(stock.name)")]);
        item["readyWhen"] = json!([{ "kind": "Secret", "name": "$(stock.name)", "expression": "true" }]);
        assert_eq!(told(&["create secrets"], &item), "");
        let mut other = item.clone();
        other["outputs"] = json!([output("admin")]);
        assert_eq!(
            told(&["create secrets"], &other),
            "`spec.item` is refused: Secret `admin` is no object of the unit, and is read as the service account `builder`, which \
             you may not `impersonate`"
        );
        assert_eq!(told(&[IMPERSONATE], &other), "");
        item["readyWhen"][0]["name"] = json!("admin");
        assert!(told(&["create secrets"], &item).contains("Secret `admin` is no object of the unit"));
    }
}
