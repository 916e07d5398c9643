//! What a unit's status says in each state. What a state does not change is carried over: a claim above all.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use korder_api::stock::StockObject;
use korder_api::{Stock, StockPhase, StockStatus};

use super::failure::Failure;
use super::output::Outputs;
use crate::conditions::{self, DRIFTED, HEALTHY, Progress, RECONCILING, Say, TORN_DOWN};
use crate::reasons;

fn before(stock: &Stock) -> StockStatus {
    StockStatus { observed_generation: stock.metadata.generation, ..stock.status.clone().unwrap_or_default() }
}

/// The status of a unit that is being made of these objects, and of what it waits.
///
/// `Ready` is not told before there is an end to tell of: the time of its transition is that of the end.
pub(super) fn producing(stock: &Stock, objects: Vec<StockObject>, what: &str, now: Timestamp) -> StockStatus {
    let mut status = StockStatus { phase: Some(StockPhase::Producing), objects, ..before(stock) };
    let say = Say { type_: RECONCILING, holds: true, reason: reasons::PRODUCING, message: what.to_owned() };
    conditions::set(&mut status.conditions, say, stock.metadata.generation, now);
    status
}

/// The status of a unit in work that is held up, and by what.
pub(super) fn held_up(stock: &Stock, what: &str, now: Timestamp) -> StockStatus {
    let phase = super::phase(stock);
    let reason = if phase == StockPhase::Resetting { reasons::RESETTING } else { reasons::PRODUCING };
    let mut status = StockStatus { phase: Some(phase), ..before(stock) };
    let say = Say { type_: RECONCILING, holds: true, reason, message: what.to_owned() };
    conditions::set(&mut status.conditions, say, stock.metadata.generation, now);
    status
}

/// The status of a unit that was given back and is to be made like new, for the time of this number: nobody holds it.
pub(super) fn resetting(stock: &Stock, number: i32, now: Timestamp) -> StockStatus {
    let mut status =
        StockStatus { phase: Some(StockPhase::Resetting), claim_ref: None, resets: Some(number), ..unchecked(stock) };
    // Its objects are looked at anew when it is back.
    status.conditions.retain(|condition| condition.type_ != DRIFTED);
    let message = "it was given back, and is being made like new".to_owned();
    let say = Say { type_: conditions::READY, holds: false, reason: reasons::RESETTING, message };
    conditions::summarize(&mut status.conditions, say, Progress::Reconciling, stock.metadata.generation, now);
    status
}

/// The status of a unit that is made.
pub(super) fn ready(
    stock: &Stock,
    objects: Vec<StockObject>,
    outputs: &Outputs,
    secret_name: Option<String>,
    now: Timestamp,
) -> StockStatus {
    let mut status = StockStatus {
        phase: Some(StockPhase::Ready),
        outputs: outputs.plain.clone(),
        secret_name,
        objects,
        ..before(stock)
    };
    // One that was made like new is as old as it is: what ages in it `reset` may not know.
    status.ready_time.get_or_insert(Time(now));
    let message = "it is made".to_owned();
    let say = Say { type_: conditions::READY, holds: true, reason: reasons::MADE, message };
    conditions::summarize(&mut status.conditions, say, Progress::Settled, stock.metadata.generation, now);
    status
}

/// The status of a unit that can't be made.
pub(super) fn failed(stock: &Stock, objects: Vec<StockObject>, failure: &Failure, now: Timestamp) -> StockStatus {
    let mut status = StockStatus { phase: Some(StockPhase::Failed), objects, ..before(stock) };
    let say = Say { type_: conditions::READY, holds: false, reason: failure.reason, message: failure.message.clone() };
    conditions::summarize(&mut status.conditions, say, Progress::Stalled, stock.metadata.generation, now);
    status
}

/// The status of a unit on which there is no verdict.
pub(super) fn unchecked(stock: &Stock) -> StockStatus {
    let mut status = StockStatus {
        probe_time: None,
        probe_failures: None,
        probe_failure_time: None,
        probe_requested_time: None,
        ..stock.status.clone().unwrap_or_default()
    };
    status.conditions.retain(|condition| condition.type_ != HEALTHY);
    status
}

/// The status of a unit that was found to be good.
pub(super) fn healthy(stock: &Stock, now: Timestamp) -> StockStatus {
    let mut status = StockStatus {
        probe_time: Some(Time(now)),
        probe_failures: None,
        probe_failure_time: None,
        probe_requested_time: None,
        ..before(stock)
    };
    let message = "the last check found it good".to_owned();
    let say = Say { type_: HEALTHY, holds: true, reason: reasons::PROBED, message };
    conditions::set(&mut status.conditions, say, stock.metadata.generation, now);
    status
}

/// The status of a unit that has failed so many checks in a row, or could not be checked: why.
pub(super) fn unhealthy(stock: &Stock, failures: i32, reason: &'static str, why: &str, now: Timestamp) -> StockStatus {
    let mut status = StockStatus {
        probe_failures: Some(failures).filter(|failures| *failures > 0),
        probe_failure_time: Some(Time(now)),
        probe_requested_time: None,
        ..before(stock)
    };
    let message = Failure::new(reason, why).message;
    let say = Say { type_: HEALTHY, holds: false, reason, message };
    conditions::set(&mut status.conditions, say, stock.metadata.generation, now);
    status
}

/// The status of a unit that is not any more what was made: what of it.
pub(super) fn drifted(stock: &Stock, what: &str, now: Timestamp) -> StockStatus {
    let mut status = before(stock);
    let say = Say { type_: DRIFTED, holds: true, reason: reasons::DRIFTED, message: what.to_owned() };
    conditions::set(&mut status.conditions, say, stock.metadata.generation, now);
    status
}

/// The status of a unit that is being torn down.
pub(super) fn retiring(stock: &Stock, now: Timestamp) -> StockStatus {
    let mut status = StockStatus { phase: Some(StockPhase::Retiring), ..before(stock) };
    let message = "it is being torn down".to_owned();
    let say = Say { type_: conditions::READY, holds: false, reason: reasons::TEARING_DOWN, message };
    conditions::summarize(&mut status.conditions, say, Progress::Reconciling, stock.metadata.generation, now);
    status
}

/// The status of a unit that could not be made and of which nothing is left; or of which something can't be removed: why.
pub(super) fn torn_down(stock: &Stock, left: Option<&str>, now: Timestamp) -> StockStatus {
    let mut status = before(stock);
    let (reason, message) = match left {
        None => (reasons::TEAR_DOWN_DONE, "nothing is left of it".to_owned()),
        Some(why) => (reasons::TEAR_DOWN_STUCK, why.to_owned()),
    };
    let say = Say { type_: TORN_DOWN, holds: left.is_none(), reason, message };
    conditions::set(&mut status.conditions, say, stock.metadata.generation, now);
    status
}

/// What a unit says of itself.
pub(super) fn condition<'a>(stock: &'a Stock, type_: &str) -> Option<&'a Condition> {
    stock.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}
