//! The controllers killed before and after each write of a claim, and their successors once more.

use kooper_sim::fault::FaultPlan;

use crate::claims::{Disturbance, Outcome, play};

/// What came of all crash points.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many writes the scenario takes: the points at which it can be cut.
    pub writes: u64,
    /// How many runs were made.
    pub runs: u64,
    /// How many of them crashed as often as they should.
    pub crashes: u64,
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
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} write {}", if self.after { "after" } else { "before" }, self.write)
    }
}

/// Plays the scenario without faults, then once for each crash point, and compares.
pub fn every_point(seed: u64) -> Report {
    let whole = play(seed, [], &Disturbance::None);
    let mut report = Report { writes: whole.writes, violations: whole.violations.clone(), ..Report::default() };
    for point in Point::all(whole.writes) {
        let run = play(seed, [point.plan()], &Disturbance::None);
        report.take(&format!("killed {point}"), 1, &run, &whole);
    }
    report
}

/// Plays the scenario for pairs of crash points: the second is in the life of the controllers that come after the first.
/// Of all pairs, every `stride`th.
pub fn every_pair(seed: u64, stride: usize) -> Report {
    let whole = play(seed, [], &Disturbance::None);
    let mut report = Report { writes: whole.writes, ..Report::default() };
    // How far the successors come depends on the first crash.
    let mut pairs = vec![];
    for first in Point::all(whole.writes) {
        let alone = play(seed, [first.plan()], &Disturbance::None);
        pairs.extend(Point::all(alone.writes).map(|second| (first, second)));
    }
    for (first, second) in pairs.into_iter().step_by(stride.max(1)) {
        let run = play(seed, [first.plan(), second.plan()], &Disturbance::None);
        report.take(&format!("killed {first}, then {second}"), 2, &run, &whole);
    }
    report
}

impl Report {
    fn take(&mut self, what: &str, crashes: usize, run: &Outcome, whole: &Outcome) {
        self.runs += 1;
        self.crashes += u64::from(run.crashes == crashes);
        self.violations.extend(run.violations.iter().map(|violation| format!("{what}: {violation}")));
        if run.summary != whole.summary {
            self.violations.push(format!("{what}: the end is {:?}, not {:?}", run.summary, whole.summary));
        }
    }
}
