//! The controllers killed before and after each write of a claim, and their successors once more.

use kooper_sim::fault::FaultPlan;

use crate::cases::{Case, Scenario, violations};
use crate::claims::Outcome;

/// What came of all crash points.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many writes the scenario takes: the points at which it can be cut.
    pub writes: u64,
    /// How many runs were made.
    pub runs: usize,
    /// How many of them crashed as often as they should.
    pub crashes: usize,
    /// What was violated, each with its crash points.
    pub violations: Vec<String>,
}

/// Where controllers die.
#[derive(Clone, Copy, Debug)]
struct Point {
    write: u64,
    after: bool,
}

impl Point {
    fn plan(self) -> FaultPlan {
        if self.after { FaultPlan::crash_after_write(self.write) } else { FaultPlan::crash_before_write(self.write) }
    }

    /// Both points of each of so many writes.
    fn all(writes: u64) -> impl Iterator<Item = Self> {
        (1..=writes).flat_map(|write| [false, true].map(|after| Self { write, after }))
    }

    /// The run that is cut here, and goes on.
    fn case(self) -> Case {
        Case::of(format!("killed {self}"), [self.plan()])
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} write {}", if self.after { "after" } else { "before" }, self.write)
    }
}

/// Plays the scenario without faults, then once for each crash point, and compares.
pub fn every_point(scenario: &Scenario) -> Report {
    let whole = scenario.whole();
    let runs = scenario.play(Point::all(whole.writes).map(Point::case).collect());
    let mut report = Report::of(&runs, 1, &whole);
    report.violations.extend(whole.violations);
    report
}

/// Plays the scenario for pairs of crash points: the second is in the life of the controllers that come after the first.
/// Of all pairs, every `stride`th.
pub fn every_pair(scenario: &Scenario, stride: usize) -> Report {
    let whole = scenario.whole();
    // How far the successors come depends on the first crash.
    let firsts: Vec<Point> = Point::all(whole.writes).collect();
    let alone = Scenario::seeded(scenario.seed).play(firsts.iter().map(|first| first.case()).collect());
    let pairs = firsts.iter().zip(&alone).flat_map(|(&first, (_, run))| {
        Point::all(run.writes)
            .map(move |second| Case::of(format!("killed {first}, then {second}"), [first.plan(), second.plan()]))
    });
    let runs = scenario.play(pairs.step_by(stride.max(1)).collect());
    Report::of(&runs, 2, &whole)
}

impl Report {
    fn of(runs: &[(Case, Outcome)], crashes: usize, whole: &Outcome) -> Self {
        Self {
            writes: whole.writes,
            runs: runs.len(),
            crashes: runs.iter().filter(|(_, run)| run.crashes == crashes).count(),
            violations: runs.iter().flat_map(|(case, run)| violations(case, run, whole)).collect(),
        }
    }
}
