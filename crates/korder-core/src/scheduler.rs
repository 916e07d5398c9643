//! Which scheduler places a pod, and whether it knows of the pod's nomination.
//!
//! A scheduler takes a nomination in only from an *update* of a pod that it knows. One that has just begun has listed the
//! pods, those behind a gate among them, and knows of no nomination that was made before. So a nominated pod carries, as
//! an annotation, under which term of the scheduler's Lease it was last updated; where the term is another one by now,
//! the pod is updated again, twice: at once, and, since a scheduler may take its Lease before it has listed the pods,
//! once more a moment later, before the pod's guardian goes.
//!
//! A nomination that is made under a term is itself such an update. kube-scheduler lists first and takes its Lease then,
//! unless its `delayCacheUntilActive` says otherwise (`cmd/kube-scheduler/app/server.go`): so in the first moments of a
//! term it counts as the first of the two.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use korder_api::names;
use serde::{Deserialize, Serialize};

use crate::pod::Pod;

/// How long a scheduler that has just begun is given to list the pods.
pub const SETTLE: SignedDuration = SignedDuration::from_secs(1);
/// For how long a term is so young that its scheduler may not have listed the pods: much longer than that takes, since it
/// is the scheduler's clock that tells when the term began.
const YOUNG: SignedDuration = SignedDuration::from_secs(15);
/// Stands between a term and the time of the first update under it.
const SINCE: &str = " since ";

/// The name that pods give for the cluster's own scheduler.
const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// The namespace of the schedulers' Leases.
pub const LEASE_NAMESPACE: &str = "kube-system";
/// The Lease of the cluster's own scheduler, and of one that has none under its own name.
pub const DEFAULT_LEASE: &str = "kube-scheduler";

/// A Lease, as far as it tells who leads.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[resource(inherit = k8s_openapi::api::coordination::v1::Lease)]
pub struct Lease {
    /// Name, version.
    pub metadata: ObjectMeta,
    /// Who leads.
    #[serde(default)]
    pub spec: LeaseSpec,
}

/// Who leads, and for which time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// The leader; empty where the last one has stepped down.
    pub holder_identity: Option<String>,
    /// How often the leader has changed.
    pub lease_transitions: Option<i32>,
    /// When the leader took it.
    pub acquire_time: Option<MicroTime>,
}

/// The scheduler that is to place a pod, as its Lease tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// It has no Lease: that it begins anew can't be seen.
    #[default]
    Unknown,
    /// Nobody leads: who comes next knows of no nomination made before.
    Away,
    /// Somebody leads.
    Leads {
        /// Tells one leadership from all others.
        term: String,
        /// When it began, where that is known.
        since: Option<Timestamp>,
    },
}

impl Scheduler {
    /// The scheduler of a Lease, if there is one.
    pub fn of(lease: Option<&Lease>) -> Self {
        let Some(Lease { spec: LeaseSpec { holder_identity, lease_transitions, acquire_time }, .. }) = lease else {
            return Self::Unknown;
        };
        match holder_identity.as_deref().filter(|holder| !holder.is_empty()) {
            Some(holder) => Self::Leads {
                term: format!("{holder}/{}", lease_transitions.unwrap_or(0)),
                since: acquire_time.as_ref().map(|time| time.0),
            },
            None => Self::Away,
        }
    }

    /// What the annotation of a pod says that is nominated now; none where there is nothing to compare it with later.
    pub fn told_by_nomination(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::Leads { term, since } => {
                let is_young = since.is_some_and(|since| now < since + YOUNG);
                Some(if is_young { first_update(term, now) } else { term.clone() })
            }
            Self::Unknown | Self::Away => None,
        }
    }
}

/// What the annotation of a pod says that was updated once under a term.
fn first_update(term: &str, now: Timestamp) -> String {
    format!("{term}{SINCE}{now}")
}

/// The name of the Lease of the scheduler that a pod names.
pub fn lease_of(scheduler_name: Option<&str>) -> &str {
    scheduler_name.filter(|name| *name != DEFAULT_SCHEDULER).unwrap_or(DEFAULT_LEASE)
}

/// Whether the scheduler knows of a nominated pod's nomination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It does, as far as can be told.
    Yes,
    /// The pod must be updated, with this value of its annotation.
    Touch(String),
    /// The pod was updated; until then the scheduler may still be listing pods.
    Settling(Timestamp),
    /// Nobody leads.
    Nobody,
}

/// Whether the scheduler knows of a nominated pod's nomination.
pub fn told(pod: &Pod, scheduler: &Scheduler, now: Timestamp) -> Told {
    let term = match scheduler {
        Scheduler::Unknown => return Told::Yes,
        Scheduler::Away => return Told::Nobody,
        Scheduler::Leads { term, .. } => term,
    };
    let told = pod.annotation(names::ANNOTATION_SCHEDULER_TERM).unwrap_or_default();
    if told == term {
        return Told::Yes;
    }
    let first = told.strip_prefix(term.as_str()).and_then(|rest| rest.strip_prefix(SINCE));
    match first.and_then(|time| time.parse::<Timestamp>().ok()) {
        None => Told::Touch(first_update(term, now)),
        // A clock that was set back must not hold the pod up.
        Some(first) if first <= now && now < first + SETTLE => Told::Settling(first + SETTLE),
        Some(_) => Told::Touch(term.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, claimant};

    fn lease(holder: &str, transitions: i32) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_transitions: Some(transitions),
            acquire_time: Some(MicroTime(at(0))),
        };
        Lease { spec, ..Lease::default() }
    }

    fn under(value: Option<&str>) -> Pod {
        let mut pod = claimant(1);
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.extend(value.map(|value| (names::ANNOTATION_SCHEDULER_TERM.to_owned(), value.to_owned())));
        pod
    }

    #[test]
    fn a_new_term_is_told_twice_with_a_moment_between() {
        let scheduler = Scheduler::of(Some(&lease("b", 2)));
        assert_eq!(told(&under(Some("b/2")), &scheduler, at(0)), Told::Yes);
        for before in [None, Some("a/1"), Some("b/1"), Some("a/1 since 2027-01-15T08:00:00Z"), Some("b/2 since never")]
        {
            let Told::Touch(value) = told(&under(before), &scheduler, at(0)) else { panic!("{before:?}") };
            assert_eq!(told(&under(Some(&value)), &scheduler, at(0)), Told::Settling(at(0) + SETTLE));
            assert_eq!(told(&under(Some(&value)), &scheduler, at(0) + SETTLE), Told::Touch("b/2".into()));
            assert_eq!(
                told(&under(Some(&value)), &scheduler, at(-1)),
                Told::Touch("b/2".into()),
                "the clock went back"
            );
        }
    }

    #[test]
    fn a_nomination_in_the_first_moments_of_a_term_is_told_again() {
        let scheduler = Scheduler::of(Some(&lease("b", 2)));
        let nominated = |secs| scheduler.told_by_nomination(at(secs));
        assert_eq!(told(&under(nominated(14).as_deref()), &scheduler, at(14)), Told::Settling(at(14) + SETTLE));
        assert_eq!(told(&under(nominated(14).as_deref()), &scheduler, at(15)), Told::Touch("b/2".into()));
        assert_eq!(told(&under(nominated(15).as_deref()), &scheduler, at(15)), Told::Yes);
        assert_eq!(Scheduler::of(None).told_by_nomination(at(0)), None);
    }

    #[test]
    fn without_a_lease_nothing_is_known_and_without_a_leader_nobody_can_be_told() {
        assert_eq!(told(&under(Some("a/1")), &Scheduler::of(None), at(0)), Told::Yes);
        assert_eq!(told(&under(Some("/1")), &Scheduler::of(Some(&lease("", 1))), at(0)), Told::Nobody);
    }

    #[test]
    fn the_same_holder_may_have_lost_the_lease_in_between() {
        assert_ne!(Scheduler::of(Some(&lease("a", 1))), Scheduler::of(Some(&lease("a", 2))));
    }

    #[test]
    fn a_scheduler_of_another_name_has_a_lease_of_that_name() {
        assert_eq!(
            [None, Some("default-scheduler"), Some("mine")].map(lease_of),
            ["kube-scheduler", "kube-scheduler", "mine"]
        );
    }
}
