//! Nobody but the controllers writes the Lease by which one of them leads: whoever took it would stop them all.

use korder_api::names::{LEADER_LEASE, SYSTEM_NAMESPACE};
use kube::core::DynamicObject;
use serde_json::json;

use crate::accounts::not_the_controller;
use crate::policy::{Action, Policy, Validation, rules};

/// The policy and its binding.
pub(crate) fn policies() -> Vec<DynamicObject> {
    policy().objects()
}

fn policy() -> Policy {
    let mut lease = rules("coordination.k8s.io", "v1", &["leases"], &["CREATE", "UPDATE"]);
    lease[0]["resourceNames"] = json!([LEADER_LEASE]);
    Policy {
        name: "leader.korder.dev",
        action: Action::Deny,
        rules: lease,
        only_if: vec![("is-korders-lease", format!("request.namespace == '{SYSTEM_NAMESPACE}'")), not_the_controller()],
        variables: vec![],
        validations: vec![Validation {
            expression: "false".into(),
            message: format!(
                "'the Lease `{LEADER_LEASE}` is korder\\'s own: it tells which of its controllers acts; to have another one \
                 act, delete the pod that it names'"
            ),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::refusal;

    #[test]
    fn nobody_takes_the_lead_by_hand() {
        let lease = json!({ "metadata": { "name": LEADER_LEASE }, "spec": { "holderIdentity": "me" } });
        let told = refusal(&policy(), &lease, Some(&lease)).unwrap();
        assert!(told.starts_with("the Lease `korder-controllers` is korder's own"), "{told}");
        assert_eq!(policy().rules[0]["resourceNames"], json!(["korder-controllers"]), "not the kubelets' Leases");
    }
}
