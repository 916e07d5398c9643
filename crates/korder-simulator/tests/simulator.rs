//! The runs of the simulator that every change must pass; `make soak` plays many more.

use std::time::Duration;

use kooper_sim::fault::FaultPlan;
use kooper_sim::run;
use korder_simulator::objects::{claimant, node, order};
use korder_simulator::world::World;
use korder_simulator::{crash_points, histories, oracle};

#[test]
fn killed_before_and_after_each_write_of_a_claim_it_is_finished_or_undone() {
    let report = crash_points::every_point(7);
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.writes > 20, "the scenario has become empty: {report:?}");
    assert_eq!((report.runs, report.crashes), (2 * report.writes, 2 * report.writes));
}

#[test]
fn random_histories_with_crashes_lost_replies_and_conflicts_violate_nothing() {
    for seed in 1..=25 {
        assert_eq!(histories::play(seed), Vec::<String>::new(), "seed {seed}");
    }
}

/// A short run; its digest, and its oracles' verdict.
fn digest(seed: u64) -> (u64, Vec<String>) {
    run(seed, |sim| async move {
        assert!(sim.create(node("n", 4)).is_ok());
        let mut world = World::new(sim.clone(), FaultPlan::none());
        assert!(sim.create(order("o", 3, "OnClaim", "1h")).is_ok());
        for n in 0..3 {
            assert!(sim.create(claimant(&format!("pod-{n}"), "o")).is_ok());
        }
        world.run(Duration::from_mins(2)).await;
        (sim.digest(), oracle::judge(&sim))
    })
}

#[test]
fn a_seed_replays_its_run_and_another_seed_does_not() {
    let (first, violations) = digest(1);
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!(digest(1).0, first);
    assert_ne!(digest(2).0, first);
}
