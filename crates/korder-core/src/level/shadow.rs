//! What would be outstanding if a unit were made for each order at once.
//!
//! It knows nothing of rates and distributions: an order that finds so many outstanding would have needed a level of one
//! more. Making takes the mean lead time, with so many at a time as production allows; who comes later waits.

use super::whole;

/// How finely the lead time is looked at.
const PERIOD: u32 = 20;
pub(super) const SLOTS: usize = PERIOD as usize;
/// More are not kept count of.
pub(super) const MOST: u32 = 1_000_000;

/// A production of mean lead time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shadow {
    /// How many were begun in each of the latest slots, the newest first.
    pub(super) begun: [u32; SLOTS],
    /// How much of the newest slot is over.
    pub(super) phase: f64,
    /// How many wait to be begun.
    pub(super) waiting: u32,
}

impl Shadow {
    /// Before the first order.
    pub(super) const IDLE: Self = Self { begun: [0; SLOTS], phase: 0.0, waiting: 0 };

    fn in_work(&self) -> u32 {
        self.begun.iter().fold(0, |sum, begun| sum.saturating_add(*begun))
    }

    /// How many are outstanding.
    pub(super) fn outstanding(&self) -> u32 {
        self.in_work().saturating_add(self.waiting)
    }

    /// Lets time pass, in lead times.
    pub(super) fn pass(&mut self, lead_times: f64, parallelism: u32) {
        let passed = self.phase + lead_times * f64::from(PERIOD);
        self.phase = passed.fract();
        self.pass_slots(whole(passed), parallelism.max(1));
    }

    fn pass_slots(&mut self, mut slots: u32, parallelism: u32) {
        // While some wait, as many are begun in each lead time as can be, in the same slots: whole lead times can be left
        // out. Less than a batch waits then, and is done after two more.
        let periods = (slots / PERIOD).min(self.waiting / parallelism);
        self.waiting -= periods * parallelism;
        slots -= periods * PERIOD;
        for _ in 0..slots.min(3 * PERIOD) {
            self.begun.rotate_right(1);
            self.begun[0] = 0;
            self.begin(parallelism);
        }
    }

    /// So many more are ordered.
    pub(super) fn order(&mut self, units: u32, parallelism: u32) {
        self.waiting = self.waiting.saturating_add(units).min(MOST);
        self.begin(parallelism.max(1));
    }

    fn begin(&mut self, parallelism: u32) {
        let now = self.waiting.min(parallelism.saturating_sub(self.in_work()));
        self.begun[0] = self.begun[0].saturating_add(now);
        self.waiting -= now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn with_room_for_all_those_of_one_lead_time_are_outstanding() {
        let mut shadow = Shadow::IDLE;
        for order in 0..100 {
            assert_eq!(shadow.outstanding(), order.min(3), "before order {order}");
            shadow.order(1, 1000);
            shadow.pass_slots(5, 1000);
        }
    }

    #[test]
    fn one_at_a_time_they_wait() {
        let mut shadow = Shadow::IDLE;
        shadow.order(7, 1);
        for done in 0..7 {
            assert_eq!((shadow.in_work(), shadow.outstanding()), (1, 7 - done));
            shadow.pass_slots(PERIOD, 1);
        }
        assert_eq!(shadow.outstanding(), 0);
    }

    #[test]
    fn a_silence_of_any_length_ends_it() {
        let mut shadow = Shadow::IDLE;
        shadow.order(u32::MAX, 1);
        shadow.pass(f64::MAX, 1);
        assert_eq!(shadow.outstanding(), 0);
    }

    proptest! {
        #[test]
        fn a_silence_may_be_cut_into_pieces(
            orders in prop::collection::vec((0_u32..40, 0_u32..30), 0..20),
            parallelism in 1_u32..20,
            slots in 0_u32..2000,
        ) {
            let mut whole = Shadow::IDLE;
            for (units, slots) in orders {
                whole.order(units, parallelism);
                whole.pass_slots(slots, parallelism);
            }
            let mut pieces = whole.clone();
            whole.pass_slots(slots, parallelism);
            (0..slots).for_each(|_| pieces.pass_slots(1, parallelism));
            prop_assert_eq!(whole, pieces);
        }
    }
}
