//! When policies have effect.
//!
//! The API server takes policies from a cache, some time after they were written. Who installs and at once creates a
//! pod must find it gated, so the installation tries with pods that are never made.

use std::time::Duration;

use anyhow::{anyhow, bail};
use cli::Hinted;
use k8s_openapi::api::core::v1::Pod;
use korder_api::names::{ANNOTATION_REQUIRED, CONTROLLER_NAME, GATE, SYSTEM_NAMESPACE};
use korder_manifests::Gate;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// How long the API server may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Time between two tries.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long the policies must be seen to have effect where another API server, or another form of the gate that was
/// there before, may have answered: API servers read their policies anew each second.
pub(super) const SETTLING: Duration = Duration::from_secs(3);

/// Waits until the policies refuse and, where the gate is one, gate, and have done so for this long.
pub(super) async fn wait(client: &Client, gate: Gate, settling: Duration) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let gated_by_policy = matches!(gate, Gate::Policy(_));
    let end = Instant::now() + DEADLINE;
    let mut since = None;
    loop {
        let refused = refuses(&pods).await?;
        let in_effect = refused && (!gated_by_policy || gates(&pods).await?);
        since = if in_effect { since.or(Some(Instant::now())) } else { None };
        if since.is_some_and(|since| since.elapsed() >= settling) {
            return Ok(());
        }
        if Instant::now() > end {
            bail!(Hinted::new(
                format!(
                    "the policies have no effect after {} s: {}",
                    DEADLINE.as_secs(),
                    if refused {
                        "pods that ask for a ticket are not gated"
                    } else {
                        "wrong annotations are not refused"
                    },
                ),
                "see the log of the API server, then install again",
            ));
        }
        sleep(INTERVAL).await;
    }
}

/// Whether a pod with an annotation that korder doesn't know is refused.
async fn refuses(pods: &Api<Pod>) -> anyhow::Result<bool> {
    match dry_run(pods, "korder.dev/no-such-annotation").await {
        Ok(_) => Ok(false),
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(true),
        Err(error) => Err(failed(error)),
    }
}

/// Whether a pod that asks for a ticket is gated.
async fn gates(pods: &Api<Pod>) -> anyhow::Result<bool> {
    let pod = dry_run(pods, ANNOTATION_REQUIRED).await.map_err(failed)?;
    let gates = pod.spec.and_then(|spec| spec.scheduling_gates).unwrap_or_default();
    Ok(gates.iter().any(|gate| gate.name == GATE))
}

async fn dry_run(pods: &Api<Pod>, annotation: &str) -> Result<Pod, kube::Error> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "korder-install-", "annotations": { annotation: "true" } },
        "spec": {
            // The account that is there already; a new namespace gets its `default` some seconds later.
            "serviceAccountName": CONTROLLER_NAME,
            "automountServiceAccountToken": false,
            "containers": [{ "name": "none", "image": "none" }],
        },
    });
    let pod: Pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
    pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await
}

fn failed(error: kube::Error) -> anyhow::Error {
    anyhow!(error).context("cannot try out the policies with a pod that is not made")
}
