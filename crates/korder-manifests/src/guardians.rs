//! What nobody but the controllers does with guardians: quotas leave their priority classes out, and their places are
//! counted by what their tickets reserve.

use korder_api::names::{GROUP, LABEL_ROLE, ROLE_GUARDIAN, TWIN_PREFIX};
use kube::core::DynamicObject;

use crate::accounts::not_the_controller;
use crate::policy::{Action, Policy, Validation, rules};

/// The policy and its binding.
pub(crate) fn policies() -> Vec<DynamicObject> {
    policy().objects()
}

fn policy() -> Policy {
    let is_guardian = |pod: &str| {
        format!(
            "{pod} != null && has({pod}.metadata.labels) && '{LABEL_ROLE}' in {pod}.metadata.labels \
             && {pod}.metadata.labels['{LABEL_ROLE}'] == '{ROLE_GUARDIAN}'"
        )
    };
    let has_class =
        format!("has(object.spec.priorityClassName) && object.spec.priorityClassName.startsWith('{TWIN_PREFIX}')");
    let images = |pod: &str| format!("{pod}.spec.containers.map(container, container.image)");
    let owners = |pod: &str| {
        format!(
            "(has({pod}.metadata.ownerReferences) ? {pod}.metadata.ownerReferences : [])\
             .filter(owner, owner.apiVersion.startsWith('{GROUP}/')).map(owner, owner.uid)"
        )
    };
    Policy {
        name: "guardians.korder.dev",
        action: Action::Deny,
        rules: rules("", "v1", &["pods"], &["CREATE", "UPDATE"]),
        only_if: vec![
            ("is-a-guardian-or-seems-one", format!("({}) || ({has_class})", is_guardian("oldObject"))),
            not_the_controller(),
        ],
        variables: vec![],
        validations: vec![
            Validation {
                expression: format!("oldObject != null || !({has_class})"),
                message:
                    "'priority class `' + object.spec.priorityClassName + '` is for guardians only: name the class \
                          that your pods have'"
                        .into(),
            },
            Validation {
                expression: format!("oldObject == null || {} == {}", images("object"), images("oldObject")),
                message:
                    "'pod `' + object.metadata.name + '` is a guardian, which holds a place and runs nothing else: \
                          its image can\\'t be changed'"
                        .into(),
            },
            Validation {
                expression: format!(
                    "oldObject == null || {}.all(owner, owner in {})",
                    owners("object"),
                    owners("oldObject")
                ),
                message:
                    "'pod `' + object.metadata.name + '` is the guardian of the ticket that made it, and can\\'t be \
                          given to another one'"
                        .into(),
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::tests::refusal;

    fn pod(role: &str, class: &str, image: &str, ticket: &str) -> Value {
        let owner = json!({ "apiVersion": "core.korder.dev/v1alpha1", "kind": "Ticket", "name": "t", "uid": ticket });
        json!({
            "metadata": { "name": "p", "labels": { "korder.dev/role": role }, "ownerReferences": [owner] },
            "spec": { "priorityClassName": class, "containers": [{ "name": "c", "image": image }] },
        })
    }

    #[test]
    fn nobody_else_has_a_guardians_class() {
        let told = "priority class `korder-guardian-0` is for guardians only: name the class that your pods have";
        assert_eq!(refusal(&policy(), &pod("", "korder-guardian-0", "app", "u"), None).as_deref(), Some(told));
        assert_eq!(refusal(&policy(), &pod("", "high", "app", "u"), None), None);
        assert_eq!(refusal(&policy(), &json!({ "metadata": {}, "spec": {} }), None), None);
        let there = pod("", "korder-guardian-0", "app", "u");
        assert_eq!(refusal(&policy(), &there, Some(&there)), None, "a kubelet's write on one from before");
    }

    #[test]
    fn a_guardian_stays_what_it_is() {
        let guardian = pod("guardian", "korder-guardian-0", "pause", "u");
        let told = |new: &Value| refusal(&policy(), new, Some(&guardian)).unwrap_or_default();
        assert_eq!(told(&guardian), "");
        let busy = told(&pod("guardian", "korder-guardian-0", "miner", "u"));
        assert!(busy.contains("its image can't be changed"), "{busy}");
        let given = told(&pod("guardian", "korder-guardian-0", "pause", "v"));
        assert!(given.contains("can't be given to another one"), "{given}");
        let mut orphan = guardian.clone();
        orphan["metadata"]["ownerReferences"] = json!([]);
        assert_eq!(told(&orphan), "", "the garbage collector may take it off");
    }
}
