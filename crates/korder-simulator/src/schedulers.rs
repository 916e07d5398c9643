//! The scheduler restarted in the middle of hand-overs.

use std::time::Duration;

use kooper_sim::Verb;
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};

use crate::cases::{Case, Scenario, violations};
use crate::claims::{Disturbance, play};

/// How long there is no scheduler.
const AWAY: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_secs(3)];

/// What came of all restarts.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many runs were made.
    pub runs: usize,
    /// In how many of them the scheduler began in the moment between a guardian's end and its pod's ungating. It can't be
    /// told then, and the place may be lost; nothing else may go wrong.
    pub unprotected: usize,
    /// What was violated in the others.
    pub violations: Vec<String>,
}

/// Restarts the scheduler after each write of the two claims, each time for several lengths.
///
/// Every deletion fails in the first seconds, so that a scheduler that begins between nomination and deletion has time to lead.
pub fn every_restart(scenario: &Scenario) -> Report {
    let faults = || {
        let deletions = Requests::verbs(&[Verb::Delete]).of("pods");
        let busy = Effect::Unavailable { retry_after: Duration::from_secs(1) };
        let at_first = When::Between { from: Duration::ZERO, until: Duration::from_secs(2) };
        FaultPlan::none().with(deletions, at_first, busy)
    };
    let whole = play(scenario.seed, [faults()], &Disturbance::None);
    let cases = (1..=whole.writes - whole.writes_before).flat_map(|write| {
        AWAY.map(|away| Case {
            disturbance: Disturbance::SchedulerRestart { write, away },
            ..Case::of(format!("scheduler away for {away:?} after write {write} of the claims"), [faults()])
        })
    });
    let runs = scenario.play(cases.collect());
    let told = runs.iter().filter(|(_, run)| !run.unprotected);
    let violated = told.clone().flat_map(|(case, run)| violations(case, run, &whole));
    Report {
        runs: runs.len(),
        unprotected: runs.len() - told.count(),
        violations: whole.violations.iter().cloned().chain(violated).collect(),
    }
}
