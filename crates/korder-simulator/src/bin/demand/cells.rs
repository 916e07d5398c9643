//! One pattern at one rate and one lead time: what the level reached, and what a constant one would have taken for that.

use crate::policies::{Constant, Fitted, Oracle, Policy};
use crate::shelf::{self, Outcome};
use crate::traces::{LENGTH, Pattern, Trace};

/// The mean times to make a unit, in seconds.
pub(crate) const LEADS: [f64; 3] = [1.0, 60.0, 600.0];
/// What all rates are multiplied by: three orders a minute, and a tenth of that.
pub(crate) const SCALES: [f64; 2] = [1.0, 0.1];
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;
/// No shelf of a trace needs as much.
const MOST: u32 = 4096;

/// What was seen of a pattern, over all seeds.
pub(crate) struct Cell {
    /// How the rate moves.
    pub(crate) pattern: Pattern,
    /// What all rates are multiplied by.
    pub(crate) scale: f64,
    /// The mean lead time, in seconds.
    pub(crate) lead: f64,
    /// With the level fitted to the demand.
    pub(crate) fitted: Outcome,
    /// With a constant level that fills the same share at once, between two integers.
    pub(crate) constant: Constantly,
    /// With a level by somebody who knows the rate.
    pub(crate) oracle: Outcome,
}

/// A constant level between two integers.
pub(crate) struct Constantly {
    /// The level.
    pub(crate) level: f64,
    /// How long units lay ready, in seconds, all together.
    pub(crate) idle: f64,
}

impl Cell {
    /// Plays it.
    pub(crate) fn new(pattern: Pattern, scale: f64, lead: f64) -> Self {
        let traces: Vec<(u64, Trace)> = SEEDS.map(|seed| (seed, Trace::new(pattern, scale, seed))).collect();
        let fitted = sum(&traces, lead, |_| Box::new(Fitted::new(lead)));
        let oracle = sum(&traces, lead, |trace| Box::new(Oracle { trace, lead }));
        let constant = Constantly::filling(fitted.fill(), |level| sum(&traces, lead, |_| Box::new(Constant(level))));
        Self { pattern, scale, lead, fitted, constant, oracle }
    }

    /// How much less lies idle than with the constant level.
    pub(crate) fn less(&self) -> f64 {
        1.0 - self.fitted.idle / self.constant.idle
    }

    /// The same when each unit that was thrown away counts as idle for a lead time.
    pub(crate) fn less_charged(&self) -> f64 {
        1.0 - (self.fitted.idle + self.fitted.scrapped * self.lead) / self.constant.idle
    }

    /// Of a time that units lay ready, how many did on average.
    pub(crate) fn units(idle: f64) -> f64 {
        idle / LENGTH / f64::from(u32::try_from(SEEDS.count()).unwrap_or(1))
    }
}

/// What became of all traces together.
fn sum<'a>(traces: &'a [(u64, Trace)], lead: f64, policy: impl Fn(&'a Trace) -> Box<dyn Policy + 'a>) -> Outcome {
    traces.iter().map(|(seed, trace)| shelf::run(trace, lead, *seed, policy(trace).as_mut())).sum()
}

impl Constantly {
    /// The level that fills this share: the least integer that fills as much is found by halving, and what is between it
    /// and the one before is taken to be linear.
    fn filling(fill: f64, outcome: impl Fn(u32) -> Outcome) -> Self {
        let (mut low, mut high) = (0, MOST);
        while high - low > 1 {
            let middle = u32::midpoint(low, high);
            if outcome(middle).fill() >= fill { high = middle } else { low = middle }
        }
        let (below, above) = (outcome(low), outcome(high));
        let part = (fill - below.fill()) / (above.fill() - below.fill());
        Self { level: f64::from(low) + part, idle: below.idle + part * (above.idle - below.idle) }
    }
}

/// Plays all, on as many threads as there are rates and lead times.
pub(crate) fn all() -> Vec<Cell> {
    let combinations = SCALES.into_iter().flat_map(|scale| LEADS.map(|lead| (scale, lead)));
    std::thread::scope(|scope| {
        let threads: Vec<_> = combinations
            .map(|(scale, lead)| scope.spawn(move || Pattern::ALL.map(|pattern| Cell::new(pattern, scale, lead))))
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the cells, so that a level that got worse is seen before the next benchmark.
    #[test]
    fn a_daily_tide_is_followed_with_less_than_a_constant_level_takes() {
        let cell = Cell::new(Pattern::Daily, 0.1, 600.0);
        assert!(cell.fitted.fill() >= 0.92 && cell.less() >= 0.25, "{} {}", cell.fitted.fill(), cell.less());
    }

    #[test]
    fn a_constant_level_between_two_integers_is_linear() {
        // At level n, 10n of 100 are filled and n² lies idle.
        let outcome = |level: u32| {
            let level = f64::from(level);
            Outcome { orders: 100.0, at_once: (10.0 * level).min(100.0), idle: level * level, scrapped: 0.0 }
        };
        let constant = Constantly::filling(0.25, outcome);
        assert!((constant.level - 2.5).abs() < 1e-9 && (constant.idle - 6.5).abs() < 1e-9);
    }
}
