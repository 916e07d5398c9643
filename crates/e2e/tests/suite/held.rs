//! Hand-overs that stand still where the place is promised and not free.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::Case;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::Pod;
use korder_api::names;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

/// A rule by which nobody can delete guardians in the namespace of a test.
pub(crate) struct Held<'a> {
    case: &'a Case,
}

impl<'a> Held<'a> {
    /// Returns when the rule is heeded. There must be a guardian.
    pub(crate) async fn guardians(case: &'a Case) -> Result<Self> {
        let name = case.namespace();
        let guardians = format!(
            "oldObject.metadata.namespace != '{name}' || !('{role}' in oldObject.metadata.?labels.orValue({{}}))",
            role = names::LABEL_ROLE
        );
        let policy = json!({
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["DELETE"],
                }]},
                "validations": [{"expression": guardians}],
            },
        });
        let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        let (held, params) = (Self { case }, PostParams::default());
        held.policies().create(&params, &serde_json::from_value(policy)?).await?;
        held.bindings().create(&params, &serde_json::from_value(binding)?).await?;
        let guardian = case.pods.log().objects().find(|pod| is_guardian(pod)).map(|pod| pod.name_any());
        let guardian = guardian.context("there is no guardian")?;
        let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
        // Nothing tells when the API server heeds a new policy.
        let refused = async {
            while case.api::<Pod>().delete(&guardian, &dry).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), refused).await.context("the policy is not heeded")?;
        Ok(held)
    }

    /// Lets guardians be deleted again.
    pub(crate) async fn let_go(self) -> Result<()> {
        let name = self.case.namespace();
        self.bindings().delete(name, &DeleteParams::default()).await?;
        self.policies().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    fn policies(&self) -> Api<ValidatingAdmissionPolicy> {
        Api::all(self.case.client())
    }

    fn bindings(&self) -> Api<ValidatingAdmissionPolicyBinding> {
        Api::all(self.case.client())
    }
}

fn is_guardian(pod: &Pod) -> bool {
    pod.labels().get(names::LABEL_ROLE).is_some_and(|role| role == names::ROLE_GUARDIAN)
}
