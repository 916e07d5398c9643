//! The two claims with requests that fail, caches that are behind, and a second leader.

use std::time::Duration;

use kooper_sim::fault::{Effect, FaultPlan, Requests, When};

use crate::cases::{Case, Scenario, violations};
use crate::claims::{Disturbance, Outcome};

/// How much more may be written than in a quiet run, when half of all writes are refused as conflicts.
const MOST_WRITES: u64 = 5;

/// What came of all runs.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many runs were made.
    pub runs: usize,
    /// What was violated.
    pub violations: Vec<String>,
    /// The writes of the quiet run.
    pub quiet: u64,
    /// The most writes that a run sent of which half of the writes were refused as conflicts, those included.
    pub contended: u64,
}

impl Report {
    fn of(runs: &[(Case, Outcome)], whole: &Outcome) -> Self {
        Self {
            runs: runs.len(),
            violations: runs.iter().flat_map(|(case, run)| violations(case, run, whole)).collect(),
            quiet: whole.writes,
            contended: 0,
        }
    }
}

/// A tenth of all replies lost, half of all writes refused as conflicts, so many times each; caches that stand still for 1,
/// 10 and 60 seconds.
pub fn every_fault(scenario: &Scenario, times: u64) -> Report {
    let share = |per_mille| When::Share { per_mille };
    let plan = |n, per_mille, effect| FaultPlan::none().with_seed(n).with(Requests::writes(), share(per_mille), effect);
    let lost = (1..=times).map(|n| Case::of(format!("lost replies {n}"), [plan(n, 100, Effect::LoseReply)]));
    let refused = (1..=times).map(|n| Case::of(format!("conflicts {n}"), [plan(n, 500, Effect::Conflict)]));
    let frozen = [1, 10, 60].map(|secs| {
        let freeze = Effect::Freeze { length: Duration::from_secs(secs) };
        let plan = FaultPlan::none().with(Requests::watches(), When::Always, freeze);
        Case::of(format!("caches stand still for {secs} s"), [plan])
    });
    let whole = scenario.whole();
    let runs = scenario.play(lost.chain(frozen).collect());
    let contended = scenario.play(refused.collect());
    let mut report = Report::of(&[runs, contended.clone()].concat(), &whole);
    report.contended = contended.iter().map(|(_, run)| run.writes).max().unwrap_or_default();
    if report.contended > whole.writes * MOST_WRITES {
        let Report { contended, quiet, .. } = report;
        report.violations.push(format!("{contended} writes with conflicts, {quiet} in a quiet run"));
    }
    report
}

/// A second leader takes over after each write of the two claims; the first one stands still, and goes on later.
pub fn every_takeover(scenario: &Scenario) -> Report {
    let whole = scenario.whole();
    let two = Case { disturbance: Disturbance::TwoLeaders, ..Case::of("two leaders from the first", []) };
    let takeovers = (1..=whole.writes - whole.writes_before).flat_map(|write| {
        [Duration::from_millis(5), Duration::from_secs(40)].map(|late| Case {
            disturbance: Disturbance::Takeover { write, late },
            ..Case::of(format!("taken over after write {write}, the first {late:?} late"), [])
        })
    });
    Report::of(&scenario.play([two].into_iter().chain(takeovers).collect()), &whole)
}
