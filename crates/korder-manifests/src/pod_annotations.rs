//! What pods may say about tickets, and who may say it.

use korder_api::Duration;
use korder_api::names::{
    ANNOTATION_GROUP, ANNOTATION_GROUP_SIZE, ANNOTATION_ON_TIMEOUT, ANNOTATION_ORDER, ANNOTATION_OUTPUT_CONTAINER,
    ANNOTATION_REQUIRED, ANNOTATION_RUNS_ON, ANNOTATION_TICKET, ANNOTATION_TICKET_SELECTOR, ANNOTATION_TIMEOUT,
    CLAIM_ANNOTATIONS, CONTROLLER_ANNOTATIONS, GATE, LABEL_INVENTORY, LABEL_STOCK, LABEL_STOCK_UID, MAX_GROUP_SIZE,
};
use kube::core::DynamicObject;

use crate::accounts::not_the_controller;
use crate::policy::{Action, Policy, Validation, cel_agree, cel_list, cel_map_of, rules};

/// The policy and its binding.
pub(crate) fn policies() -> Vec<DynamicObject> {
    policy().objects()
}

/// CEL that tells a key of ours.
const OURS: &str = "key.startsWith('korder.dev/')";

/// A key or value that was there before is let pass: a kubelet that writes such a pod's status must not be refused.
fn policy() -> Policy {
    let asks = cel_list(&CLAIM_ANNOTATIONS);
    let changed = format!("!{}", cel_agree("key", "variables.annotations", "variables.oldAnnotations"));
    Policy {
        name: "pod-annotations.korder.dev",
        action: Action::Deny,
        // `pods/status` too: its writes may change metadata.
        rules: rules("", "v1", &["pods", "pods/status"], &["CREATE", "UPDATE"]),
        only_if: vec![
            (
                "has-keys-of-korder",
                format!(
                    "[object, oldObject].exists(pod, pod != null \
                     && (has(pod.metadata.annotations) && pod.metadata.annotations.exists(key, {OURS}) \
                     || has(pod.metadata.labels) && pod.metadata.labels.exists(key, {OURS})))"
                ),
            ),
            not_the_controller(),
        ],
        variables: vec![
            ("annotations", cel_map_of("object", "annotations")),
            ("labels", cel_map_of("object", "labels")),
            ("oldAnnotations", cel_map_of("oldObject", "annotations")),
            ("oldLabels", cel_map_of("oldObject", "labels")),
            ("changed", format!("{asks}.filter(key, {changed})")),
        ],
        validations: [known_keys(), labels()]
            .into_iter()
            .chain(CONTROLLER_ANNOTATIONS.map(own))
            .chain(values())
            .chain(together())
            .chain([only_while_gated()])
            .collect(),
    }
}

fn known_keys() -> Validation {
    let known = cel_list(
        &[&CLAIM_ANNOTATIONS[..], &CONTROLLER_ANNOTATIONS, &[ANNOTATION_RUNS_ON, ANNOTATION_OUTPUT_CONTAINER]].concat(),
    );
    let unknown = format!("{OURS} && !(key in {known}) && !(key in variables.oldAnnotations)");
    Validation {
        expression: format!("!variables.annotations.exists(key, {unknown})"),
        message: format!(
            "'annotation `' + variables.annotations.filter(key, {unknown})[0] + '` is unknown; known are {}'",
            CLAIM_ANNOTATIONS.join(", ")
        ),
    }
}

/// What each annotation may be.
fn values() -> [Validation; 8] {
    let name = "[a-z0-9]([-.a-z0-9]*[a-z0-9])?";
    let word = "[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?";
    let one_of = |values: &[&str]| format!("value in {}", cel_list(values));
    let matches = |pattern: &str| format!("value.matches('^{pattern}$')");
    let duration = Duration::RULE.replace("self", "value");
    [
        value_of(ANNOTATION_REQUIRED, &one_of(&["true", "false"]), "it must be \"true\" or \"false\""),
        value_of(
            ANNOTATION_ORDER,
            &matches(&format!("([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?{name}")),
            "it must be the name of an order, after its namespace and a slash where that is another one",
        ),
        value_of(
            ANNOTATION_TICKET,
            &matches(name),
            "it must be the name of a ticket in the namespace of the pod, or of the order that is named",
        ),
        value_of(
            ANNOTATION_TICKET_SELECTOR,
            &format!("value.size() <= {MAX_SELECTOR} && {}", matches(&selector())),
            "it must be a label selector, such as `app=web`, `app!=web`, `app in (web, db)`, `app` or `!app`, or several of \
             them with commas between",
        ),
        value_of(
            ANNOTATION_GROUP,
            &matches(word),
            "it must be up to 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends",
        ),
        value_of(
            ANNOTATION_GROUP_SIZE,
            &format!("{} && int(value) <= {MAX_GROUP_SIZE}", matches("[1-9][0-9]{0,2}")),
            &format!("it must be a number from 1 to {MAX_GROUP_SIZE}"),
        ),
        value_of(ANNOTATION_TIMEOUT, &duration, &format!("it {}", Duration::RULE_IN_WORDS)),
        value_of(
            ANNOTATION_ON_TIMEOUT,
            &one_of(&["Wait", "Fallback", "Fail"]),
            "it must be Wait (the default), Fallback or Fail",
        ),
    ]
}

/// The longest selector: as many requirements as anybody needs.
const MAX_SELECTOR: usize = 1024;

/// A label selector as `kubectl get -l` takes it, as a regular expression.
fn selector() -> String {
    let name = "[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?";
    let domain = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
    let (key, value) = (format!("({domain}/)?{name}"), format!("({name})?"));
    let requirement =
        format!("(! *{key}|{key}|{key} *(=|==|!=) *{value}|{key} +(in|notin) *[(] *{value} *(, *{value} *)*[)])");
    format!(" *{requirement} *(, *{requirement} *)*")
}

/// What an annotation may be, as CEL over `value`, and the same in words.
fn value_of(key: &str, allowed: &str, in_words: &str) -> Validation {
    let value = format!("variables.annotations['{key}']");
    Validation {
        expression: format!(
            "!('{key}' in variables.annotations) \
             || {} || [{value}].all(value, {allowed})",
            cel_agree(&format!("'{key}'"), "variables.annotations", "variables.oldAnnotations"),
        ),
        message: format!("'annotation `{key}: ' + {value} + '` is refused: {in_words}'"),
    }
}

/// What annotations must be so that they make sense together.
fn together() -> Vec<Validation> {
    let there = |key: &str| format!("'{key}' in variables.annotations");
    let is = |key: &str, value: &str| format!("{} && variables.annotations['{key}'] == '{value}'", there(key));
    let never_waits = |key: &str| {
        let wrong = format!("{} && {}", is(ANNOTATION_REQUIRED, "false"), there(key));
        (wrong, format!("annotation `{key}` is refused: with `{ANNOTATION_REQUIRED}: false` the pod never waits"))
    };
    let needs = |key: &str, other: &str| {
        (format!("{} && !({})", there(key), there(other)), format!("annotation `{key}` is refused: it needs `{other}`"))
    };
    let of_another_controller = "has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(owner, \
                                 has(owner.controller) && owner.controller \
                                 && !(owner.kind == 'Job' && owner.apiVersion.startsWith('batch/')))";
    let fails = (
        format!("{} && {of_another_controller}", is(ANNOTATION_ON_TIMEOUT, "Fail")),
        format!(
            "annotation `{ANNOTATION_ON_TIMEOUT}: Fail` is refused: only a Job lets a failed pod be, other controllers \
             make another one at once; use Wait or Fallback"
        ),
    );
    let wrong = [
        needs(ANNOTATION_GROUP, ANNOTATION_GROUP_SIZE),
        needs(ANNOTATION_GROUP_SIZE, ANNOTATION_GROUP),
        needs(ANNOTATION_ON_TIMEOUT, ANNOTATION_TIMEOUT),
        never_waits(ANNOTATION_GROUP),
        never_waits(ANNOTATION_TIMEOUT),
        fails,
    ];
    let validation = |(wrong, message): (String, String)| Validation {
        expression: format!("variables.changed.size() == 0 || !({wrong})"),
        message: format!("'{message}'"),
    };
    wrong.into_iter().map(validation).collect()
}

/// A pod asks when it is made; once its gate is off nobody reads what it asks for.
fn only_while_gated() -> Validation {
    let gated = format!(
        "has(oldObject.spec.schedulingGates) && oldObject.spec.schedulingGates.exists(gate, gate.name == '{GATE}')"
    );
    Validation {
        expression: format!("oldObject == null || variables.changed.size() == 0 || {gated}"),
        message: format!(
            "'annotation `' + variables.changed[0] + '` can\\'t be changed: a pod asks for a ticket when it is made, and this \
             one does not wait behind the gate `{GATE}`; make another pod'"
        ),
    }
}

/// An annotation that nobody but the controller writes.
fn own(key: &str) -> Validation {
    Validation {
        expression: cel_agree(&format!("'{key}'"), "variables.annotations", "variables.oldAnnotations"),
        message: format!("'annotation `{key}` is korder\\'s own: it tells of a pod\\'s ticket'"),
    }
}

/// Pods that produce stock have their labels from a Job, or are a part of it: who makes them is not the controller. Whose they
/// are tell their owners.
fn labels() -> Validation {
    let of_stock = cel_list(&[LABEL_INVENTORY, LABEL_STOCK, LABEL_STOCK_UID]);
    let agree = cel_agree("key", "variables.labels", "variables.oldLabels");
    let changed = format!("{OURS} && !{agree} && !(oldObject == null && key in {of_stock})");
    let all = "(variables.labels.map(key, key) + variables.oldLabels.map(key, key))";
    Validation {
        expression: format!("!{all}.exists(key, {changed})"),
        message: format!(
            "'label `' + {all}.filter(key, {changed})[0] + '` is korder\\'s own: it marks pods that korder makes'"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::tests::refusal;

    fn pod(annotations: &Value, labels: &Value) -> Value {
        json!({ "metadata": { "annotations": annotations, "labels": labels }, "spec": {} })
    }

    /// What the API server says of a new pod with these annotations, without the prefix.
    #[track_caller]
    fn told(annotations: &[(&str, &str)]) -> Option<String> {
        refusal(&policy(), &annotated(annotations), None)
    }

    fn annotated(annotations: &[(&str, &str)]) -> Value {
        let annotations: Value =
            annotations.iter().map(|(key, value)| (format!("korder.dev/{key}"), json!(value))).collect();
        pod(&annotations, &json!({}))
    }

    #[track_caller]
    fn refused(old: Option<&Value>, new: &Value, message: &str) {
        let message = (!message.is_empty()).then_some(message);
        assert_eq!(refusal(&policy(), new, old).as_deref(), message, "{new}");
    }

    #[test]
    fn what_users_may_say_passes() {
        refused(None, &json!({ "metadata": {} }), "");
        refused(None, &pod(&json!({ "korder.dev/required": "true", "korder.dev/order": "my-order" }), &json!({})), "");
        refused(None, &pod(&json!({ "korder.dev/order": "team-a/shelf.v2", "example.com/any": "x" }), &json!({})), "");
    }

    #[test]
    fn unknown_keys_are_refused_with_what_is_known() {
        refused(
            None,
            &pod(&json!({ "korder.dev/requierd": "true" }), &json!({})),
            "annotation `korder.dev/requierd` is unknown; known are korder.dev/required, korder.dev/order, \
             korder.dev/ticket, korder.dev/ticket-selector, korder.dev/group, korder.dev/group-size, \
             korder.dev/timeout, korder.dev/on-timeout",
        );
    }

    #[test]
    fn values_are_refused_with_what_is_allowed() {
        for (key, value, allowed) in [
            ("required", "yes", "it must be \"true\" or \"false\""),
            ("order", "My Order", "it must be the name of an order"),
            ("order", "a/b/c", "it must be the name of an order"),
            ("ticket", "team-a/shelf-1", "it must be the name of a ticket in the namespace of the pod"),
            ("ticket-selector", "app in web", "it must be a label selector, such as `app=web`"),
            ("group", "my group", "it must be up to 63 letters, digits"),
            ("group-size", "0", "it must be a number from 1 to 500"),
            ("group-size", "501", "it must be a number from 1 to 500"),
            ("group-size", "3.5", "it must be a number from 1 to 500"),
            ("timeout", "5 minutes", "it must be a duration above 0 and up to 87600h"),
            ("timeout", "0s", "it must be a duration above 0 and up to 87600h"),
            ("on-timeout", "fail", "it must be Wait (the default), Fallback or Fail"),
        ] {
            let told = told(&[(key, value)]).unwrap();
            let wanted = format!("annotation `korder.dev/{key}: {value}` is refused: {allowed}");
            assert!(told.starts_with(&wanted), "{told}");
        }
    }

    #[test]
    fn all_that_can_be_asked_for_passes() {
        for annotations in [
            &[("required", "false"), ("order", "team-a/shelf")][..],
            &[("ticket", "shelf-1"), ("order", "shelf")],
            &[("group", "ring"), ("group-size", "500"), ("timeout", "1h30m")],
            &[("timeout", "5m"), ("on-timeout", "Fail")],
        ] {
            assert_eq!(told(annotations), None, "{annotations:?}");
        }
    }

    /// The same texts as in the tests of the parser in `korder-core`.
    #[test]
    fn selectors_are_those_of_kubectl() {
        for good in [
            "app",
            "app=web",
            "app==web",
            " app = web ",
            "app!=db",
            "!other",
            "! other",
            "app in (db, web)",
            "app in (web),e.com/size",
            "app notin (db)",
            "empty=",
            "empty in (x,)",
            "app,!other,e.com/size in (5)",
        ] {
            assert_eq!(told(&[("ticket-selector", good)]), None, "{good}");
        }
        for bad in [
            "",
            ",",
            "app,",
            "app in web",
            "app in (web",
            "app within (web)",
            "size>4",
            "/x",
            "-app",
            "a b",
            "A.com/x",
            "e.com/",
            "app=we b",
            "app in (a b)",
            "!",
            "=x",
            "app=a=b",
            "(a)",
            "in (a)",
        ] {
            assert!(told(&[("ticket-selector", bad)]).is_some(), "{bad}");
        }
        assert!(told(&[("ticket-selector", &"a".repeat(64))]).is_some());
    }

    #[test]
    fn annotations_that_make_no_sense_together_are_refused() {
        for (annotations, why) in [
            (&[("group", "g")][..], "annotation `korder.dev/group` is refused: it needs `korder.dev/group-size`"),
            (&[("group-size", "2")], "annotation `korder.dev/group-size` is refused: it needs `korder.dev/group`"),
            (&[("on-timeout", "Wait")], "annotation `korder.dev/on-timeout` is refused: it needs `korder.dev/timeout`"),
            (
                &[("required", "false"), ("timeout", "5m")],
                "annotation `korder.dev/timeout` is refused: with `korder.dev/required: false` the pod never waits",
            ),
            (
                &[("required", "false"), ("group", "g"), ("group-size", "2")],
                "annotation `korder.dev/group` is refused: with `korder.dev/required: false` the pod never waits",
            ),
        ] {
            assert_eq!(told(annotations).as_deref(), Some(why));
        }
    }

    #[test]
    fn only_pods_of_jobs_and_of_nobody_may_fail() {
        let of = |api_version: &str, kind: &str, controller: bool| {
            let mut pod = annotated(&[("timeout", "5m"), ("on-timeout", "Fail")]);
            let owner =
                json!({ "apiVersion": api_version, "kind": kind, "name": "o", "uid": "u", "controller": controller });
            pod["metadata"]["ownerReferences"] = json!([owner]);
            refusal(&policy(), &pod, None)
        };
        assert_eq!(of("batch/v1", "Job", true), None);
        assert_eq!(of("v1", "ConfigMap", false), None);
        for (api_version, kind) in [("apps/v1", "ReplicaSet"), ("apps/v1", "StatefulSet"), ("example.com/v1", "Job")] {
            let told = of(api_version, kind, true).unwrap();
            assert!(told.starts_with("annotation `korder.dev/on-timeout: Fail` is refused: only a Job"), "{told}");
        }
    }

    #[test]
    fn what_a_pod_asks_for_can_be_changed_only_while_it_waits() {
        let old = annotated(&[("order", "a")]);
        let mut gated = old.clone();
        gated["spec"] = json!({ "schedulingGates": [{ "name": "korder.dev/ticket" }] });
        let told = "annotation `korder.dev/order` can't be changed: a pod asks for a ticket when it is made, and this one \
                    does not wait behind the gate `korder.dev/ticket`; make another pod";
        refused(Some(&old), &annotated(&[("order", "b")]), told);
        refused(Some(&old), &annotated(&[]), told);
        refused(Some(&annotated(&[])), &old, told);
        refused(Some(&old), &old, "");
        refused(Some(&gated), &annotated(&[("order", "b")]), "");
    }

    #[test]
    fn a_claim_is_not_written_by_hand() {
        let told = "annotation `korder.dev/bound-ticket` is korder's own: it tells of a pod's ticket";
        let bound = |ticket: &str| pod(&json!({ "korder.dev/bound-ticket": ticket }), &json!({}));
        refused(None, &bound("t-1"), told);
        refused(Some(&bound("t-1")), &bound("t-2"), told);
        refused(Some(&bound("t-1")), &pod(&json!({}), &json!({})), told);
        refused(Some(&bound("t-1")), &bound("t-1"), "");
    }

    #[test]
    fn a_guardian_is_not_forged() {
        let told = "label `korder.dev/role` is korder's own: it marks pods that korder makes";
        let guardian = pod(&json!({}), &json!({ "korder.dev/role": "guardian" }));
        refused(None, &guardian, told);
        refused(Some(&guardian), &pod(&json!({}), &json!({})), told);
        refused(Some(&guardian), &guardian, "");
    }

    #[test]
    fn pods_that_produce_stock_are_marked_when_they_are_made() {
        let annotations = json!({ "korder.dev/output-container": "build" });
        let of = |stock: &str| pod(&annotations, &json!({ "korder.dev/stock": stock, "korder.dev/stock-uid": "u" }));
        refused(None, &of("shelf-1"), "");
        refused(Some(&of("shelf-1")), &of("shelf-1"), "");
        let told = "label `korder.dev/stock` is korder's own: it marks pods that korder makes";
        refused(Some(&of("shelf-1")), &of("shelf-2"), told);
        refused(Some(&pod(&annotations, &json!({ "korder.dev/stock-uid": "u" }))), &of("shelf-1"), told);
    }

    #[test]
    fn what_was_there_before_does_not_stop_a_kubelet() {
        let old = pod(&json!({ "korder.dev/unknown": "x", "korder.dev/required": "maybe" }), &json!({}));
        refused(Some(&old), &old, "");
    }
}
