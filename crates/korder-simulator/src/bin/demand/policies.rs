//! Ways to find a level.

use std::time::Duration;

use korder_core::level::{self, Aim, Arrival, Config, State};

use crate::traces::Trace;

/// The share of the orders to be filled at once.
pub(crate) const SHARE: f64 = 0.95;
/// More than is ever needed, so that neither the level nor production is bounded.
const PLENTY: u32 = 1000;

/// Says how many units are to be ready.
pub(crate) trait Policy {
    /// So much time has passed, and then perhaps an order came.
    fn level(&mut self, now: f64, elapsed: Duration, order: Option<Arrival>) -> u32;
    /// Whether the level changes with nothing but time.
    fn moves(&self) -> bool;
}

/// Always the same.
pub(crate) struct Constant(pub(crate) u32);

impl Policy for Constant {
    fn level(&mut self, _: f64, _: Duration, _: Option<Arrival>) -> u32 {
        self.0
    }

    fn moves(&self) -> bool {
        false
    }
}

/// What korder does.
pub(crate) struct Fitted {
    state: State,
    config: Config,
    lead: Duration,
}

impl Fitted {
    /// With nothing learned yet.
    pub(crate) fn new(lead: f64) -> Self {
        let lead = Duration::from_secs_f64(lead);
        let config = Config { least: 0, most: PLENTY, aim: Aim::Share(SHARE), parallelism: PLENTY, idle_after: None };
        Self { state: State::new(lead), config, lead }
    }
}

impl Policy for Fitted {
    fn level(&mut self, _: f64, elapsed: Duration, order: Option<Arrival>) -> u32 {
        self.state = level::step(self.state.clone(), elapsed, order.as_slice(), self.lead, &self.config);
        level::level(&self.state, self.lead, &self.config).units
    }

    fn moves(&self) -> bool {
        true
    }
}

/// What one could do who knows the rate: the quantile of the orders of a lead time, plus one.
pub(crate) struct Oracle<'a> {
    /// What it knows the rate of.
    pub(crate) trace: &'a Trace,
    /// The mean lead time, in seconds.
    pub(crate) lead: f64,
}

impl Policy for Oracle<'_> {
    fn level(&mut self, now: f64, _: Duration, _: Option<Arrival>) -> u32 {
        let mean = self.trace.rate(now) * self.lead;
        let (mut count, mut probability) = (0_u32, libm::exp(-mean));
        let mut sum = probability;
        while sum < SHARE {
            count += 1;
            probability *= mean / f64::from(count);
            sum += probability;
        }
        count + 1
    }

    fn moves(&self) -> bool {
        true
    }
}

/// Another policy, and how its level moved.
pub(crate) struct Recorded<P> {
    /// The other.
    pub(crate) policy: P,
    /// From when on the level was which, in seconds.
    pub(crate) levels: Vec<(f64, u32)>,
}

impl<P: Policy> Policy for Recorded<P> {
    fn level(&mut self, now: f64, elapsed: Duration, order: Option<Arrival>) -> u32 {
        let level = self.policy.level(now, elapsed, order);
        if self.levels.last().is_none_or(|(_, last)| *last != level) {
            self.levels.push((now, level));
        }
        level
    }

    fn moves(&self) -> bool {
        self.policy.moves()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::Pattern;

    #[test]
    fn the_oracle_keeps_the_quantile_plus_one() {
        let trace = Trace::new(Pattern::Steady, 1.0, 1);
        // Poisson at means of 0.05, 3 and 30: 0, 6 and 39 at 95%.
        for (lead, level) in [(1.0, 1), (60.0, 7), (600.0, 40)] {
            assert_eq!(Oracle { trace: &trace, lead }.level(0.0, Duration::ZERO, None), level, "{lead}");
        }
    }
}
