//! Conditions of korder's own objects, set so that what has not changed stays as it is.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object does what its spec says.
pub const READY: &str = "Ready";
/// Work is under way (kstatus: in progress).
pub const RECONCILING: &str = "Reconciling";
/// Nothing will come of it until somebody acts (kstatus: failed).
pub const STALLED: &str = "Stalled";

/// The object has ended without what it was for.
pub const FAILED: &str = "Failed";
/// Nothing is left of a unit that could not be made but its record.
pub const TORN_DOWN: &str = "TornDown";
/// The last check of a unit on the shelf found it good.
pub const HEALTHY: &str = "Healthy";
/// A unit on the shelf is not any more what was made.
pub const DRIFTED: &str = "Drifted";
/// So many units of an inventory fail their checks that it is rather the probe that is broken.
pub const PROBE_SUSPECT: &str = "ProbeSuspect";

/// Something keeps an inventory's level from doing what it is for.
pub const LIMITED: &str = "Limited";
/// Units of an inventory's former item are on its shelf.
pub const ROLLING_OVER: &str = "RollingOver";

/// The condition of a type, if it holds.
pub fn holding<'c>(conditions: &'c [Condition], type_: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say<'a> {
    /// Its type.
    pub type_: &'a str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in one CamelCase word.
    pub reason: &'a str,
    /// Why, in words.
    pub message: String,
}

/// Sets a condition. The time of transition moves only with the status; a condition that says the same stays untouched.
pub fn set(conditions: &mut Vec<Condition>, say: Say<'_>, generation: Option<i64>, now: Timestamp) {
    let Say { type_, holds, reason, message } = say;
    let status = if holds { "True" } else { "False" };
    let since = conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    let last_transition_time = since.map_or_else(|| Time(now), |condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(there) => *there = condition,
        None => conditions.push(condition),
    }
}

/// The summary that tools read: `Ready`, and beside it `Reconciling` or `Stalled` while one of them holds.
pub fn summarize(
    conditions: &mut Vec<Condition>,
    ready: Say<'_>,
    progress: Progress,
    generation: Option<i64>,
    now: Timestamp,
) {
    for (type_, current) in [(RECONCILING, Progress::Reconciling), (STALLED, Progress::Stalled)] {
        if progress == current {
            let say = Say { type_, holds: true, reason: ready.reason, message: ready.message.clone() };
            set(conditions, say, generation, now);
        } else {
            conditions.retain(|condition| condition.type_ != type_);
        }
    }
    set(conditions, ready, generation, now);
}

/// Whether an object moves, as kstatus tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to do.
    Settled,
    /// Work is under way.
    Reconciling,
    /// Nothing will come of it until somebody acts.
    Stalled,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(holds: bool, reason: &str) -> Say<'_> {
        Say { type_: READY, holds, reason, message: String::new() }
    }

    #[test]
    fn the_time_of_transition_moves_with_the_status_only() {
        let early = Timestamp::from_second(1000).unwrap();
        let late = Timestamp::from_second(2000).unwrap();
        let mut conditions = vec![];
        set(&mut conditions, say(false, "Filling"), Some(1), early);
        set(&mut conditions, say(false, "Waiting"), Some(1), late);
        assert_eq!((conditions[0].reason.as_str(), conditions[0].last_transition_time.0), ("Waiting", early));
        set(&mut conditions, say(true, "Ready"), Some(1), late);
        assert_eq!(conditions[0].last_transition_time.0, late);
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn reconciling_and_stalled_come_and_go() {
        let now = Timestamp::from_second(1000).unwrap();
        let mut conditions = vec![];
        let types = |conditions: &[Condition]| conditions.iter().map(|one| one.type_.clone()).collect::<Vec<_>>();
        summarize(&mut conditions, say(false, "Filling"), Progress::Reconciling, None, now);
        assert_eq!(types(&conditions), ["Reconciling", "Ready"]);
        summarize(&mut conditions, say(false, "Refused"), Progress::Stalled, None, now);
        assert_eq!(types(&conditions), ["Ready", "Stalled"]);
        summarize(&mut conditions, say(true, "Ready"), Progress::Settled, None, now);
        assert_eq!(types(&conditions), ["Ready"]);
    }
}
