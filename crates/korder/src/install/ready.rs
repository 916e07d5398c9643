//! Waiting until korder's programs run as pods.

use std::time::Duration;

use anyhow::bail;
use cli::Hinted;
use k8s_openapi::api::apps::v1::Deployment;
use korder_api::names::{CONTROLLER_NAME, SYSTEM_NAMESPACE, WEBHOOK_NAME};
use kube::{Api, Client};

use crate::told::Told as _;

/// Bound of the start of all programs, their images' pull among it.
const TIMEOUT: Duration = Duration::from_mins(2);
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until as many pods of each program are ready as are wanted.
pub(crate) async fn wait_ready(client: &Client) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    for name in [CONTROLLER_NAME, WEBHOOK_NAME] {
        let ready = async {
            while !is_available(&deployments.get(name).await.told(|| format!("read `deployment/{name}`"))?) {
                tokio::time::sleep(INTERVAL).await;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(TIMEOUT, ready).await {
            Ok(result) => result?,
            Err(_) => bail!(Hinted::new(
                format!("`deployment/{name}` is not ready after {} s", TIMEOUT.as_secs()),
                format!("see `kubectl describe pods -n {SYSTEM_NAMESPACE}`")
            )),
        }
    }
    Ok(())
}

/// Whether as many pods are ready as are wanted, of the newest form.
pub(crate) fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) >= wanted
        && status.ready_replicas.unwrap_or(0) >= wanted
}
