//! How one unit is made, and how it is torn down.
//!
//! A unit is made by a Job, whose termination message is its output, or of objects, which are it. Whatever of this is half done
//! is read off the objects: the Job has the unit's name, and the objects are written into the unit's status before the
//! first of them is created. A unit that can't be made is torn down as one that is not wanted any more.

use jiff::{SignedDuration, Timestamp};
use korder_api::stock::StockObject;
use korder_api::{Inventory, Stock, StockPhase, StockStatus, names};

use super::failure::Failure;
use super::job::{self, Job, NewJob, Worker};
use super::output::{self, Outputs};
use super::run::{self, Run};
use super::{drift, probe, reset, status};
use crate::conditions::{RECONCILING, TORN_DOWN};
use crate::reasons;

/// How long a Job that nothing ends has run when that is told.
const LONG: SignedDuration = SignedDuration::from_mins(10);

/// What is known of a unit, and of what makes it.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The unit.
    pub stock: &'a Stock,
    /// Its inventory, if that is there.
    pub inventory: Option<&'a Inventory>,
    /// The Jobs that carry its name, whosever they are.
    pub jobs: Vec<&'a Job>,
    /// The pods that carry its name.
    pub workers: Vec<&'a Worker>,
    /// Whether its namespace is being deleted, so that what is left of it goes anyway.
    pub namespace_is_going: bool,
    /// When its objects were last looked at while it lay on the shelf, or when that began to be of interest.
    pub looked: Timestamp,
}

impl<'a> Observed<'a> {
    pub(super) fn job(&self, name: &str) -> Option<&'a Job> {
        self.jobs.iter().copied().find(|job| job.name() == name)
    }

    /// Removes a Job that has done what it was for, if there is one: any but the one that made the unit, whose log may still
    /// be read, and the one of this name.
    pub(super) fn old_job(&self, current: Option<&str>) -> Option<Plan> {
        let is_old =
            |job: &&Job| job.is_of(self.stock) && job.name() != super::name(self.stock) && Some(job.name()) != current;
        let mut old = self.jobs.iter().copied().filter(is_old);
        old.find_map(removal).map(Plan::from)
    }
}

/// The removal of a Job that is not on its way out.
fn removal(job: &Job) -> Option<Step> {
    job.metadata.deletion_timestamp.is_none().then(|| Step::DeleteJob(job.metadata.uid.clone().unwrap_or_default()))
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make a Job.
    CreateJob(Box<NewJob>),
    /// Remove the Job of this uid.
    DeleteJob(String),
    /// Put these outputs where they belong, then write that the unit is ready.
    Finish(Outputs),
    /// Make the unit's objects and look how far they are.
    MakeObjects,
    /// Look how the unit's objects are, and put it on the shelf as they are.
    ReadObjects,
    /// Look whether the unit's objects are as they were.
    LookForDrift,
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
    pub(super) fn status(stock: &Stock, status: StockStatus) -> Self {
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
        StockPhase::Resetting => reset::plan(seen, now),
        StockPhase::Ready => on_the_shelf(seen, now),
        StockPhase::Claimed => seen.old_job(None).unwrap_or_default(),
        StockPhase::Failed | StockPhase::Retiring => Plan::default(),
    }
}

/// Looks at its objects, then whether it is good.
fn on_the_shelf(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let look = drift::due(seen, seen.looked);
    if look.is_some_and(|look| look <= now) {
        return Step::LookForDrift.into();
    }
    let plan = probe::plan(seen, now);
    Plan { wake: plan.wake.into_iter().chain(look).min(), ..plan }
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

/// The status of a unit for which something can't be made, with the objects that it is known to have: it has failed, or, on the
/// shelf, could not be checked.
pub fn failed(stock: &Stock, failure: &Failure, now: Timestamp) -> StockStatus {
    match super::phase(stock) {
        StockPhase::Resetting => reset::failed(stock, failure, now),
        StockPhase::Ready => probe::not_made(stock, failure, now),
        _ => status::failed(stock, objects(stock).to_vec(), failure, now),
    }
}

/// The status of a unit that a Job has made, or made like new.
pub fn ready(stock: &Stock, outputs: &Outputs, secret_name: Option<String>, now: Timestamp) -> StockStatus {
    status::ready(stock, objects(stock).to_vec(), outputs, secret_name, now)
}

fn by_job(seen: &Observed<'_>, template: &korder_api::job::Job, now: Timestamp) -> Plan {
    let stock = seen.stock;
    let name = super::name(stock);
    match run::of(seen, name, now) {
        Run::Missing => create_job(seen, job::of(stock, name.to_owned(), template, true), now),
        Run::Foreign => fail(stock, &job_exists(name), now),
        Run::Running { trouble: Some(trouble), .. } => told(stock, &trouble, now),
        Run::Running { trouble: None, wake: None } if template.active_deadline_seconds.is_none() => {
            seen.job(name).map_or_else(Plan::default, |job| without_end(stock, job, now))
        }
        Run::Running { trouble: None, wake } => Plan { step: None, wake },
        Run::Succeeded(done) => {
            let (message, containers) = done.result(job::output_container(template));
            match output::of_result(message, containers, &stock.spec.item.outputs) {
                Ok(outputs) => Step::Finish(outputs).into(),
                Err(failure) => fail(stock, &failure, now),
            }
        }
        Run::Completed(_) if stock.spec.item.outputs.is_empty() => Step::Finish(Outputs::default()).into(),
        Run::Completed(completed) => without_pod(completed, now).unwrap_or_else(|failure| fail(stock, &failure, now)),
        Run::Failed(why) => fail(stock, &Failure::new(reasons::PRODUCTION_FAILED, why), now),
    }
}

/// Makes a Job, if it is one that can be made.
pub(super) fn create_job(seen: &Observed<'_>, made: Result<NewJob, Failure>, now: Timestamp) -> Plan {
    if !is_kept(seen.stock) {
        return Plan::default();
    }
    match made {
        Ok(body) => Step::CreateJob(Box::new(body)).into(),
        Err(failure) => fail(seen.stock, &failure, now),
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
pub(super) fn told(stock: &Stock, trouble: &str, now: Timestamp) -> Plan {
    if is_told(stock, trouble) {
        return Plan::default();
    }
    Plan::status(stock, status::held_up(stock, trouble, now))
}

/// What makes a unit fail whose Job can't be made, since another one has its name.
pub fn job_exists(name: &str) -> Failure {
    let why = format!("a Job `{name}` is there already, and is not of this unit; delete it or wait for its end");
    Failure::new(reasons::OBJECT_EXISTS, why)
}

/// The Job has completed, and the pod whose result is wanted is not to be seen.
pub(super) fn without_pod(completed: Timestamp, now: Timestamp) -> Result<Plan, Failure> {
    let until = job::pod_awaited_until(completed);
    if now < until {
        return Ok(Plan { step: None, wake: Some(until) });
    }
    let why = "the job completed, but its pod was removed by force, and its result with it";
    Err(Failure::new(reasons::OUTPUT_MISSING, why))
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
    let jobs: Vec<&Job> = seen.jobs.iter().copied().filter(|job| job.is_of(stock)).collect();
    if let Some(step) = jobs.iter().find_map(|job| removal(job)) {
        return step.into();
    }
    if !jobs.is_empty() || seen.workers.iter().any(|worker| worker.is_of(stock)) {
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
    let jobs = seen.jobs.iter().filter(|job| job.is_of(seen.stock)).map(|job| format!("Job `{}`", job.name()));
    let objects = objects(seen.stock).iter().map(|object| format!("{} `{}`", object.kind, object.name));
    let all: Vec<String> = jobs.chain(objects).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests;
