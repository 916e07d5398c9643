//! How one unit is made, and how it is torn down.
//!
//! A unit is made by a Job, whose termination message is its output, or of objects, which are it. Whatever of this is half done
//! is read off the objects: the Job has the unit's name, and the objects are written into the unit's status before the
//! first of them is created. A unit that can't be made is torn down as one that is not wanted any more.

use jiff::{SignedDuration, Timestamp};
use korder_api::stock::StockObject;
use korder_api::{Stock, StockPhase, StockStatus, names};

use super::failure::Failure;
use super::job::{self, Job, Worker};
use super::output::{self, Outputs};
use super::status;
use crate::conditions::{RECONCILING, TORN_DOWN};
use crate::reasons;

/// How long after its making a Job has its first pod; most have it at once.
const POD_EXPECTED: SignedDuration = SignedDuration::from_secs(30);

/// How long a Job that nothing ends has run when that is told.
const LONG: SignedDuration = SignedDuration::from_mins(10);

/// What is known of a unit, and of what makes it.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The unit.
    pub stock: &'a Stock,
    /// The Job of its name, whosever it is.
    pub job: Option<&'a Job>,
    /// The pods that carry its name.
    pub workers: Vec<&'a Worker>,
    /// Whether its namespace is being deleted, so that what is left of it goes anyway.
    pub namespace_is_going: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make the Job.
    CreateJob,
    /// Remove the Job of this uid.
    DeleteJob(String),
    /// Put these outputs where they belong, then write that the unit is ready.
    Finish(Outputs),
    /// Make the unit's objects and look how far they are.
    MakeObjects,
    /// Remove the unit's objects, last made first.
    RemoveObjects,
    /// Write the status.
    WriteStatus(Box<StockStatus>),
    /// Let the unit go. Where it goes with something left: what.
    LetGo(Option<String>),
}

/// What to do now, and when to look again though nothing has changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The next step.
    pub step: Option<Step>,
    /// When to look again.
    pub wake: Option<Timestamp>,
}

impl From<Step> for Plan {
    fn from(step: Step) -> Self {
        Self { step: Some(step), wake: None }
    }
}

impl Plan {
    /// Writes the status, if it is another one.
    fn status(stock: &Stock, status: StockStatus) -> Self {
        if stock.status.as_ref() == Some(&status) {
            Self::default()
        } else {
            Step::WriteStatus(Box::new(status)).into()
        }
    }
}

/// The next step for a unit.
pub fn plan(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let stock = seen.stock;
    if stock.metadata.deletion_timestamp.is_some() {
        return retiring(seen, now);
    }
    match super::phase(stock) {
        StockPhase::Producing => producing(seen, now),
        StockPhase::Failed if !is_torn_down(stock) => tear_down(seen, now),
        StockPhase::Failed | StockPhase::Ready | StockPhase::Claimed | StockPhase::Resetting | StockPhase::Retiring => {
            Plan::default()
        }
    }
}

fn producing(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let operation = &seen.stock.spec.item.operation;
    if let Some(job) = &operation.job {
        return by_job(seen, job, now);
    }
    if operation.package.is_some() {
        let failure = Failure::new(reasons::NOT_SUPPORTED_YET, "`operation.package` is not supported yet");
        return fail(seen.stock, &failure, now);
    }
    if is_kept(seen.stock) { Step::MakeObjects.into() } else { Plan::default() }
}

/// Whether a unit stays until it is torn down. For one that does not, nothing is made: it would stay behind.
fn is_kept(stock: &Stock) -> bool {
    stock.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == names::FINALIZER_TEARDOWN)
}

fn fail(stock: &Stock, failure: &Failure, now: Timestamp) -> Plan {
    Plan::status(stock, failed(stock, failure, now))
}

/// The status of a unit that can't be made, with the objects that it is known to have.
pub fn failed(stock: &Stock, failure: &Failure, now: Timestamp) -> StockStatus {
    status::failed(stock, objects(stock).to_vec(), failure, now)
}

/// The status of a unit that a Job has made.
pub fn ready(stock: &Stock, outputs: &Outputs, secret_name: Option<String>, now: Timestamp) -> StockStatus {
    status::ready(stock, objects(stock).to_vec(), outputs, secret_name, now)
}

fn by_job(seen: &Observed<'_>, job: &korder_api::job::Job, now: Timestamp) -> Plan {
    let stock = seen.stock;
    if seen.job.is_some_and(|there| !there.is_of(stock)) {
        return fail(stock, &job_exists(stock), now);
    }
    let mut workers: Vec<_> = seen.workers.iter().copied().filter(|worker| worker.is_of(stock, seen.job)).collect();
    workers.sort_by_key(|worker| job::made(worker));
    if let Some(done) = workers.iter().find(|worker| worker.has_succeeded()) {
        let (message, containers) = done.result(job::output_container(job));
        return match output::of_result(message, containers, &stock.spec.item.outputs) {
            Ok(outputs) => Step::Finish(outputs).into(),
            Err(failure) => fail(stock, &failure, now),
        };
    }
    let Some(there) = seen.job else {
        return if is_kept(stock) { Step::CreateJob.into() } else { Plan::default() };
    };
    let trouble = workers.iter().rev().find_map(|worker| worker.trouble());
    if let Some(failed) = there.failed() {
        let said = failed.message.as_deref().or(failed.reason.as_deref()).unwrap_or_default();
        let trouble = trouble.map(|trouble| format!("; {trouble}")).unwrap_or_default();
        return fail(stock, &Failure::new(reasons::PRODUCTION_FAILED, format!("the job failed: {said}{trouble}")), now);
    }
    if let Some(completed) = there.completed() {
        return without_pod(stock, completed, now);
    }
    match trouble {
        Some(trouble) => told(stock, &trouble, now),
        None if workers.is_empty() => without_pod_yet(stock, there, now),
        None if job.active_deadline_seconds.is_none() => without_end(stock, there, now),
        None => Plan::default(),
    }
}

/// Nobody but the user knows how long a Job may take: that it takes long is told, once.
fn without_end(stock: &Stock, job: &Job, now: Timestamp) -> Plan {
    let Some(created) = job.metadata.creation_timestamp.as_ref().map(|time| time.0) else { return Plan::default() };
    let long = created + LONG;
    if now < long {
        return Plan { step: None, wake: Some(long) };
    }
    told(stock, &format!("its Job runs since {created}, and has no `activeDeadlineSeconds` that would end it"), now)
}

/// Tells what holds a unit up.
fn told(stock: &Stock, trouble: &str, now: Timestamp) -> Plan {
    if is_told(stock, trouble) {
        return Plan::default();
    }
    Plan::status(stock, status::producing(stock, vec![], trouble, now))
}

/// The Job has no pod: where it can't make one, for want of its account or of quota, it says so in events only.
fn without_pod_yet(stock: &Stock, job: &Job, now: Timestamp) -> Plan {
    let Some(created) = job.metadata.creation_timestamp.as_ref().map(|time| time.0) else { return Plan::default() };
    let expected = created + POD_EXPECTED;
    if now < expected {
        return Plan { step: None, wake: Some(expected) };
    }
    let name = super::name(stock);
    told(stock, &format!("its Job has no pod: `kubectl describe job {name}` tells why"), now)
}

/// What makes a unit fail whose Job can't be made, since another one has its name.
pub fn job_exists(stock: &Stock) -> Failure {
    let name = super::name(stock);
    let why = format!("a Job `{name}` is there already, and is not of this unit; delete it or wait for its end");
    Failure::new(reasons::OBJECT_EXISTS, why)
}

/// The Job has completed, and none of its pods is to be seen.
fn without_pod(stock: &Stock, completed: Timestamp, now: Timestamp) -> Plan {
    if stock.spec.item.outputs.is_empty() {
        return Step::Finish(Outputs::default()).into();
    }
    let until = job::pod_awaited_until(completed);
    if now < until {
        return Plan { step: None, wake: Some(until) };
    }
    let why = "the job completed, but its pod was removed by force, and its result with it";
    fail(stock, &Failure::new(reasons::OUTPUT_MISSING, why), now)
}

/// Whether the status tells of a trouble: a failing image goes back and forth between two reasons, which is said once.
fn is_told(stock: &Stock, trouble: &str) -> bool {
    let kind = |trouble: &str| trouble.split_once(": ").map_or_else(|| trouble.to_owned(), |(kind, _)| kind.to_owned());
    status::condition(stock, RECONCILING).is_some_and(|told| kind(&told.message) == kind(trouble))
}

fn retiring(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let stock = seen.stock;
    if !is_kept(stock) {
        return Plan::default();
    }
    let is_abandoned = stock.metadata.annotations.iter().flatten().any(|(key, _)| key == names::ANNOTATION_ABANDON);
    if is_abandoned || seen.namespace_is_going {
        return Step::LetGo(left(seen)).into();
    }
    if is_torn_down(stock) {
        return Step::LetGo(None).into();
    }
    if super::phase(stock) != StockPhase::Retiring {
        return Plan::status(stock, status::retiring(stock, now));
    }
    tear_down(seen, now)
}

fn tear_down(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let stock = seen.stock;
    if let Some(job) = seen.job.filter(|job| job.is_of(stock)) {
        let going = job.metadata.deletion_timestamp.is_some();
        let uid = job.metadata.uid.clone().unwrap_or_default();
        return if going { Plan::default() } else { Step::DeleteJob(uid).into() };
    }
    if seen.workers.iter().any(|worker| worker.is_of(stock, None)) {
        // The garbage collector removes them, and each tells when it is gone.
        return Plan::default();
    }
    if objects(stock).is_empty() { gone(stock, now) } else { Step::RemoveObjects.into() }
}

/// What comes after nothing is left of a unit.
pub fn gone(stock: &Stock, now: Timestamp) -> Plan {
    if stock.metadata.deletion_timestamp.is_some() {
        return Step::LetGo(None).into();
    }
    Plan::status(stock, status::torn_down(stock, None, now))
}

/// The status of a unit of which something can't be removed: why.
pub fn stuck(stock: &Stock, why: &str, now: Timestamp) -> StockStatus {
    status::torn_down(stock, Some(why), now)
}

fn is_torn_down(stock: &Stock) -> bool {
    status::condition(stock, TORN_DOWN).is_some_and(|condition| condition.status == "True")
}

/// The objects that a unit is known to consist of.
pub fn objects(stock: &Stock) -> &[StockObject] {
    stock.status.as_ref().map(|status| status.objects.as_slice()).unwrap_or_default()
}

/// What may be left of a unit that is let go before it is torn down.
fn left(seen: &Observed<'_>) -> Option<String> {
    let job = seen.job.filter(|job| job.is_of(seen.stock)).map(|_| format!("Job `{}`", super::name(seen.stock)));
    let objects = objects(seen.stock).iter().map(|object| format!("{} `{}`", object.kind, object.name));
    let all: Vec<String> = job.into_iter().chain(objects).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests;
