//! The controllers killed before and after each write of a claim.

use std::collections::BTreeMap;
use std::time::Duration;

use kooper_sim::fault::FaultPlan;
use kooper_sim::{Sim, run};
use korder_core::pod::Pod;

use crate::objects::{claimant, competitor, node, order};
use crate::oracle;
use crate::world::World;

/// How long a run goes on after the claims are through, or should be: longer than any deadline of a hand-over, and than
/// the quiet that is asked for.
const AFTERMATH: Duration = Duration::from_mins(3);

/// What came of all crash points.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many writes the scenario takes: the points at which it can be cut.
    pub writes: u64,
    /// How many runs were made: one before and one after each write.
    pub runs: u64,
    /// In how many of them the controllers did die.
    pub crashes: u64,
    /// What was violated, each with its crash point.
    pub violations: Vec<String>,
}

/// One run: what its end looks like, what was violated, the writes until the end, whether the controllers died.
struct Run {
    summary: BTreeMap<String, usize>,
    violations: Vec<String>,
    writes: u64,
    crashed: bool,
}

/// Plays the scenario without faults, then once for each crash point, and compares.
pub fn every_point(seed: u64) -> Report {
    let whole = play(seed, FaultPlan::none());
    let mut report = Report { writes: whole.writes, violations: whole.violations, ..Report::default() };
    for n in 1..=whole.writes {
        for (when, plan) in [("before", FaultPlan::crash_before_write(n)), ("after", FaultPlan::crash_after_write(n))] {
            let run = play(seed, plan);
            report.runs += 1;
            report.crashes += u64::from(run.crashed);
            report.violations.extend(run.violations.iter().map(|what| format!("killed {when} write {n}: {what}")));
            if run.summary != whole.summary {
                let (is, should) = (&run.summary, &whole.summary);
                report.violations.push(format!("killed {when} write {n}: the end is {is:?}, not {should:?}"));
            }
        }
    }
    report
}

/// Two full nodes, others of the same priority waiting for a place, and two claims at once on one of them.
fn play(seed: u64, plan: FaultPlan) -> Run {
    run(seed, |sim| async move {
        for (name, cores) in [("n1", 4), ("n2", 2)] {
            create(&sim, node(name, cores));
        }
        let mut world = World::new(sim.clone(), plan);
        create(&sim, order("o", 4, "OnClaim", "1h"));
        world.until("the order is filled", |sim| count(sim, |pod| pod.is_guardian() && pod.is_running()) == 4).await;
        for n in 1..=4 {
            create(&sim, competitor(&format!("other-{n}")));
        }
        world.until("the nodes are full", |sim| count(sim, |pod| pod.spec.node_name.is_some()) == 6).await;
        for n in 1..=2 {
            create(&sim, claimant(&format!("pod-{n}"), Some("o")));
        }
        world.until("the claims are through", |sim| count(sim, |pod| pod.is_claimant() && pod.is_running()) == 2).await;
        world.run(AFTERMATH).await;
        Run {
            summary: oracle::summary(&sim),
            violations: oracle::judge(&sim),
            writes: world.writes(),
            crashed: world.crashes() > 0,
        }
    })
}

fn count(sim: &Sim, is: impl Fn(&Pod) -> bool) -> usize {
    sim.objects("pods").iter().filter_map(|pod| pod.parse::<Pod>().ok()).filter(is).count()
}

fn create(sim: &Sim, object: serde_json::Value) {
    if let Err(status) = sim.create(object) {
        sim.fail(format!("the scenario could not make an object: {status}"));
    }
}
