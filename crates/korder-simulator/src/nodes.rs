//! Nodes that go in the middle of hand-overs.

use crate::cases::{Case, Scenario};
use crate::claims::Disturbance;

/// Takes each node away after each write of the two claims; how many runs, and what was violated.
///
/// Every pod that asked gets a place in the end, by a second ticket where it was let go for a place that went.
pub fn every_loss(scenario: &Scenario) -> (usize, Vec<String>) {
    let whole = scenario.whole();
    let cases = (1..=whole.writes - whole.writes_before).flat_map(|write| {
        ["n1", "n2"].map(|node| Case {
            disturbance: Disturbance::NodeGone { node, write },
            ..Case::of(format!("node `{node}` gone after write {write} of the claims"), [])
        })
    });
    let mut violations = whole.violations.clone();
    let runs = scenario.play(cases.collect());
    for (Case { name, .. }, run) in &runs {
        violations.extend(run.violations.iter().map(|violation| format!("{name}: {violation}")));
        if run.summary.get("claimants bound") != Some(&2) {
            violations.push(format!("{name}: the end is {:?}", run.summary));
        }
    }
    (runs.len(), violations)
}
