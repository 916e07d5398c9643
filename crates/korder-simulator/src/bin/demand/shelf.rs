//! A shelf over three days.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use korder_core::level::{Arrival, Surplus};

use crate::policies::Policy;
use crate::traces::{LENGTH, Random, Trace};

/// The coefficient of variation of the time to make a unit.
const VARIATION: f64 = 0.3;

/// What became of the orders, and what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// All orders.
    pub(crate) orders: f64,
    /// Those that found a unit ready.
    pub(crate) at_once: f64,
    /// How long units lay ready, in seconds, all together.
    pub(crate) idle: f64,
    /// Units that were thrown away.
    pub(crate) scrapped: f64,
}

impl Outcome {
    /// The share of the orders that found a unit ready.
    pub(crate) fn fill(&self) -> f64 {
        self.at_once / self.orders
    }
}

impl std::iter::Sum for Outcome {
    fn sum<I: Iterator<Item = Self>>(outcomes: I) -> Self {
        outcomes.fold(Self::default(), |sum, next| Self {
            orders: sum.orders + next.orders,
            at_once: sum.at_once + next.at_once,
            idle: sum.idle + next.idle,
            scrapped: sum.scrapped + next.scrapped,
        })
    }
}

/// Runs a trace with a policy. Units are made as soon as the level asks for them.
pub(crate) fn run(trace: &Trace, lead: f64, seed: u64, policy: &mut dyn Policy) -> Outcome {
    let mut shelf = Shelf {
        now: 0.0,
        ready: 0,
        waiting: 0,
        making: BinaryHeap::new(),
        lead_times: Random::new(seed + 1000),
        lead,
        outcome: Outcome::default(),
    };
    let tick = (lead / 20.0).max(1.0);
    let mut surplus = Surplus::default();
    let mut orders = trace.orders.iter().copied().peekable();
    let mut looked = 0.0;
    shelf.replenish(policy.level(0.0, Duration::ZERO, None));
    loop {
        let next_tick = if policy.moves() { looked + tick } else { f64::INFINITY };
        let next = orders.peek().copied().unwrap_or(f64::INFINITY).min(next_tick).min(LENGTH);
        shelf.until(next);
        if next >= LENGTH {
            return shelf.outcome;
        }
        let elapsed = Duration::from_secs_f64(next - looked);
        looked = next;
        let order = orders.next_if(|order| *order <= next).map(|_| Arrival { units: 1, at_once: shelf.take() });
        let level = policy.level(next, elapsed, order);
        let scrapped;
        (surplus, scrapped) = surplus.step(elapsed, shelf.surplus(level), Duration::from_secs_f64(lead));
        shelf.scrap(scrapped);
        shelf.replenish(level);
    }
}

struct Shelf {
    now: f64,
    ready: u32,
    waiting: u32,
    /// When what is being made will be ready: bits of a float above zero, which are in its order.
    making: BinaryHeap<Reverse<u64>>,
    lead_times: Random,
    lead: f64,
    outcome: Outcome,
}

impl Shelf {
    /// Lets time pass, and units become ready.
    fn until(&mut self, time: f64) {
        while let Some(ready) =
            self.making.peek().map(|Reverse(bits)| f64::from_bits(*bits)).filter(|ready| *ready <= time)
        {
            self.making.pop();
            self.lie_idle(ready);
            if self.waiting > 0 { self.waiting -= 1 } else { self.ready += 1 }
        }
        self.lie_idle(time);
    }

    fn lie_idle(&mut self, until: f64) {
        self.outcome.idle += f64::from(self.ready) * (until - self.now);
        self.now = until;
    }

    /// An order takes a unit, or waits.
    fn take(&mut self) -> bool {
        let at_once = self.ready > 0;
        self.outcome.orders += 1.0;
        if at_once {
            self.outcome.at_once += 1.0;
            self.ready -= 1;
        } else {
            self.waiting += 1;
        }
        at_once
    }

    /// What is ready or being made, but for those who wait.
    fn position(&self) -> i64 {
        i64::from(self.ready) + i64::from(self.making_count()) - i64::from(self.waiting)
    }

    fn making_count(&self) -> u32 {
        u32::try_from(self.making.len()).unwrap_or(u32::MAX)
    }

    fn surplus(&self, level: u32) -> u32 {
        u32::try_from(self.position() - i64::from(level)).unwrap_or(0)
    }

    fn scrap(&mut self, units: u32) {
        let units = units.min(self.ready);
        self.ready -= units;
        self.outcome.scrapped += f64::from(units);
    }

    fn replenish(&mut self, level: u32) {
        while self.position() < i64::from(level) {
            let ready = self.now + self.lead_times.log_normal(self.lead, VARIATION);
            self.making.push(Reverse(ready.to_bits()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::Constant;
    use crate::traces::Pattern;

    /// An order is filled at once if and only if fewer units than the level are outstanding, which are Poisson
    /// distributed whatever the lead times are (Palm): at a mean of 3, 81.5% of the time fewer than 5 are.
    #[test]
    fn a_constant_level_fills_the_share_that_palm_says() {
        let traces: Vec<Trace> = (1..=5).map(|seed| Trace::new(Pattern::Steady, 1.0, seed)).collect();
        for (level, share) in [(3, 0.423), (5, 0.815), (7, 0.966)] {
            let outcome: Outcome =
                (1..).zip(&traces).map(|(seed, trace)| run(trace, 60.0, seed, &mut Constant(level))).sum();
            assert!((outcome.fill() - share).abs() < 0.01, "{level}: {}", outcome.fill());
        }
    }

    #[test]
    fn who_waits_is_served_before_anything_lies_idle() {
        let trace = Trace::new(Pattern::Batches, 1.0, 1);
        let outcome = run(&trace, 60.0, 1, &mut Constant(0));
        assert_eq!((outcome.at_once, outcome.idle, outcome.scrapped), (0.0, 0.0, 0.0));
    }
}
