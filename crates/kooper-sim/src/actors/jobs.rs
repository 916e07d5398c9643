//! The controller of Jobs, and all that its pods need to run: a Job is done, or has failed, when its time has come.
//!
//! A Job's pod is shown when it has ended, since nothing that this serves looks at it before. Scheduler and kubelets take it
//! for one that they have nothing to do with.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::pool::Pool;
use crate::clock::rfc3339;
use crate::hash::Hash;
use crate::history::Write;
use crate::options::Span;
use crate::sim::Sim;

/// The actor's name.
const ACTOR: &str = "job-controller";
/// How long it waits until it sends a request again that failed.
const RETRY: Duration = Duration::from_secs(1);

/// What may be chosen about [`Sim::jobs`](crate::Sim::jobs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// How long a Job takes.
    pub takes: Span,
    /// How many of a thousand fail.
    pub failing_per_mille: u16,
    /// The termination message of each container of one that succeeds, in which `$(uid)` is the Job's.
    pub message: String,
}

/// Runs the Jobs of a cluster.
pub(crate) async fn run(sim: Sim, options: JobOptions) -> Infallible {
    let client = sim.client(ACTOR);
    let mut running: BTreeMap<String, Value> = BTreeMap::new();
    let mut requests: Pool<String> = Pool::new();
    let mut seen = 0;
    loop {
        for write in sim.history_since(seen) {
            seen = write.revision;
            if let Some(uid) = take(&mut running, &write) {
                let time = options.takes.pick(Hash::new(sim.seed()).text(ACTOR).text(&uid));
                requests.push(end(sim.clone(), client.clone(), options.clone(), running[&uid].clone(), time));
            }
        }
        tokio::select! {
            biased;
            uid = requests.next() => {
                // What was not ended, since a request failed, is tried again.
                if let Some(job) = running.get(&uid) {
                    requests.push(end(sim.clone(), client.clone(), options.clone(), job.clone(), RETRY));
                }
            }
            () = sim.written_since(seen) => {}
        }
    }
}

/// Takes in a write; the uid of a Job that it makes.
fn take(running: &mut BTreeMap<String, Value>, write: &Write) -> Option<String> {
    if !write.is_of("jobs.batch") {
        return None;
    }
    let uid = write.uid().to_owned();
    let after = write.after.as_ref().map(|job| job.value().clone());
    let is_over =
        |job: &Value| job["status"]["conditions"].is_array() || job["metadata"]["deletionTimestamp"].is_string();
    if let Some(job) = after.filter(|job| !is_over(job)) {
        return running.insert(uid.clone(), job).is_none().then_some(uid);
    }
    running.remove(&uid);
    None
}

/// Ends a Job after a while: its uid, whether that has succeeded or not.
async fn end(sim: Sim, client: Client, options: JobOptions, job: Value, after: Duration) -> String {
    sleep(after).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, namespace) = (text(&job["metadata"]["name"]), text(&job["metadata"]["namespace"]));
    let uid = text(&job["metadata"]["uid"]);
    let hash = Hash::new(sim.seed()).text(ACTOR).text(&uid).text("fails");
    let fails = hash.between(0, 999) < u64::from(options.failing_per_mille);
    let now = rfc3339(sim.clock().now());
    let made = pod(&job, &name, &namespace, &uid);
    let api = |kind: &str, group: &str, plural: &str| {
        let kind = kube::core::GroupVersionKind::gvk(group, "v1", kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource)
    };
    let pods = api("Pod", "", "pods");
    let Ok(body) = serde_json::from_value::<DynamicObject>(made.clone()) else { return uid };
    match pods.create(&PostParams::default(), &body).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(_) => return uid,
    }
    let terminated =
        |exit: i32, message: &str| json!({"terminated": {"exitCode": exit, "message": message, "finishedAt": now}});
    let state = if fails { terminated(1, "it broke") } else { terminated(0, &options.message.replace("$(uid)", &uid)) };
    let names = job["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten();
    let containers: Vec<Value> = names.map(|one| json!({"name": one["name"], "state": state})).collect();
    let phase = if fails { "Failed" } else { "Succeeded" };
    let ended = json!({"status": {"phase": phase, "containerStatuses": containers}});
    let pod_name = text(&made["metadata"]["name"]);
    if pods.patch_status(&pod_name, &PatchParams::default(), &Patch::Merge(ended)).await.is_err() {
        return uid;
    }
    let condition = if fails {
        json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
            "message": "Job has reached the specified backoff limit", "lastTransitionTime": now})
    } else {
        json!({"type": "Complete", "status": "True", "reason": "CompletionsReached", "lastTransitionTime": now})
    };
    let mut status = json!({"conditions": [condition], "startTime": now});
    if !fails {
        status["completionTime"] = json!(now);
    }
    // Whether this succeeds is seen in the history.
    api("Job", "batch", "jobs")
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({"status": status})))
        .await
        .ok();
    uid
}

fn pod(job: &Value, name: &str, namespace: &str, uid: &str) -> Value {
    let mut pod = job["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    let metadata = &mut pod["metadata"];
    metadata["name"] = json!(format!("{name}-{}", uid.get(..5).unwrap_or(uid)));
    metadata["namespace"] = json!(namespace);
    metadata["labels"]["batch.kubernetes.io/job-name"] = json!(name);
    metadata["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": true}]);
    pod
}
