//! Rules of somebody's by which korder's writes are refused: hand-overs stand still where the place is promised and not free, or
//! before that.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::Case;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::Pod;
use korder_api::names;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

/// A rule that refuses what a test wants refused in its namespace.
pub(crate) struct Held<'a> {
    case: &'a Case,
}

impl<'a> Held<'a> {
    /// Nobody can delete guardians. Returns when the rule is heeded. There must be a guardian.
    pub(crate) async fn guardians(case: &'a Case) -> Result<Self> {
        let refused = format!("'{}' in oldObject.metadata.?labels.orValue({{}})", names::LABEL_ROLE);
        let held = Self::refuse(case, &["pods"], "DELETE", &refused).await?;
        let guardian = case.pods.log().objects().find(|pod| is_guardian(pod)).map(|pod| pod.name_any());
        let guardian = guardian.context("there is no guardian")?;
        let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
        is_heeded(async || case.api::<Pod>().delete(&guardian, &dry).await.is_err()).await?;
        Ok(held)
    }

    /// Nobody can write a pod. Returns when the rule is heeded. The pod must be there.
    pub(crate) async fn pod(case: &'a Case, name: &str) -> Result<Self> {
        let refused = format!("oldObject.metadata.name == '{name}'");
        let held = Self::refuse(case, &["pods", "pods/status"], "UPDATE", &refused).await?;
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let change = Patch::Merge(json!({"metadata": {"annotations": {"example.com/tried": "true"}}}));
        is_heeded(async || case.api::<Pod>().patch(name, &dry, &change).await.is_err()).await?;
        Ok(held)
    }

    /// Refuses an operation on what a CEL expression says.
    async fn refuse(case: &'a Case, resources: &[&str], operation: &str, refused: &str) -> Result<Self> {
        let name = case.namespace();
        let policy = json!({
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": resources, "operations": [operation],
                }]},
                "validations": [{"expression": format!("oldObject.metadata.namespace != '{name}' || !({refused})")}],
            },
        });
        let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        let (held, params) = (Self { case }, PostParams::default());
        held.policies().create(&params, &serde_json::from_value(policy)?).await?;
        held.bindings().create(&params, &serde_json::from_value(binding)?).await?;
        Ok(held)
    }

    /// Takes the rule away.
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

/// Nothing tells when the API server heeds a new policy.
async fn is_heeded(is_refused: impl AsyncFn() -> bool) -> Result<()> {
    let refused = async {
        while !is_refused().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.context("the policy is not heeded")
}

fn is_guardian(pod: &Pod) -> bool {
    pod.labels().get(names::LABEL_ROLE).is_some_and(|role| role == names::ROLE_GUARDIAN)
}
