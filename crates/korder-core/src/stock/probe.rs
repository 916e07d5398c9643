//! How it is checked again and again that a unit on the shelf is still good.
//!
//! Each unit has moments of its own in the period, so that not all are checked at once. A check by a Job is named after the
//! time of the verdict before it, so that each Job counts once and for one time. An expression is over the unit's own object,
//! and costs nothing to evaluate; that it still holds is written only where something hangs on it.

use jiff::{SignedDuration, Timestamp};
use korder_api::inventory::Probe;
use korder_api::{Stock, StockStatus};

use super::expression::{self, Holds};
use super::failure::Failure;
use super::job;
use super::production::{self, Observed, Plan};
use super::run::{self, Run};
use super::status;
use crate::conditions::HEALTHY;
use crate::reasons;

/// After how many seconds a check has failed, where the probe does not say.
const TIMEOUT_SECONDS: i32 = 30;

/// The first of a unit's moments after a time; there is one in each period.
pub(super) fn moment(stock: &Stock, period: SignedDuration, after: Timestamp) -> Timestamp {
    let uid = stock.metadata.uid.as_deref().unwrap_or_default();
    // Uids are random already.
    let spread = uid.bytes().fold(0_i64, |spread, byte| (spread * 31 + i64::from(byte)) % i64::from(u32::MAX));
    let period = period.as_secs().max(1);
    let offset = spread % period;
    let before = (after.as_second() - offset).div_euclid(period);
    Timestamp::from_second((before + 1) * period + offset).unwrap_or(Timestamp::MAX)
}

/// Between two checks of a unit.
pub fn period(probe: &Probe) -> SignedDuration {
    SignedDuration::from_secs(i64::from(probe.period_seconds))
}

/// When a unit was last checked; that it came on the shelf counts as a check.
pub fn last(stock: &Stock) -> Option<Timestamp> {
    let failed = stock.status.as_ref().and_then(|status| status.probe_failure_time.as_ref());
    seen_good(stock).max(failed.map(|time| time.0))
}

/// When a unit was last seen to be good.
pub fn seen_good(stock: &Stock) -> Option<Timestamp> {
    let good = stock.status.as_ref().and_then(|status| status.probe_time.as_ref());
    super::on_the_shelf_since(stock).max(good.map(|time| time.0))
}

/// How many checks in a row a unit has failed.
pub fn failures(stock: &Stock) -> i32 {
    stock.status.as_ref().and_then(|status| status.probe_failures).unwrap_or(0)
}

/// Whether there is a verdict on a unit.
pub fn is_checked(stock: &Stock) -> bool {
    status::condition(stock, HEALTHY).is_some()
}

/// Whether a check was asked for, of a unit that is to be given out.
pub fn is_requested(stock: &Stock) -> bool {
    stock.status.as_ref().is_some_and(|status| status.probe_requested_time.is_some())
}

/// The status of a unit whose check could not be made: this tells nothing of the unit.
pub(super) fn not_made(stock: &Stock, failure: &Failure, now: Timestamp) -> StockStatus {
    let message = format!("the check could not be made: {}", failure.message);
    status::unhealthy(stock, failures(stock), reasons::PROBE_REFUSED, &message, now)
}

/// What comes next for a unit on the shelf.
pub(super) fn plan(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let stock = seen.stock;
    let probe = seen.inventory.and_then(|inventory| inventory.spec.probe.as_ref());
    let (Some(probe), Some(last)) = (probe, last(stock)) else {
        return seen.old_job(None).unwrap_or_else(|| Plan::status(stock, status::unchecked(stock)));
    };
    let name = job::probe_name(stock, last.as_second());
    if let Some(old) = seen.old_job(probe.job.is_some().then_some(&name)) {
        return old;
    }
    // One that was checked out of turn is not checked again at once.
    let due = moment(stock, period(probe), last + period(probe) / 2);
    if due > now && !is_requested(stock) {
        return Plan { step: None, wake: Some(due) };
    }
    match (&probe.job, &probe.expression) {
        (Some(template), _) => by_job(seen, probe, template, &name, now),
        (None, Some(expression)) => by_expression(stock, probe, expression, now),
        (None, None) => Plan::default(),
    }
}

fn by_job(seen: &Observed<'_>, probe: &Probe, template: &korder_api::job::Job, name: &str, now: Timestamp) -> Plan {
    let stock = seen.stock;
    match run::of(seen, name, now) {
        Run::Missing => {
            production::create_job(seen, job::of(stock, name.to_owned(), &limited(probe, template), false), now)
        }
        Run::Foreign => Plan::status(stock, not_made(stock, &production::job_exists(name), now)),
        // It has a deadline of its own.
        Run::Running { .. } => Plan::default(),
        Run::Succeeded(_) | Run::Completed(_) => Plan::status(stock, status::healthy(stock, now)),
        Run::Failed(why) => bad(stock, &why, now),
    }
}

/// The Job of a check: one attempt where the probe does not say, and an end.
fn limited(probe: &Probe, template: &korder_api::job::Job) -> korder_api::job::Job {
    let timeout = i64::from(probe.timeout_seconds.unwrap_or(TIMEOUT_SECONDS));
    korder_api::job::Job {
        backoff_limit: template.backoff_limit.or(Some(0)),
        active_deadline_seconds: Some(template.active_deadline_seconds.map_or(timeout, |own| own.min(timeout))),
        ..template.clone()
    }
}

fn by_expression(stock: &Stock, probe: &Probe, expression: &str, now: Timestamp) -> Plan {
    let next = moment(stock, period(probe), now);
    let holds = match serde_json::to_value(stock) {
        Ok(object) => expression::holds(expression, "stock", &object).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match holds {
        Ok(Holds::Yes) if hangs_on_it(stock, probe, next) => Plan::status(stock, status::healthy(stock, now)),
        Ok(Holds::Yes) => Plan { step: None, wake: Some(next) },
        Ok(Holds::No) => bad(stock, &format!("`{expression}` does not hold"), now),
        Ok(Holds::Unknown(why)) => bad(stock, &format!("`{expression}` does not hold: {why}"), now),
        Err(why) => Plan::status(stock, not_made(stock, &Failure::new(reasons::PROBE_REFUSED, why), now)),
    }
}

/// Whether it has to be written that a unit is good: it was said to be bad, or nothing was said yet, or it was asked for, or
/// it would be asked for before the next check, though checks are often enough to keep it fresh. With 10,000 units on the
/// shelf it would be written for nobody otherwise.
fn hangs_on_it(stock: &Stock, probe: &Probe, next: Timestamp) -> bool {
    let is_said = status::condition(stock, HEALTHY).is_some_and(|healthy| healthy.status == "True");
    let fresh = probe.fresh_for.as_ref().and_then(|fresh| SignedDuration::try_from(fresh.get()).ok());
    let stale =
        fresh.filter(|fresh| *fresh >= period(probe)).and_then(|fresh| seen_good(stock)?.checked_add(fresh).ok());
    !is_said || is_requested(stock) || stale.is_some_and(|stale| stale <= next)
}

fn bad(stock: &Stock, why: &str, now: Timestamp) -> Plan {
    let failures = failures(stock).saturating_add(1);
    Plan::status(stock, status::unhealthy(stock, failures, reasons::PROBE_FAILED, why, now))
}

#[cfg(test)]
mod tests;
