//! Conditions in an object's status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition is to say; the time of its last change is not the caller's to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCondition {
    /// Its type, in `CamelCase`, with a domain prefix where it is not the object's own.
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// Why, in one `CamelCase` word, for programs.
    pub reason: String,
    /// Why, for people. May be empty.
    pub message: String,
    /// The `metadata.generation` of the spec this was judged by.
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl ConditionStatus {
    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Sets the condition of that type, and tells whether anything changed: if not, there is nothing to
/// write.
///
/// `lastTransitionTime` becomes `now` only when the status changes, as the API conventions ask. A
/// condition keeps its place in the list; a new one is added at the end.
pub fn set_condition(conditions: &mut Vec<Condition>, new: NewCondition, now: Timestamp) -> bool {
    let old = conditions.iter_mut().find(|old| old.type_ == new.type_);
    let unchanged_since =
        old.as_ref().filter(|old| old.status == new.status.as_str()).map(|old| old.last_transition_time.clone());
    let condition = Condition {
        last_transition_time: unchanged_since.unwrap_or(Time(now)),
        message: new.message,
        observed_generation: new.observed_generation,
        reason: new.reason,
        status: new.status.as_str().to_owned(),
        type_: new.type_,
    };
    match old {
        Some(old) if *old == condition => false,
        Some(old) => {
            *old = condition;
            true
        }
        None => {
            conditions.push(condition);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(holds: bool, reason: &str) -> NewCondition {
        NewCondition {
            type_: "Ready".into(),
            status: holds.into(),
            reason: reason.into(),
            message: String::new(),
            observed_generation: Some(1),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_moves_only_with_the_status() {
        let mut conditions = vec![];
        assert!(set_condition(&mut conditions, ready(false, "Starting"), at(1)));
        assert!(!set_condition(&mut conditions, ready(false, "Starting"), at(2)));
        assert!(set_condition(&mut conditions, ready(false, "Pulling"), at(3)));
        assert_eq!(conditions[0].last_transition_time, Time(at(1)));
        assert!(set_condition(&mut conditions, ready(true, "Running"), at(4)));
        assert_eq!(conditions[0].last_transition_time, Time(at(4)));
        assert_eq!(conditions[0].status, "True");
    }

    #[test]
    fn others_are_left_alone_and_keep_their_place() {
        let mut conditions = vec![];
        set_condition(&mut conditions, ready(true, "Running"), at(1));
        let other = NewCondition { type_: "Stalled".into(), ..ready(false, "Fine") };
        set_condition(&mut conditions, other, at(1));
        set_condition(&mut conditions, ready(false, "Gone"), at(2));
        let types: Vec<_> = conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(types, ["Ready", "Stalled"]);
        assert_eq!(conditions[1].last_transition_time, Time(at(1)));
    }
}
