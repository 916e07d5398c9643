//! korder's own programs, as users see them.

use anyhow::{Context as _, Result, ensure};
use e2e::Case;
use k8s_openapi::api::apps::v1::Deployment;
use korder_api::names;
use kube::api::Api;

use crate::suite::Suite;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(the_controllers_deployment_is_available);
    suite.add(the_controllers_log_can_be_followed);
}

async fn the_controllers_deployment_is_available(case: &Case) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(case.client(), names::SYSTEM_NAMESPACE);
    let deployment = deployments.get(names::CONTROLLER_NAME).await?;
    let wanted = deployment.spec.and_then(|spec| spec.replicas);
    let status = deployment.status.context("the Deployment has no status")?;
    ensure!(status.available_replicas == wanted, "{status:?}");
    Ok(())
}

async fn the_controllers_log_can_be_followed(case: &Case) -> Result<()> {
    let follow = ["logs", "-n", names::SYSTEM_NAMESPACE, "deployment/korder-controller-manager", "-f"];
    let line = case.kubectl().until_line(&follow, |line| line.contains("controller")).await?;
    ensure!(line.contains("INFO") || line.contains("WARN") || line.contains("ERROR"), "the log has no level: {line}");
    Ok(())
}
