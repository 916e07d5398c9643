//! Runs of the scenario of two claims, each with a name by which it can be played again.

use kooper_sim::fault::FaultPlan;

use crate::claims::{Disturbance, Outcome, play};
use crate::parallel;

/// The scenario of a seed, and which of its cases are played.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What every choice depends on.
    pub seed: u64,
    /// The one case to play; all, if there is none.
    pub only: Option<String>,
}

/// One run: what goes wrong in it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is done to it, in words.
    pub name: String,
    /// The first controllers live through the first plan, those after each crash through the next.
    pub plans: Vec<FaultPlan>,
    /// What goes wrong beside.
    pub disturbance: Disturbance,
}

impl Case {
    /// One without disturbance.
    pub fn of(name: impl Into<String>, plans: impl IntoIterator<Item = FaultPlan>) -> Self {
        Self { name: name.into(), plans: plans.into_iter().collect(), disturbance: Disturbance::None }
    }
}

impl Scenario {
    /// All cases of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, only: None }
    }

    /// The run without faults, by which the others are judged.
    pub fn whole(&self) -> Outcome {
        play(self.seed, [], &Disturbance::None)
    }

    /// Plays cases side by side; what came of each, in their order.
    pub fn play(&self, mut cases: Vec<Case>) -> Vec<(Case, Outcome)> {
        cases.retain(|case| self.only.as_ref().is_none_or(|only| *only == case.name));
        let played = parallel::map(&cases, |case| {
            let run = || play(self.seed, case.plans.iter().cloned(), &case.disturbance);
            parallel::or_panic(run).unwrap_or_else(|why| Outcome { violations: vec![why], ..Outcome::default() })
        });
        cases.into_iter().zip(played).collect()
    }
}

/// What was violated in a run that should have ended as the whole one does.
pub(crate) fn violations(case: &Case, run: &Outcome, whole: &Outcome) -> Vec<String> {
    let mut violations: Vec<String> =
        run.violations.iter().map(|violation| format!("{}: {violation}", case.name)).collect();
    if run.summary != whole.summary {
        violations.push(format!("{}: the end is {:?}, not {:?}", case.name, run.summary, whole.summary));
    }
    violations
}
