//! When policies have effect.
//!
//! The API server takes policies from a cache, some time after they were written. Who installs and at once creates a
//! pod must find it gated, so the installation tries with pods that are never made.

use std::time::Duration;

use anyhow::bail;
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
/// How long policies must be seen to have effect where somebody else may have answered: another API server, or another
/// form of the gate that was there before. API servers read their policies anew each second.
pub(super) const SETTLING: Duration = Duration::from_secs(3);

/// What a try says of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It has effect.
    Yes,
    /// It has none.
    #[default]
    No,
    /// Somebody else, such as another webhook, refused the pod before the policy could: for this reason.
    Untold(String),
}

/// Waits until the policies refuse and, where the gate is one, gate, and have done so for this long.
///
/// Where it can't be seen, waits as long as it takes at most, and returns why it can't.
pub(super) async fn wait(client: &Client, gate: Gate, settling: Duration) -> anyhow::Result<Option<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let end = Instant::now() + DEADLINE;
    let mut since = None;
    loop {
        let (missing, untold) = match (refuses(&pods).await, gates(&pods, gate).await) {
            (Effect::No, _) => (Some("wrong annotations are not refused"), None),
            (_, Effect::No) => (Some("pods that ask for a ticket are not gated"), None),
            (Effect::Untold(reason), _) | (_, Effect::Untold(reason)) => (None, Some(reason)),
            (Effect::Yes, Effect::Yes) => (None, None),
        };
        since = if missing.is_none() { since.or(Some(Instant::now())) } else { None };
        let settling = if untold.is_some() { SETTLING } else { settling };
        if since.is_some_and(|since| since.elapsed() >= settling) {
            return Ok(untold);
        }
        if let Some(missing) = missing.filter(|_| Instant::now() > end) {
            bail!(Hinted::new(
                format!("the policies have no effect after {} s: {missing}", DEADLINE.as_secs()),
                "see the log of the API server, then install again",
            ));
        }
        sleep(INTERVAL).await;
    }
}

/// What becomes of a pod that asks for a ticket.
pub(crate) async fn of_gate(client: &Client) -> Effect {
    gates_now(&Api::namespaced(client.clone(), SYSTEM_NAMESPACE)).await
}

/// What becomes of a pod with an annotation that korder doesn't know.
pub(crate) async fn of_refusal(client: &Client) -> Effect {
    refuses(&Api::namespaced(client.clone(), SYSTEM_NAMESPACE)).await
}

/// Whether a pod with an annotation that korder doesn't know is refused.
async fn refuses(pods: &Api<Pod>) -> Effect {
    match dry_run(pods, "korder.dev/no-such-annotation").await {
        Ok(_) => Effect::No,
        Err(kube::Error::Api(status)) if status.code == 422 => Effect::Yes,
        Err(error) => untold(error),
    }
}

/// Whether a pod that asks for a ticket is gated. The gate as a webhook begins when the webhook does, and isn't tried.
async fn gates(pods: &Api<Pod>, gate: Gate) -> Effect {
    if gate == Gate::Webhook { Effect::Yes } else { gates_now(pods).await }
}

/// The same whatever form the gate has.
async fn gates_now(pods: &Api<Pod>) -> Effect {
    match dry_run(pods, ANNOTATION_REQUIRED).await {
        Ok(pod) => {
            let gates = pod.spec.and_then(|spec| spec.scheduling_gates).unwrap_or_default();
            if gates.iter().any(|gate| gate.name == GATE) { Effect::Yes } else { Effect::No }
        }
        Err(error) => untold(error),
    }
}

fn untold(error: kube::Error) -> Effect {
    Effect::Untold(match error {
        kube::Error::Api(status) => status.message,
        error => error.to_string(),
    })
}

/// Creates a pod that is never made; it meets the `restricted` pod security standard, as ours do.
async fn dry_run(pods: &Api<Pod>, annotation: &str) -> Result<Pod, kube::Error> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "korder-install-", "annotations": { annotation: "true" } },
        "spec": {
            // The account that is there already; a new namespace gets its `default` some seconds later.
            "serviceAccountName": CONTROLLER_NAME,
            "automountServiceAccountToken": false,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "none",
                "image": "none",
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    });
    let pod: Pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
    pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await
}
