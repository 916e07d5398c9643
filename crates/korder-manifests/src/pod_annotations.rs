//! What pods may say about tickets, and who may say it.

use korder_api::names::{
    ANNOTATION_BOUND_TICKET, ANNOTATION_ORDER, ANNOTATION_REQUIRED, ANNOTATION_RUNS_ON, CONTROLLER_NAME,
    POD_ANNOTATIONS, SYSTEM_NAMESPACE,
};
use kube::core::DynamicObject;

use crate::policy::{Policy, Validation, cel_agree, cel_list, rules};

/// The policy and its binding.
pub(crate) fn policies() -> Vec<DynamicObject> {
    policy().objects()
}

/// The user name of the controllers: the one account that hands tickets over and makes guardians.
fn controller() -> String {
    format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{CONTROLLER_NAME}")
}

/// CEL that tells a key of ours.
const OURS: &str = "key.startsWith('korder.dev/')";

/// A key or value that was there before is let pass: a kubelet that writes such a pod's status must not be refused.
fn policy() -> Policy {
    Policy {
        name: "pod-annotations.korder.dev",
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
            ("is-not-the-controller", format!("request.userInfo.username != '{}'", controller())),
        ],
        variables: vec![
            ("annotations", map_of("object", "annotations")),
            ("labels", map_of("object", "labels")),
            ("oldAnnotations", map_of("oldObject", "annotations")),
            ("oldLabels", map_of("oldObject", "labels")),
        ],
        validations: vec![known_keys(), required(), order(), bound_ticket(), labels()],
    }
}

/// CEL of a map of an object's metadata; empty where the object or the map is missing.
fn map_of(object: &str, map: &str) -> String {
    format!("{object} != null && has({object}.metadata.{map}) ? {object}.metadata.{map} : {{}}")
}

fn known_keys() -> Validation {
    let for_users: Vec<&str> = POD_ANNOTATIONS.into_iter().filter(|key| *key != ANNOTATION_BOUND_TICKET).collect();
    let known = cel_list(&[&POD_ANNOTATIONS[..], &[ANNOTATION_RUNS_ON]].concat());
    let unknown = format!("{OURS} && !(key in {known}) && !(key in variables.oldAnnotations)");
    Validation {
        expression: format!("!variables.annotations.exists(key, {unknown})"),
        message: format!(
            "'annotation `' + variables.annotations.filter(key, {unknown})[0] + '` is unknown; known are {}'",
            for_users.join(", ")
        ),
    }
}

fn required() -> Validation {
    value_of(ANNOTATION_REQUIRED, "value in ['true', 'false']", "it must be \"true\" or \"false\"")
}

fn order() -> Validation {
    value_of(
        ANNOTATION_ORDER,
        "value.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')",
        "it must be the name of an order",
    )
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

fn bound_ticket() -> Validation {
    let key = ANNOTATION_BOUND_TICKET;
    Validation {
        expression: cel_agree(&format!("'{key}'"), "variables.annotations", "variables.oldAnnotations"),
        message: format!("'annotation `{key}` is korder\\'s own: it tells which ticket a pod was given'"),
    }
}

fn labels() -> Validation {
    let changed = format!("{OURS} && !{}", cel_agree("key", "variables.labels", "variables.oldLabels"));
    let all = "(variables.labels.map(key, key) + variables.oldLabels.map(key, key))";
    Validation {
        expression: format!("!{all}.exists(key, {changed})"),
        message: format!("'label `' + {all}.filter(key, {changed})[0] + '` is korder\\'s own: it marks guardian pods'"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::tests::refusal;

    fn pod(annotations: &Value, labels: &Value) -> Value {
        json!({ "metadata": { "annotations": annotations, "labels": labels } })
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
        refused(
            None,
            &pod(&json!({ "korder.dev/required": "yes" }), &json!({})),
            "annotation `korder.dev/required: yes` is refused: it must be \"true\" or \"false\"",
        );
        refused(
            None,
            &pod(&json!({ "korder.dev/order": "My Order" }), &json!({})),
            "annotation `korder.dev/order: My Order` is refused: it must be the name of an order",
        );
    }

    #[test]
    fn a_claim_is_not_written_by_hand() {
        let told = "annotation `korder.dev/bound-ticket` is korder's own: it tells which ticket a pod was given";
        let bound = |ticket: &str| pod(&json!({ "korder.dev/bound-ticket": ticket }), &json!({}));
        refused(None, &bound("t-1"), told);
        refused(Some(&bound("t-1")), &bound("t-2"), told);
        refused(Some(&bound("t-1")), &pod(&json!({}), &json!({})), told);
        refused(Some(&bound("t-1")), &bound("t-1"), "");
    }

    #[test]
    fn a_guardian_is_not_forged() {
        let told = "label `korder.dev/role` is korder's own: it marks guardian pods";
        let guardian = pod(&json!({}), &json!({ "korder.dev/role": "guardian" }));
        refused(None, &guardian, told);
        refused(Some(&guardian), &pod(&json!({}), &json!({})), told);
        refused(Some(&guardian), &guardian, "");
    }

    #[test]
    fn what_was_there_before_does_not_stop_a_kubelet() {
        let old = pod(&json!({ "korder.dev/unknown": "x", "korder.dev/required": "maybe" }), &json!({}));
        refused(Some(&old), &old, "");
    }
}
