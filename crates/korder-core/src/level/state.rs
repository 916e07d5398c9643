//! What a level remembers.

use std::time::Duration;

use libm::{exp, expm1};

use super::demand::Demand;
use super::feedback::Feedback;
use super::needs::Needs;
use super::shadow::Shadow;
use super::{Aim, Arrival, Config};

/// Over how long the long-run rate is taken, in seconds.
const DAY: f64 = 86_400.0;

/// What a level remembers of the orders that came.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// For how long no order has come, in seconds. All the rest is as it was at the last order.
    pub(super) silence: f64,
    pub(super) demand: Demand,
    pub(super) long_run: LongRun,
    pub(super) feedback: Feedback,
    pub(super) shadow: Shadow,
    pub(super) needs: Needs,
}

/// Units and time, both fading over a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LongRun {
    pub(super) units: f64,
    pub(super) time: f64,
}

impl LongRun {
    const NONE: Self = Self { units: 0.0, time: 0.0 };

    pub(super) fn after(self, silence: f64) -> Self {
        let faded = exp(-silence / DAY);
        Self { units: self.units * faded, time: self.time * faded - DAY * expm1(-silence / DAY) }
    }

    /// In units per second, as if half a unit more had come in a lead time more.
    pub(super) fn rate(self, lead: f64) -> f64 {
        (self.units + 0.5) / (self.time + lead)
    }
}

impl State {
    /// How long no order has come.
    pub fn silence(&self) -> Duration {
        Duration::try_from_secs_f64(self.silence).unwrap_or(Duration::MAX)
    }

    /// Before the first order, where making a unit takes this long.
    pub fn new(lead: Duration) -> Self {
        let lead = super::seconds(lead);
        Self {
            silence: 0.0,
            demand: Demand::unknown(lead),
            long_run: LongRun::NONE,
            feedback: Feedback::NONE,
            shadow: Shadow::IDLE,
            needs: Needs::NONE,
        }
    }

    pub(super) fn take(&mut self, Arrival { units, at_once }: Arrival, lead: f64, config: &Config) {
        let silence = std::mem::take(&mut self.silence);
        self.demand = self.demand.after(silence, lead).with(units);
        let before = self.long_run.after(silence);
        if let Aim::Share(share) = config.aim {
            self.feedback = self.feedback.after(at_once, share, before.rate(lead) * lead);
        }
        self.long_run = LongRun { units: before.units + f64::from(units), ..before };
        self.shadow.pass(silence / lead, config.parallelism);
        self.needs.count(self.shadow.outstanding().saturating_add(units), exp(-silence / DAY));
        self.shadow.order(units, config.parallelism);
    }
}
