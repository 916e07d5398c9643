//! How much is let go a minute because its time has come.
//!
//! A clock that was set wrong, or a `maxAge` with a zero too few, makes everything end at once. Then there is time to see it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// So many a minute may go in any case.
const AT_LEAST: usize = 100;
/// One of so many of all units may go in a minute.
const SHARE: usize = 10;
/// The time in which they are counted.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// What was let go lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Releases {
    /// When the present minute began.
    since: Option<Timestamp>,
    /// How many were let go in it.
    count: usize,
    /// Those that were let go and were still there when it was last asked, and when that was. They are not counted again.
    begun: BTreeMap<String, Timestamp>,
}

impl Releases {
    /// Whether what has this uid, of so many units, may go now.
    pub(super) fn may_go(&mut self, uid: &str, units: usize, now: Timestamp) -> bool {
        let since = self.since.filter(|since| *since <= now && now < *since + WINDOW);
        if since.is_none() {
            let before = self.since.replace(now);
            self.count = 0;
            self.begun.retain(|_, asked| before.is_some_and(|before| *asked >= before));
        }
        if let Some(asked) = self.begun.get_mut(uid) {
            *asked = now;
            return true;
        }
        let may = self.count < AT_LEAST.max(units / SHARE);
        if may {
            self.count += 1;
            self.begun.insert(uid.to_owned(), now);
        }
        may
    }

    /// When more may go.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.since.map(|since| since + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    fn go(releases: &mut Releases, uids: std::ops::Range<u32>, units: usize, now: i64) -> usize {
        uids.filter(|uid| releases.may_go(&uid.to_string(), units, at(now))).count()
    }

    #[test]
    fn so_many_go_a_minute() {
        let mut releases = Releases::default();
        assert_eq!(go(&mut releases, 0..500, 500, 0), 100);
        assert_eq!(go(&mut releases, 100..500, 400, 59), 0);
        assert_eq!(releases.next(), Some(at(60)));
        assert_eq!(go(&mut releases, 100..500, 400, 60), 100);
        // A tenth of many.
        assert_eq!(go(&mut Releases::default(), 0..5000, 5000, 0), 500);
    }

    #[test]
    fn what_is_stuck_is_tried_again_and_takes_nobodys_turn() {
        let mut releases = Releases::default();
        for minute in 0..4 {
            // The first hundred never go.
            let now = minute * 60;
            let tried = go(&mut releases, 0..500, 500, now);
            assert_eq!(tried, 100 * usize::try_from(minute + 1).unwrap(), "in minute {minute}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_it() {
        let mut releases = Releases::default();
        assert_eq!(go(&mut releases, 0..100, 0, 86_400), 100);
        assert_eq!(go(&mut releases, 100..300, 0, 0), 100);
    }
}
