//! The pods that stand for programs of the host show how those do.

use std::time::Duration;

use futures::future;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kooper::Stop;
use korder_api::names::{ANNOTATION_RUNS_ON, SYSTEM_NAMESPACE};
use korder_manifests::HOST_NODE;
use kube::api::{ListParams, Patch, PatchParams};
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
        let Some(patch) = program.and_then(|(_, health)| status_patch(&pod, *health, Timestamp::now())) else {
            continue;
        };
        match pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await {
            // It has changed or gone since; the next pass sees what it is now.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
            result => drop(result?),
        }
    }
    Ok(())
}

/// What must change of a pod so that it shows how its program does.
fn status_patch(pod: &Pod, health: Health, now: Timestamp) -> Option<Value> {
    let status = pod.status.as_ref()?;
    let of_host = pod.annotations().get(ANNOTATION_RUNS_ON).is_some_and(|value| value == "host");
    if !of_host || status.phase.as_deref() != Some("Running") || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let wanted = if health.ready { "True" } else { "False" };
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    if ready.is_some_and(|condition| condition.status == wanted)
        && containers.iter().all(|container| container.restart_count == health.restarts)
    {
        return None;
    }
    let message = if health.ready { "" } else { "its process on the host does not say that it is ready" };
    let condition = |type_| json!({"type": type_, "status": wanted, "reason": "HostProcess", "message": message, "lastTransitionTime": now.strftime("%FT%TZ").to_string()});
    let containers: Vec<_> = containers
        .iter()
        .map(|container| json!({"name": container.name, "ready": health.ready, "started": true, "restartCount": health.restarts}))
        .collect();
    Some(json!({
        "metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version},
        "status": {
            "conditions": [condition("Ready"), condition("ContainersReady")],
            "containerStatuses": containers,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(change: Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "p", "uid": "u", "resourceVersion": "7", "annotations": {"korder.dev/runs-on": "host"}},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "korder", "image": "", "imageID": "", "ready": false, "restartCount": 0}],
            },
        });
        json_patch_merge(&mut pod, change);
        serde_json::from_value(pod).unwrap()
    }

    fn json_patch_merge(target: &mut Value, change: Value) {
        match (target, change) {
            (Value::Object(target), Value::Object(change)) => {
                for (key, value) in change {
                    json_patch_merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
            (target, change) => *target = change,
        }
    }

    const READY: Health = Health { ready: true, restarts: 0 };

    #[test]
    fn a_program_that_is_ready_makes_its_pod_ready() {
        let patch = status_patch(&pod(json!({})), READY, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(patch["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
        assert_eq!(patch["status"]["conditions"][0]["status"], "True");
        assert_eq!(patch["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(patch["status"]["containerStatuses"][0]["ready"], true);
    }

    #[test]
    fn a_pod_that_shows_it_already_is_left_alone() {
        let shown = pod(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
        assert_eq!(status_patch(&shown, READY, Timestamp::UNIX_EPOCH), None);
        let restarted = Health { restarts: 1, ..READY };
        assert!(status_patch(&shown, restarted, Timestamp::UNIX_EPOCH).is_some());
    }

    #[test]
    fn pods_that_are_not_of_the_host_or_not_running_are_left_alone() {
        for change in [
            json!({"metadata": {"annotations": {"korder.dev/runs-on": "elsewhere"}}}),
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            json!({"status": {"phase": "Pending"}}),
            json!({"status": {"phase": "Succeeded"}}),
        ] {
            assert_eq!(status_patch(&pod(change.clone()), READY, Timestamp::UNIX_EPOCH), None, "{change}");
        }
    }
}
