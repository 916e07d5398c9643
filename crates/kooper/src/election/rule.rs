//! Who leads, by what was seen of the Lease: no requests, and the time is an argument.
//!
//! As in client-go (`tools/leaderelection`), the times that stand in a Lease are for people only. A candidate counts from when
//! it has itself last seen the Lease change, by its own clock, so that clocks which differ or jump do no harm.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

/// So long after the last sign of life the Lease of another may be taken.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(15);
/// So long after its last successful renewal a leader has stopped: well before anybody may take the Lease.
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// What one process knows about the Lease.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    /// The Lease as last seen, and since when.
    seen: Option<(LeaseSpec, Instant)>,
}

/// What to do about the Lease.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Another holds it.
    Wait {
        /// Who.
        holder: String,
    },
    /// Write this: it takes or renews the Lease.
    Write(LeaseSpec),
}

impl Candidate {
    pub(super) fn new(identity: String) -> Self {
        Self { identity, seen: None }
    }

    /// Looks at the Lease as it is on the server, none where there is none. `wall` is what is written into it.
    pub(super) fn step(&mut self, lease: Option<&LeaseSpec>, now: Instant, wall: Timestamp) -> Step {
        if let Some(lease) = lease
            && self.seen.as_ref().is_none_or(|(seen, _)| seen != lease)
        {
            self.seen = Some((lease.clone(), now));
        }
        // Somebody's deletion of the Lease does not tell its holder to stop: it counts on as it was last seen.
        let held = self.seen.as_ref().and_then(|(spec, since)| Some((holder(spec)?, *since)));
        if let Some((holder, since)) = held
            && holder != self.identity
            && now < since + LEASE_DURATION
        {
            return Step::Wait { holder: holder.to_owned() };
        }
        Step::Write(self.mine(lease, wall))
    }

    /// The Lease as one that others may take at once, if it is this candidate's.
    pub(super) fn released(&self, lease: &LeaseSpec) -> Option<LeaseSpec> {
        let is_mine = holder(lease) == Some(&self.identity);
        is_mine.then(|| LeaseSpec { holder_identity: None, ..lease.clone() })
    }

    fn mine(&self, lease: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
        let lease = lease.cloned().unwrap_or_default();
        let now = Some(MicroTime(wall));
        let renewed = LeaseSpec {
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            renew_time: now.clone(),
            ..lease
        };
        if holder(&renewed) == Some(&self.identity) {
            return renewed;
        }
        let transitions = renewed.lease_transitions.map_or(0, |transitions| transitions.saturating_add(1));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            acquire_time: now,
            lease_transitions: Some(transitions),
            ..renewed
        }
    }
}

/// Whose Lease it is, if anybody's.
fn holder(lease: &LeaseSpec) -> Option<&str> {
    lease.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn held_by(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        }
    }

    fn waits(step: &Step) -> bool {
        matches!(step, Step::Wait { .. })
    }

    #[tokio::test]
    async fn a_lease_is_taken_when_it_has_not_changed_for_its_duration_whatever_time_stands_in_it() {
        for renewed in [0, 4_000_000_000] {
            let (mut candidate, start) = (Candidate::new("a".into()), Instant::now());
            let mut look = |lease: &LeaseSpec, seconds: u32| {
                candidate.step(Some(lease), start + SECOND * seconds, Timestamp::UNIX_EPOCH)
            };
            assert_eq!(look(&held_by("b", renewed), 0), Step::Wait { holder: "b".into() });
            assert!(waits(&look(&held_by("b", renewed), 14)));
            assert!(waits(&look(&held_by("b", renewed + 1), 15)), "it was renewed");
            assert!(waits(&look(&held_by("b", renewed + 1), 29)));
            let Step::Write(taken) = look(&held_by("b", renewed + 1), 30) else { panic!("it is not taken") };
            assert_eq!(taken.holder_identity.as_deref(), Some("a"));
            assert_eq!(taken.lease_transitions, Some(4));
            assert_eq!(taken.acquire_time, taken.renew_time);
        }
    }

    #[tokio::test]
    async fn its_own_lease_is_renewed_and_a_free_one_taken_at_once() {
        let (mut candidate, now, wall) = (Candidate::new("a".into()), Instant::now(), Timestamp::UNIX_EPOCH);
        let Step::Write(renewed) = candidate.step(Some(&held_by("a", 7)), now, wall) else { panic!("not renewed") };
        assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(3), None), "the term goes on");
        for free in [LeaseSpec::default(), LeaseSpec { holder_identity: None, ..held_by("b", 0) }, held_by("", 0)] {
            let mut candidate = Candidate::new("a".into());
            assert!(matches!(candidate.step(Some(&free), now, wall), Step::Write(_)), "{free:?}");
        }
        let Step::Write(first) = Candidate::new("a".into()).step(None, now, wall) else { panic!("not made") };
        assert_eq!(first.lease_transitions, Some(0));
    }

    #[tokio::test]
    async fn a_lease_that_somebody_has_deleted_is_not_free_before_its_time() {
        let (mut candidate, start, wall) = (Candidate::new("a".into()), Instant::now(), Timestamp::UNIX_EPOCH);
        assert!(waits(&candidate.step(Some(&held_by("b", 0)), start, wall)));
        assert!(waits(&candidate.step(None, start + SECOND * 14, wall)));
        assert!(!waits(&candidate.step(None, start + SECOND * 15, wall)));
    }

    #[tokio::test]
    async fn nobody_gives_away_what_is_anothers() {
        let candidate = Candidate::new("a".into());
        assert_eq!(candidate.released(&held_by("b", 0)), None);
        assert_eq!(candidate.released(&held_by("a", 0)).unwrap().holder_identity, None);
    }

    #[test]
    fn a_leader_stops_before_its_lease_can_be_taken() {
        const { assert!(RENEW_DEADLINE.as_secs() < LEASE_DURATION.as_secs()) };
    }
}
