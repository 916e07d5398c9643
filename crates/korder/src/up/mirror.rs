//! The pods that stand for programs of the host show how those do.

use std::time::Duration;

use futures::future;
use jiff::Timestamp;
use json_patch::jsonptr::PointerBuf;
use json_patch::{PatchOperation, ReplaceOperation};
use k8s_openapi::api::core::v1::Pod;
use kooper::Stop;
use kooper::patch::{guarded, is_stale};
use korder_api::names::{ANNOTATION_RUNS_ON, SYSTEM_NAMESPACE};
use korder_manifests::HOST_NODE;
use kube::api::{ListParams, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::program::Health;

/// How often the pods are looked at when nothing happens: a Deployment may have replaced them.
const INTERVAL: Duration = Duration::from_secs(1);
/// The label that says which program a pod is of.
const PROGRAM_LABEL: &str = "app.kubernetes.io/name";

/// A program's Deployment, and how the program does.
#[derive(Clone, Debug)]
pub(crate) struct Mirrored {
    pub(crate) name: &'static str,
    pub(crate) health: watch::Receiver<Health>,
}

/// Keeps the pods' readiness what the programs' is, until `stop`.
pub(crate) async fn run(client: Client, mut programs: Vec<Mirrored>, stop: Stop) {
    let pods: Api<Pod> = Api::namespaced(client, SYSTEM_NAMESPACE);
    while !stop.is_stopped() {
        if let Err(error) = pass(&pods, &mut programs).await {
            // The next pass tries again.
            tracing::warn!(%error, "cannot show the readiness of programs of the host");
        }
        let changed = programs.iter_mut().map(|program| Box::pin(program.health.changed()));
        tokio::select! {
            _ = future::select_all(changed) => {}
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.stopped() => {}
        }
    }
}

async fn pass(pods: &Api<Pod>, programs: &mut [Mirrored]) -> kube::Result<()> {
    // What changes from here on is the next pass' matter.
    let healths: Vec<_> =
        programs.iter_mut().map(|Mirrored { name, health }| (*name, *health.borrow_and_update())).collect();
    let listed = pods.list(&ListParams::default().fields(&format!("spec.nodeName={HOST_NODE}"))).await?;
    for pod in listed.items {
        let program =
            healths.iter().find(|(name, _)| pod.labels().get(PROGRAM_LABEL).is_some_and(|label| label == name));
        let operations = program.map(|(_, health)| changes(&pod, *health, Timestamp::now())).unwrap_or_default();
        if operations.is_empty() {
            continue;
        }
        match pods.patch_status(&pod.name_any(), &PatchParams::default(), &guarded(&pod, operations)).await {
            // The next pass sees what it is now.
            Err(error) if is_stale(&error) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            result => drop(result?),
        }
    }
    Ok(())
}

/// What must change of a pod so that it shows how its program does; nothing where it does already.
fn changes(pod: &Pod, health: Health, now: Timestamp) -> Vec<PatchOperation> {
    let Some(status) = pod.status.as_ref() else { return Vec::new() };
    let of_host = pod.annotations().get(ANNOTATION_RUNS_ON).is_some_and(|value| value == "host");
    if !of_host || status.phase.as_deref() != Some("Running") || pod.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let wanted = if health.ready { "True" } else { "False" };
    let message = if health.ready { "" } else { "its process on the host does not say that it is ready" };
    let since = now.strftime("%FT%TZ").to_string();
    let conditions = status.conditions.iter().flatten().enumerate();
    let conditions = conditions
        .filter(|(_, condition)| ["Ready", "ContainersReady"].contains(&condition.type_.as_str()))
        .filter(|(_, condition)| condition.status != wanted)
        .map(|(index, condition)| {
            let value = json!({
                "type": condition.type_, "status": wanted, "reason": "HostProcess", "message": message,
                "lastTransitionTime": since,
            });
            set(&format!("/status/conditions/{index}"), value)
        });
    let containers = status.container_statuses.iter().flatten().enumerate();
    let containers = containers
        .filter(|(_, container)| container.ready != health.ready || container.restart_count != health.restarts)
        .flat_map(|(index, _)| {
            let field = |name: &str, value| set(&format!("/status/containerStatuses/{index}/{name}"), value);
            [field("ready", health.ready.into()), field("restartCount", health.restarts.into())]
        });
    conditions.chain(containers).collect()
}

/// Puts a value in the place of the one that is there.
fn set(path: &str, value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation { path: PointerBuf::from_tokens(path.split('/').skip(1)), value })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    /// A running pod of the host, with `status` of its conditions and container.
    fn pod(ready: bool) -> Pod {
        let condition = |type_| json!({"type": type_, "status": if ready { "True" } else { "False" }});
        serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": {"korder.dev/runs-on": "host"}},
            "status": {
                "phase": "Running",
                "conditions": [condition("PodScheduled"), condition("Ready"), condition("ContainersReady")],
                "containerStatuses": [
                    {"name": "korder", "image": "", "imageID": "", "ready": ready, "started": true, "restartCount": 0},
                ],
            },
        }))
        .unwrap()
    }

    fn changed(pod: &Pod, health: Health) -> Value {
        let mut value = serde_json::to_value(pod).unwrap();
        let patch = json_patch::Patch(changes(pod, health, Timestamp::UNIX_EPOCH));
        json_patch::patch(&mut value, &patch).unwrap();
        value["status"].take()
    }

    const READY: Health = Health { ready: true, restarts: 0 };

    #[test]
    fn a_program_that_is_ready_makes_its_pod_ready() {
        let status = changed(&pod(false), READY);
        let statuses: Vec<_> = status["conditions"].as_array().unwrap().iter().map(|c| c["status"].clone()).collect();
        assert_eq!(statuses, ["False", "True", "True"], "not what others report");
        assert_eq!(status["conditions"][1]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(status["containerStatuses"][0]["ready"], true);
        assert_eq!(status["containerStatuses"][0]["name"], "korder", "the rest stays");
    }

    #[test]
    fn restarts_are_shown() {
        let status = changed(&pod(true), Health { ready: true, restarts: 2 });
        assert_eq!(status["containerStatuses"][0]["restartCount"], 2);
    }

    #[test]
    fn nothing_is_written_where_nothing_changes() {
        assert!(changes(&pod(true), READY, Timestamp::UNIX_EPOCH).is_empty());
        assert!(changes(&pod(false), Health::default(), Timestamp::UNIX_EPOCH).is_empty());
    }

    #[test]
    fn pods_that_are_not_of_the_host_or_not_running_are_left_alone() {
        let mut elsewhere = pod(false);
        elsewhere.metadata.annotations = None;
        let mut ending = pod(false);
        ending.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let mut pending = pod(false);
        pending.status.as_mut().unwrap().phase = Some("Pending".to_owned());
        for pod in [elsewhere, ending, pending] {
            assert!(changes(&pod, READY, Timestamp::UNIX_EPOCH).is_empty(), "{pod:?}");
        }
    }
}
