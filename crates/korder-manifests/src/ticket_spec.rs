//! A ticket is what it was made as: of its spec only `lifecycle` may change.
//!
//! A policy and not a rule of the schema, where the API server bounds what a comparison of whole affinities may cost.

use korder_api::names::{GROUP, VERSION};
use kube::core::DynamicObject;

use crate::policy::{Action, Policy, Validation, cel_agree, rules};

/// The policy and its binding.
pub(crate) fn policies() -> Vec<DynamicObject> {
    policy().objects()
}

fn policy() -> Policy {
    Policy {
        name: "ticket-spec.korder.dev",
        action: Action::Deny,
        rules: rules(GROUP, VERSION, &["tickets"], &["UPDATE"]),
        only_if: vec![],
        variables: vec![
            // As maps: the API server checks the types of fields but not of keys.
            ("new", "dyn(object.spec)".into()),
            ("old", "dyn(oldObject.spec)".into()),
            (
                "changed",
                format!(
                    "(variables.new.map(key, key) + variables.old.map(key, key))\
                     .filter(key, key != 'lifecycle' && !{})",
                    cel_agree("key", "variables.new", "variables.old"),
                ),
            ),
        ],
        validations: vec![Validation {
            expression: "variables.changed.size() == 0".into(),
            message: "'`spec.' + variables.changed[0] + '` can\\'t be changed: of a ticket only `spec.lifecycle` can; \
                      delete it and make another'"
                .into(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::tests::refusal;

    #[track_caller]
    fn changed(old: &Value, new: &Value) -> Option<String> {
        refusal(&policy(), &json!({ "spec": new }), Some(&json!({ "spec": old })))
    }

    #[test]
    fn lifecycle_may_change() {
        let old = json!({ "duration": "1h", "resources": { "requests": { "cpu": "1" } } });
        let mut new = old.clone();
        new["lifecycle"] = json!({ "cleanupPolicy": "Retain" });
        assert_eq!(changed(&old, &new), None);
        assert_eq!(changed(&new, &old), None);
    }

    #[test]
    fn the_rest_may_not() {
        let told =
            "`spec.duration` can't be changed: of a ticket only `spec.lifecycle` can; delete it and make another";
        assert_eq!(changed(&json!({ "duration": "1h" }), &json!({ "duration": "2h" })).as_deref(), Some(told));
        assert_eq!(changed(&json!({ "duration": "1h" }), &json!({})).as_deref(), Some(told));
        assert_eq!(changed(&json!({}), &json!({ "duration": "2h" })).as_deref(), Some(told));
    }
}
