//! The pods that korder made, and those that it holds back.

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use korder_api::names::{FINALIZER_OUTPUT, GATE, LABEL_ROLE, LABEL_STOCK, ROLE_GUARDIAN};
use kube::api::{DeleteParams, ListParams, Patch, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::install::patch_params;
use crate::told::Told as _;

/// How many pods are written side by side.
const IN_FLIGHT: usize = 8;
/// How many pods that could not be written are named.
const MAX_NAMED: usize = 3;

/// What a pass over the pods did.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// How many were written.
    pub(super) written: usize,
    /// Of those that could not be: which, and why.
    pub(super) failed: Vec<String>,
}

/// The guardians of the cluster.
pub(super) async fn guardians(client: &Client) -> anyhow::Result<Vec<Pod>> {
    list(client, ListParams::default().labels(&format!("{LABEL_ROLE}={ROLE_GUARDIAN}"))).await
}

/// The pods that wait behind korder's gate.
pub(super) async fn waiting(client: &Client) -> anyhow::Result<Vec<Pod>> {
    let mut pods = list(client, ListParams::default().fields("status.phase=Pending")).await?;
    pods.retain(|pod| ungate(pod).is_some());
    Ok(pods)
}

/// Removes the guardians; one pass.
pub(super) async fn remove_guardians(client: &Client, dry_run: bool) -> anyhow::Result<Passed> {
    let remove = |guardian: Pod| async move {
        let params = DeleteParams {
            dry_run,
            // A guardian does nothing: there is nothing to wait for.
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: guardian.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        let deleted = forgive_gone(api_of(client, &guardian).delete(&guardian.name_any(), &params).await);
        deleted.told(|| format!("delete the guardian `{}`", shown(&guardian)))
    };
    let guardians = guardians(client).await?.into_iter().filter(|guardian| !is_kept(guardian));
    Ok(each(guardians.collect(), remove).await)
}

/// Whether somebody's finalizer keeps a pod that was deleted: it holds its place until that goes.
///
/// Without one it is deleted again: a deletion whose client died has sometimes got no further than its mark.
fn is_kept(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && !pod.finalizers().is_empty()
}

/// Takes korder's gate off all pods that wait behind it; one pass.
pub(super) async fn release(client: &Client, dry_run: bool) -> anyhow::Result<Passed> {
    let release = |pod: Pod| async move {
        let Some(operations) = ungate(&pod).filter(|_| !dry_run) else { return Ok(()) };
        let patch: Patch<()> = Patch::Json(serde_json::from_value(operations)?);
        let patched = forgive_gone(api_of(client, &pod).patch(&pod.name_any(), &patch_params(), &patch).await);
        patched.told(|| format!("take korder's gate off the pod `{}`", shown(&pod)))
    };
    Ok(each(waiting(client).await?, release).await)
}

/// Takes korder's finalizer off all pods that produce stock, which could not go without korder; one pass.
pub(super) async fn untie(client: &Client, dry_run: bool) -> anyhow::Result<Passed> {
    let untie = |pod: Pod| async move {
        let Some(operations) = untied(&pod).filter(|_| !dry_run) else { return Ok(()) };
        let patch: Patch<()> = Patch::Json(serde_json::from_value(operations)?);
        let patched = forgive_gone(api_of(client, &pod).patch(&pod.name_any(), &patch_params(), &patch).await);
        patched.told(|| format!("take korder's finalizer off the pod `{}`", shown(&pod)))
    };
    let mut pods = list(client, ListParams::default().labels(LABEL_STOCK)).await?;
    pods.retain(|pod| untied(pod).is_some());
    Ok(each(pods, untie).await)
}

/// Writes each pod: what can't be done to one holds up no other.
async fn each<F: Future<Output = anyhow::Result<()>>>(pods: Vec<Pod>, write: impl Fn(Pod) -> F) -> Passed {
    let results: Vec<_> = stream::iter(pods).map(write).buffer_unordered(IN_FLIGHT).collect().await;
    let mut passed = Passed::default();
    for result in results {
        match result {
            Ok(()) => passed.written += 1,
            Err(error) => passed.failed.push(format!("{error:#}")),
        }
    }
    passed
}

impl Passed {
    /// Whether there was nothing to do.
    pub(super) fn is_nothing(&self) -> bool {
        self.written == 0 && self.failed.is_empty()
    }

    /// Adds what a later pass did: what failed before has been tried again.
    pub(super) fn then(self, later: Self) -> Self {
        Self { written: self.written + later.written, failed: later.failed }
    }

    /// What could not be done, in few words.
    pub(super) fn trouble(&self) -> Option<String> {
        let first = self.failed.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join("; ");
        match self.failed.len() {
            0 => None,
            count if count > MAX_NAMED => Some(format!("{first}; and {} more", count - MAX_NAMED)),
            _ => Some(first),
        }
    }
}

/// The JSON patch that takes our gate off this very pod; none where it has none.
fn ungate(pod: &Pod) -> Option<Value> {
    let gates = pod.spec.as_ref()?.scheduling_gates.as_ref()?;
    let index = gates.iter().position(|gate| gate.name == GATE)?;
    let path = format!("/spec/schedulingGates/{index}");
    Some(json!([
        { "op": "test", "path": "/metadata/uid", "value": pod.uid() },
        { "op": "test", "path": format!("{path}/name"), "value": GATE },
        { "op": "remove", "path": path },
    ]))
}

/// The JSON patch that takes our finalizer off this very pod; none where it has none.
fn untied(pod: &Pod) -> Option<Value> {
    let index = pod.finalizers().iter().position(|finalizer| finalizer == FINALIZER_OUTPUT)?;
    let path = format!("/metadata/finalizers/{index}");
    Some(json!([
        { "op": "test", "path": "/metadata/uid", "value": pod.uid() },
        { "op": "test", "path": path, "value": FINALIZER_OUTPUT },
        { "op": "remove", "path": path },
    ]))
}

fn shown(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

async fn list(client: &Client, params: ListParams) -> anyhow::Result<Vec<Pod>> {
    Ok(Api::<Pod>::all(client.clone()).list(&params).await.told(|| "list pods".into())?.items)
}

fn api_of(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}

/// Takes an object that is gone, or another one of its name, for success.
fn forgive_gone<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) if kooper::patch::is_stale(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn pod(gates: &[&str]) -> Pod {
        let gates: Vec<_> = gates.iter().map(|gate| json!({ "name": gate })).collect();
        serde_json::from_value(json!({
            "metadata": { "name": "p", "uid": "u" }, "spec": { "containers": [], "schedulingGates": gates },
        }))
        .unwrap()
    }

    #[test]
    fn only_our_gate_is_taken_off() {
        let operations = ungate(&pod(&["example.com/other", GATE])).unwrap();
        assert_eq!(operations[0]["value"], "u");
        assert_eq!(operations[2], json!({ "op": "remove", "path": "/spec/schedulingGates/1" }));
        assert_eq!(ungate(&pod(&["example.com/other"])), None);
    }

    #[test]
    fn only_our_finalizer_is_taken_off() {
        let mut pod = pod(&[]);
        assert_eq!(untied(&pod), None);
        pod.metadata.finalizers = Some(vec!["example.com/mine".into(), FINALIZER_OUTPUT.into()]);
        assert_eq!(untied(&pod).unwrap()[2], json!({ "op": "remove", "path": "/metadata/finalizers/1" }));
    }

    #[test]
    fn a_deletion_that_was_cut_short_is_made_again() {
        let mut pod = pod(&[]);
        assert!(!is_kept(&pod));
        pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(!is_kept(&pod));
        pod.metadata.finalizers = Some(vec!["example.com/mine".into()]);
        assert!(is_kept(&pod));
    }

    #[tokio::test]
    async fn one_pod_that_cannot_be_written_holds_up_no_other() {
        let pods = ["a", "b", "c"].map(|name| {
            let mut pod = pod(&[GATE]);
            pod.metadata.name = Some(name.to_owned());
            pod
        });
        let passed = each(pods.into(), |pod| async move {
            if pod.name_any() == "b" { Err(anyhow::anyhow!("no")).context("b") } else { Ok(()) }
        })
        .await;
        assert_eq!((passed.written, passed.trouble().as_deref()), (2, Some("b: no")));
        assert_eq!(passed.then(Passed { written: 1, failed: vec![] }).trouble(), None, "it was tried again");
    }
}
