//! Pods that somebody's rule does not let us write: each try would take a ticket from those behind it in line.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// How long a pod is left alone after the first refusal; twice as long after each further one.
const FIRST: SignedDuration = SignedDuration::from_mins(1);
/// How often that doubles: up to about an hour.
const MOST_DOUBLINGS: u32 = 6;
/// How long after its end a refusal is still counted as one of a series.
const SERIES: SignedDuration = SignedDuration::from_hours(1);
/// How many pods are remembered; those that are free first give way.
const MOST: usize = 1024;

/// Pods, by uid, and until when they get no ticket.
#[derive(Debug, Default)]
pub(super) struct Unwritable(BTreeMap<String, Refused>);

#[derive(Debug)]
struct Refused {
    until: Timestamp,
    times: u32,
}

impl Unwritable {
    /// A write on the pod was refused for good.
    pub(super) fn remember(&mut self, uid: &str, now: Timestamp) {
        self.0.retain(|_, refused| now < refused.until + SERIES);
        if self.0.len() >= MOST
            && let Some(first) = self.0.iter().min_by_key(|(_, refused)| refused.until).map(|(uid, _)| uid.clone())
        {
            self.0.remove(&first);
        }
        let refused = self.0.entry(uid.to_owned()).or_insert(Refused { until: now, times: 0 });
        refused.until = now + FIRST * 2_i32.pow(refused.times.min(MOST_DOUBLINGS));
        refused.times += 1;
    }

    /// Until when the pod gets no ticket, if it is not free.
    pub(super) fn until(&self, uid: &str, now: Timestamp) -> Option<Timestamp> {
        self.0.get(uid).map(|refused| refused.until).filter(|&until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_rests_the_pod_for_longer() {
        let (mut unwritable, mut now) = (Unwritable::default(), Timestamp::UNIX_EPOCH);
        let mut rests = Vec::new();
        for _ in 0..8 {
            unwritable.remember("u", now);
            let until = unwritable.until("u", now).unwrap();
            rests.push(until.duration_since(now).as_mins());
            assert_eq!(unwritable.until("u", until), None);
            now = until;
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 64]);
        assert_eq!(unwritable.until("other", now), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut unwritable = Unwritable::default();
        for pod in 0..2 * MOST {
            unwritable.remember(&pod.to_string(), Timestamp::UNIX_EPOCH);
        }
        assert!(unwritable.0.len() <= MOST);
    }
}
