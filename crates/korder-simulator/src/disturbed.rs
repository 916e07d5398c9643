//! The two claims with requests that fail, caches that are behind, and a second leader.

use std::time::Duration;

use kooper_sim::fault::{Effect, FaultPlan, Requests, When};

use crate::claims::{Disturbance, Outcome, play};

/// How much more may be written than in a quiet run, when half of all writes are refused as conflicts.
const MOST_WRITES: u64 = 5;

/// What came of all runs.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many runs were made.
    pub runs: u64,
    /// What was violated.
    pub violations: Vec<String>,
}

impl Report {
    fn take(&mut self, what: &str, run: &Outcome, whole: &Outcome) {
        self.runs += 1;
        self.violations.extend(run.violations.iter().map(|violation| format!("{what}: {violation}")));
        if run.summary != whole.summary {
            self.violations.push(format!("{what}: the end is {:?}, not {:?}", run.summary, whole.summary));
        }
    }
}

/// A tenth of all replies lost, half of all writes refused as conflicts, so many times each; caches that stand still for 1,
/// 10 and 60 seconds.
pub fn every_fault(seed: u64, times: u64) -> Report {
    let whole = play(seed, [], &Disturbance::None);
    let mut report = Report::default();
    let share = |per_mille| When::Share { per_mille };
    for n in 1..=times {
        let plan = FaultPlan::none().with_seed(n);
        let lost = plan.clone().with(Requests::writes(), share(100), Effect::LoseReply);
        report.take(&format!("lost replies {n}"), &play(seed, [lost], &Disturbance::None), &whole);
        let refused = plan.with(Requests::writes(), share(500), Effect::Conflict);
        let run = play(seed, [refused], &Disturbance::None);
        report.take(&format!("conflicts {n}"), &run, &whole);
        if run.writes > whole.writes * MOST_WRITES {
            report.violations.push(format!("conflicts {n}: {} writes, {} in a quiet run", run.writes, whole.writes));
        }
    }
    for secs in [1, 10, 60] {
        let frozen = Effect::Freeze { length: Duration::from_secs(secs) };
        let plan = FaultPlan::none().with(Requests::watches(), When::Always, frozen);
        report.take(&format!("caches stand still for {secs} s"), &play(seed, [plan], &Disturbance::None), &whole);
    }
    report
}

/// A second leader takes over after each write of the two claims; the first one stands still, and goes on later.
pub fn every_takeover(seed: u64) -> Report {
    let whole = play(seed, [], &Disturbance::None);
    let mut report = Report::default();
    report.take("two leaders from the first", &play(seed, [], &Disturbance::TwoLeaders), &whole);
    for write in 1..=whole.writes - whole.writes_before {
        for late in [Duration::from_millis(5), Duration::from_secs(40)] {
            let run = play(seed, [], &Disturbance::Takeover { write, late });
            report.take(&format!("taken over after write {write}, the first {late:?} late"), &run, &whole);
        }
    }
    report
}
