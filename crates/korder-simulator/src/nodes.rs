//! Nodes that go in the middle of hand-overs.

use crate::claims::{Disturbance, play};

/// Takes each node away after each write of the two claims; how many runs, and what was violated.
///
/// Every pod that asked gets a place in the end, by a second ticket where it was let go for a place that went.
pub fn every_loss(seed: u64) -> (u64, Vec<String>) {
    let whole = play(seed, [], &Disturbance::None);
    let mut violations = whole.violations.clone();
    let mut runs = 0;
    for write in 1..=whole.writes - whole.writes_before {
        for node in ["n1", "n2"] {
            let run = play(seed, [], &Disturbance::NodeGone { node, write });
            runs += 1;
            let what = format!("node `{node}` gone after write {write} of the claims");
            violations.extend(run.violations.iter().map(|violation| format!("{what}: {violation}")));
            if run.summary.get("claimants bound") != Some(&2) {
                violations.push(format!("{what}: the end is {:?}", run.summary));
            }
        }
    }
    (runs, violations)
}
