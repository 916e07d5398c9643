//! How far a Job is that runs for a unit.

use jiff::{SignedDuration, Timestamp};
use korder_api::item::Output;

use super::job::{self, Worker};
use super::production::Observed;

/// How long after its making a Job has its first pod; most have it at once.
const POD_EXPECTED: SignedDuration = SignedDuration::from_secs(30);

/// How far a Job is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Run<'a> {
    /// It is to be made.
    Missing,
    /// Another one has its name.
    Foreign,
    /// It has not ended.
    Running {
        /// What holds it up.
        trouble: Option<String>,
        /// When to look whether something does.
        wake: Option<Timestamp>,
    },
    /// This pod of it has succeeded.
    Succeeded(&'a Worker),
    /// It completed at this time, and none of its pods is to be seen.
    Completed(Timestamp),
    /// It has failed: why.
    Failed(String),
}

/// How far the unit's Job of this name is.
pub(super) fn of<'a>(seen: &Observed<'a>, name: &str, now: Timestamp) -> Run<'a> {
    let stock = seen.stock;
    let there = seen.job(name);
    if there.is_some_and(|there| !there.is_of(stock)) {
        return Run::Foreign;
    }
    let its = |worker: &&Worker| worker.is_of_job(stock, name, there);
    let mut workers: Vec<_> = seen.workers.iter().copied().filter(its).collect();
    workers.sort_by_key(|worker| job::made(worker));
    if let Some(done) = workers.iter().find(|worker| worker.has_succeeded()) {
        return Run::Succeeded(done);
    }
    let Some(there) = there else { return Run::Missing };
    let is_secret = stock.spec.item.outputs.iter().any(Output::is_sensitive);
    let trouble = workers.iter().rev().find_map(|worker| worker.trouble(is_secret));
    if let Some(failed) = there.failed() {
        let said = failed.message.as_deref().or(failed.reason.as_deref()).unwrap_or_default();
        let trouble = trouble.map(|trouble| format!("; {trouble}")).unwrap_or_default();
        return Run::Failed(format!("the job failed: {said}{trouble}"));
    }
    if let Some(completed) = there.completed() {
        return Run::Completed(completed);
    }
    // Where a Job can't make a pod, for want of its account or of quota, it says so in events only.
    let expected = there.metadata.creation_timestamp.as_ref().filter(|_| workers.is_empty());
    match expected.map(|created| created.0 + POD_EXPECTED) {
        Some(expected) if now < expected => Run::Running { trouble: None, wake: Some(expected) },
        Some(_) => {
            let trouble = format!("its Job has no pod: `kubectl describe job {name}` tells why");
            Run::Running { trouble: Some(trouble), wake: None }
        }
        None => Run::Running { trouble, wake: None },
    }
}
