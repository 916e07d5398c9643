//! When a unit too many is thrown away.

use std::time::Duration;

/// The shortest time that a surplus lasts before any of it goes.
const PATIENCE: Duration = Duration::from_mins(1);

/// A surplus over the level that has lasted: units are thrown away only when it was there for a lead time, and a minute,
/// without a break, since a new one would have taken that long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surplus {
    /// The least that it was since.
    least: u32,
    /// How long it has lasted.
    lasted: Duration,
}

impl Surplus {
    /// The same `elapsed` later, when there are now so many units more than the level, ready and in the making; and how
    /// many are to be thrown away, of those that are ready.
    pub fn step(self, elapsed: Duration, now: u32, lead: Duration) -> (Self, u32) {
        if now == 0 || self.least == 0 {
            return (Self { least: now, lasted: Duration::ZERO }, 0);
        }
        let least = self.least.min(now);
        let lasted = self.lasted.saturating_add(elapsed);
        if lasted < lead.max(PATIENCE) {
            return (Self { least, lasted }, 0);
        }
        (Self { least: now - least, lasted: Duration::ZERO }, least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is thrown away at each of these moments, ten seconds apart.
    fn scrapped(surpluses: &[u32], lead: u64) -> Vec<u32> {
        let mut surplus = Surplus::default();
        let mut step = |now| {
            let scrap;
            (surplus, scrap) = surplus.step(Duration::from_secs(10), now, Duration::from_secs(lead));
            scrap
        };
        surpluses.iter().map(|now| step(*now)).collect()
    }

    #[test]
    fn what_was_too_much_for_a_minute_goes() {
        assert_eq!(scrapped(&[3, 3, 3, 3, 3, 3, 3, 0], 12), [0, 0, 0, 0, 0, 0, 3, 0]);
    }

    #[test]
    fn only_as_much_as_was_too_much_all_the_time() {
        assert_eq!(scrapped(&[3, 3, 2, 5, 3, 3, 3, 1], 12), [0, 0, 0, 0, 0, 0, 2, 0]);
    }

    #[test]
    fn a_break_begins_it_anew() {
        assert_eq!(scrapped(&[3, 3, 3, 0, 3, 3, 3, 3, 3, 3, 3], 12), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn where_units_take_longer_it_waits_longer() {
        assert_eq!(scrapped(&[1; 10], 80), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    }
}
