//! Warns of annotations that ask for a ticket where nobody reads them: on what makes pods, instead of in its template.

use korder_api::names::CLAIM_ANNOTATIONS;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::policy::{Action, Policy, Validation, cel_list, rules};

/// The policies and their bindings.
pub(crate) fn policies() -> Vec<DynamicObject> {
    [with_template(), with_job_template()].iter().flat_map(Policy::objects).collect()
}

const WRITES: [&str; 2] = ["CREATE", "UPDATE"];

fn with_template() -> Policy {
    let apps = rules("apps", "v1", &["deployments", "statefulsets", "daemonsets", "replicasets"], &WRITES);
    let resources = json!([apps[0], rules("batch", "v1", &["jobs"], &WRITES)[0]]);
    policy("misplaced-annotations.korder.dev", resources, "spec.template")
}

fn with_job_template() -> Policy {
    let resources = rules("batch", "v1", &["cronjobs"], &WRITES);
    policy("misplaced-annotations-cronjobs.korder.dev", resources, "spec.jobTemplate.spec.template")
}

/// For kinds that have their pods' template at this path.
fn policy(name: &'static str, rules: Value, template: &str) -> Policy {
    let asks = format!("key in {}", cel_list(&CLAIM_ANNOTATIONS));
    let metadata = format!("object.{template}.metadata");
    Policy {
        name,
        action: Action::Warn,
        rules,
        only_if: vec![(
            "asks-for-a-ticket",
            format!("has(object.metadata.annotations) && object.metadata.annotations.exists(key, {asks})"),
        )],
        variables: vec![
            ("inTemplate", format!("has({metadata}) && has({metadata}.annotations) ? {metadata}.annotations : {{}}")),
            ("misplaced", format!("object.metadata.annotations.filter(key, {asks} && !(key in variables.inTemplate))")),
        ],
        validations: vec![Validation {
            expression: "variables.misplaced.size() == 0".into(),
            message: format!(
                "'annotation `' + variables.misplaced[0] + '` has no effect here: pods ask for tickets, so put it under \
                 `{template}.metadata.annotations`'"
            ),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::refusal;

    #[test]
    fn an_annotation_beside_the_template_is_warned_of() {
        let deployment = |own: Value, template: Value| json!({ "metadata": { "annotations": own }, "spec": { "template": { "metadata": template } } });
        let asks = || json!({ "korder.dev/required": "true" });
        let told = "annotation `korder.dev/required` has no effect here: pods ask for tickets, so put it under \
                    `spec.template.metadata.annotations`";
        let warning = |object: &Value| refusal(&with_template(), object, None);
        assert_eq!(warning(&deployment(asks(), json!({}))).as_deref(), Some(told));
        assert_eq!(warning(&deployment(asks(), json!({ "annotations": { "a": "b" } }))).as_deref(), Some(told));
        assert_eq!(warning(&deployment(asks(), json!({ "annotations": asks() }))), None);
        assert_eq!(warning(&deployment(json!({ "other": "x" }), json!({}))), None);
        let job = json!({ "spec": { "template": { "spec": {} } } });
        let cron = json!({ "metadata": { "annotations": asks() }, "spec": { "jobTemplate": job } });
        let told = refusal(&with_job_template(), &cron, None).unwrap();
        assert!(told.contains("`spec.jobTemplate.spec.template.metadata.annotations`"), "{told}");
    }

    #[test]
    fn it_only_warns() {
        let binding = &policies()[1];
        assert_eq!(binding.data["spec"]["validationActions"], json!(["Warn"]));
    }
}
