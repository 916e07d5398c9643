//! The Job that makes a unit, and the parts of Jobs and of their pods that korder looks at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use korder_api::names::{self, FINALIZER_OUTPUT};
use korder_api::{Stock, StockPhase, job};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::variables::{self, Values};
use super::{labels, sku};
use crate::reasons;

/// How long a Job is kept after its end, in seconds; its result is in the stock by then, its log may still be read.
const KEPT_SECONDS: i32 = 3600;
/// How long a Job's name may be: its pods are labelled with it.
const MAX_NAME: usize = 63;

/// A Job as korder sees it.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Deserialize)]
#[resource(inherit = k8s_openapi::api::batch::v1::Job)]
pub struct Job {
    /// Name, uid, version, labels, owners.
    pub metadata: ObjectMeta,
    /// What became of it.
    #[serde(default)]
    pub status: JobStatus,
}

/// What became of a Job.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct JobStatus {
    /// `Complete`, `Failed` and others.
    pub conditions: Vec<JobCondition>,
}

/// A pod of such a Job, as korder sees it.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Deserialize)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub struct Worker {
    /// Name, uid, version, labels, owners, finalizers.
    pub metadata: ObjectMeta,
    /// What became of it.
    #[serde(default)]
    pub status: WorkerStatus,
}

/// What became of a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Why, in words, where the kubelet or who evicted it has said so.
    pub message: String,
    /// Its containers.
    pub container_statuses: Vec<Container>,
    /// Its containers that come first.
    pub init_container_statuses: Vec<Container>,
}

/// What became of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its state now.
    pub state: State,
}

/// The state of a container, as far as it does not run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct State {
    /// It waits.
    pub waiting: Option<Halt>,
    /// It has ended.
    pub terminated: Option<Halt>,
}

/// Why a container does not run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Halt {
    /// Its exit code; 0 while it waits.
    pub exit_code: i32,
    /// In one word.
    pub reason: String,
    /// What it wrote to its termination log, or why it waits.
    pub message: String,
}

impl Job {
    /// The Job's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is a Job of this stock.
    pub fn is_of(&self, stock: &Stock) -> bool {
        owner(&self.metadata)
            .is_some_and(|owner| owner.kind == "Stock" && Some(&owner.uid) == stock.metadata.uid.as_ref())
    }

    /// Why it has failed, if it has.
    pub fn failed(&self) -> Option<&JobCondition> {
        self.condition("Failed")
    }

    /// When it completed, if it has.
    pub fn completed(&self) -> Option<Timestamp> {
        self.condition("Complete")?.last_transition_time.as_ref().map(|time| time.0)
    }

    fn condition(&self, type_: &str) -> Option<&JobCondition> {
        self.status.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    }
}

impl Worker {
    /// The pod's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is one of the pods that a Job runs for this stock.
    pub fn is_of(&self, stock: &Stock) -> bool {
        let labelled = self.metadata.labels.as_ref().and_then(|labels| labels.get(names::LABEL_STOCK_UID));
        labelled == stock.metadata.uid.as_ref() && owner(&self.metadata).is_some_and(|owner| owner.kind == "Job")
    }

    /// Whether it is one of the pods of the stock's Job of this name, and of this very Job where that is there.
    pub fn is_of_job(&self, stock: &Stock, name: &str, job: Option<&Job>) -> bool {
        let is_its = |owner: &OwnerReference| {
            owner.name == name && job.is_none_or(|job| job.metadata.uid.as_ref() == Some(&owner.uid))
        };
        self.is_of(stock) && owner(&self.metadata).is_some_and(is_its)
    }

    /// Whether it stays until its output is in the stock.
    pub fn is_kept(&self) -> bool {
        self.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER_OUTPUT)
    }

    /// Whether it can't come to a result any more.
    pub fn is_in_vain(&self) -> bool {
        let going = self.metadata.deletion_timestamp.is_some();
        self.status.phase == "Failed" || going && self.status.phase == "Pending"
    }

    /// Whether all its containers have ended well.
    pub fn has_succeeded(&self) -> bool {
        self.status.phase == "Succeeded"
    }

    /// The message that it ended with, of the container that a template names; and how many containers it has.
    pub fn result(&self, container: &str) -> (&str, usize) {
        let status = &self.status;
        let message = status.container_statuses.iter().find(|one| one.name == container);
        let message = message.and_then(|one| one.state.terminated.as_ref()).map_or("", |ended| ended.message.as_str());
        (message, status.container_statuses.len() + status.init_container_statuses.len())
    }

    /// What has gone wrong with it, or holds it up, in words; without those that a container wrote where its result is
    /// a secret: one that fails late has written it.
    pub fn trouble(&self, is_secret: bool) -> Option<String> {
        let containers = || self.status.init_container_statuses.iter().chain(&self.status.container_statuses);
        let ended = containers().find_map(|one| {
            let ended = one.state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
            let said = ended.message.trim();
            let said = if said.is_empty() || is_secret { ended.reason.as_str() } else { said };
            Some(format!("container `{}` ended with code {}: {said}", one.name, ended.exit_code))
        });
        let waiting = || {
            containers().find_map(|one| {
                let waiting = one.state.waiting.as_ref()?;
                // What every container goes through.
                let usual = ["ContainerCreating", "PodInitializing", ""].contains(&waiting.reason.as_str());
                (!usual).then(|| format!("container `{}` does not start: {}", one.name, waiting.reason))
            })
        };
        let said = || Some(self.status.message.clone()).filter(|message| !message.is_empty());
        ended.or_else(waiting).or_else(said)
    }
}

fn owner(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The container whose message is the result: the one that the template names, or its first.
pub fn output_container(job: &job::Job) -> &str {
    let template = &job.template.0;
    let named = template.get("metadata").map(|metadata| &metadata["annotations"][names::ANNOTATION_OUTPUT_CONTAINER]);
    let first = || template.get("spec").map(|spec| &spec["containers"][0]["name"]).and_then(Value::as_str);
    named.and_then(Value::as_str).or_else(first).unwrap_or_default()
}

/// The name of the Job that makes a unit like new for the time of this number.
pub(super) fn reset_name(stock: &Stock, number: i32) -> String {
    numbered(stock, &format!("-r{number}"))
}

/// The name of the Job that checks a unit after the verdict of this second.
pub(super) fn probe_name(stock: &Stock, after: i64) -> String {
    numbered(stock, &format!("-p{after}"))
}

/// The name of a Job that is not the first of its unit; by the unit's uid where its name leaves no room.
fn numbered(stock: &Stock, number: &str) -> String {
    let uid = stock.metadata.uid.as_deref().unwrap_or_default();
    let stem = if super::name(stock).len() + number.len() <= MAX_NAME { super::name(stock) } else { uid };
    format!("{stem}{number}")
}

/// The name of the Job whose pod has an output that a unit waits for.
fn awaited(stock: &Stock) -> Option<String> {
    match super::phase(stock) {
        StockPhase::Producing => Some(super::name(stock).to_owned()),
        StockPhase::Resetting => Some(reset_name(stock, super::reset::number(stock))),
        StockPhase::Ready | StockPhase::Claimed | StockPhase::Retiring | StockPhase::Failed => None,
    }
}

/// The Job that is to be made for a stock.
#[derive(kube::Resource, Clone, Debug, PartialEq, Serialize)]
#[resource(inherit = k8s_openapi::api::batch::v1::Job)]
#[serde(rename_all = "camelCase")]
pub struct NewJob {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: Map<String, Value>,
}

impl NewJob {
    /// The Job's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

/// A Job that runs for a unit under this name; whether its pod stays until its result is read.
///
/// # Errors
/// A template whose variables can't be replaced, or that is not of a form that can be run.
pub fn of(stock: &Stock, name: String, job: &job::Job, is_read: bool) -> Result<NewJob, Failure> {
    let item = &stock.spec.item;
    let values = Values { stock_name: super::name(stock), inputs: &item.inputs };
    // There is no random value but in Secrets.
    let template = variables::in_object(&job.template.0, values, &mut |_| String::new());
    let mut template = template.map_err(|error| Failure::new(reasons::INVALID_ITEM, error.to_string()))?;
    let invalid = |what: &str| Failure::new(reasons::INVALID_ITEM, format!("the job's template has no {what}"));

    let labels = labels(stock);
    let metadata =
        template.entry("metadata").or_insert_with(|| json!({})).as_object_mut().ok_or_else(|| invalid("metadata"))?;
    let own_labels =
        metadata.entry("labels").or_insert_with(|| json!({})).as_object_mut().ok_or_else(|| invalid("labels"))?;
    own_labels.extend(labels.iter().map(|(key, value)| (key.clone(), json!(value))));
    if is_read {
        metadata.insert("finalizers".to_owned(), json!([FINALIZER_OUTPUT]));
    }

    let spec = template.get_mut("spec").and_then(Value::as_object_mut).ok_or_else(|| invalid("`spec`"))?;
    spec.entry("restartPolicy").or_insert_with(|| json!("Never"));
    let account = sku::account(item);
    for field in ["serviceAccountName", "serviceAccount"] {
        // The right to use the item's account is what was judged.
        if let Some(other) = spec.remove(field).filter(|named| named != account) {
            let why =
                format!("the job's template names the account {other}; name it in the item's `serviceAccountName`");
            return Err(Failure::new(reasons::INVALID_ITEM, why));
        }
    }
    spec.insert("serviceAccountName".to_owned(), json!(account));
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            with_inputs(container, &item.inputs);
        }
    }

    let mut spec = Map::new();
    spec.insert("completions".to_owned(), json!(1));
    spec.insert("parallelism".to_owned(), json!(1));
    spec.insert("ttlSecondsAfterFinished".to_owned(), json!(KEPT_SECONDS));
    spec.extend(job.backoff_limit.map(|limit| ("backoffLimit".to_owned(), json!(limit))));
    spec.extend(job.active_deadline_seconds.map(|limit| ("activeDeadlineSeconds".to_owned(), json!(limit))));
    spec.insert("template".to_owned(), Value::Object(template));
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: stock.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: super::owner_reference(stock).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Ok(NewJob { api_version: "batch/v1", kind: "Job", metadata, spec })
}

/// Appends the inputs to a container's environment; a variable that it sets itself wins.
fn with_inputs(container: &mut Map<String, Value>, inputs: &BTreeMap<String, String>) {
    if inputs.is_empty() {
        return;
    }
    let Some(environment) = container.entry("env").or_insert_with(|| json!([])).as_array_mut() else { return };
    let own: Vec<String> =
        environment.iter().filter_map(|variable| Some(variable["name"].as_str()?.to_owned())).collect();
    let added = inputs.iter().filter(|(name, _)| !own.contains(name));
    environment.extend(added.map(|(name, value)| json!({"name": name, "value": escaped(value)})));
}

/// The kubelet replaces `$(NAME)` in the values of variables, too; an input is meant as it is.
fn escaped(value: &str) -> String {
    value.replace("$(", "$$(")
}

/// Whether a pod's hold on its output serves no purpose any more, given the stock of its name that is there and that stock's Jobs.
pub fn may_go<'j>(worker: &Worker, stock: Option<&Stock>, jobs: impl IntoIterator<Item = &'j Job>) -> bool {
    let awaited = stock.and_then(|stock| Some((stock, awaited(stock)?)));
    let needed = awaited.is_some_and(|(stock, name)| {
        let job = jobs.into_iter().find(|job| job.name() == name);
        worker.is_of_job(stock, &name, job) && !worker.is_in_vain()
    });
    worker.is_kept() && !needed
}

/// How long after a Job's completion its pod is looked for: the view of pods may be older than that of Jobs.
pub(super) fn pod_awaited_until(completed: Timestamp) -> Timestamp {
    completed + jiff::SignedDuration::from_secs(30)
}

/// When a pod was made, for telling which was the last.
pub(super) fn made(worker: &Worker) -> (Option<Timestamp>, &str) {
    (worker.metadata.creation_timestamp.as_ref().map(|&Time(time)| time), worker.name())
}

#[cfg(test)]
mod tests;
