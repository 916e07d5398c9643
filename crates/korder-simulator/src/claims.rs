//! The scenario of two claims at once on a full node, with other pods of the same priority waiting for the place.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kooper_sim::fault::FaultPlan;
use kooper_sim::{Sim, run};
use korder_core::node::Node;
use korder_core::pod::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::Value;

use crate::objects::{claimant, competitor, node, order};
use crate::oracle;
use crate::world::World;

/// How long a run goes on after the claims are through, or should be: longer than any deadline of a hand-over, and than
/// the quiet that is asked for.
const AFTERMATH: Duration = Duration::from_mins(3);

/// How long the claims may take: several deadlines of a hand-over.
const PATIENCE: Duration = Duration::from_mins(5);

/// What goes wrong in a run beside the faults of the controllers' requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing.
    #[default]
    None,
    /// The scheduler dies after this many writes of the controllers, and another begins after a time.
    SchedulerRestart {
        /// Counted from the first claim, from 1.
        write: u64,
        /// How long there is no scheduler.
        away: Duration,
    },
    /// A node goes after this many writes of the controllers, and a larger one comes.
    NodeGone {
        /// Its name.
        node: &'static str,
        /// Counted from the first claim, from 1.
        write: u64,
    },
    /// A second leader works beside the first, which neither should.
    TwoLeaders,
    /// A second leader takes over while the first stands still, which then goes on for a while, not knowing.
    Takeover {
        /// After this many writes of the first, counted from the first claim, from 1.
        write: u64,
        /// How long the first stands still.
        late: Duration,
    },
}

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What its end looks like.
    pub summary: BTreeMap<String, usize>,
    /// What was violated.
    pub violations: Vec<String>,
    /// Writes of the controllers that were alive at the end.
    pub writes: u64,
    /// Writes of all controllers before the first claim.
    pub writes_before: u64,
    /// How often controllers died.
    pub crashes: usize,
    /// Whether a scheduler began in the one moment in which it can't be told of a nomination.
    pub unprotected: bool,
}

/// Plays the scenario: the first controllers live through the first plan, those after each crash through the next.
pub fn play(seed: u64, plans: impl IntoIterator<Item = FaultPlan>, disturbance: &Disturbance) -> Outcome {
    let mut plans: VecDeque<FaultPlan> = plans.into_iter().collect();
    run(seed, |sim| async move {
        for (name, cores) in [("n1", 4), ("n2", 2)] {
            create(&sim, node(name, cores));
        }
        let first = plans.pop_front().unwrap_or_default();
        let mut world = World::new(sim.clone(), first).then(plans);
        create(&sim, order("o", 4, "OnClaim", "1h"));
        world.until("the order is filled", |sim| count(sim, |pod| pod.is_guardian() && pod.is_running()) == 4).await;
        for n in 1..=4 {
            create(&sim, competitor(&format!("other-{n}")));
        }
        world.until("the nodes are full", |sim| count(sim, |pod| pod.spec.node_name.is_some()) == 6).await;
        let writes_before = world.writes();
        for n in 1..=2 {
            create(&sim, claimant(&format!("pod-{n}"), Some("o")));
        }
        match *disturbance {
            Disturbance::None => {}
            Disturbance::TwoLeaders => world.second_leader(),
            Disturbance::Takeover { write, late } => {
                world.until_writes(writes_before + write).await;
                world.second_leader();
                world.first_stands_still(late).await;
            }
            Disturbance::SchedulerRestart { write, away } => {
                world.until_writes(writes_before + write).await;
                world.restart_scheduler(away);
            }
            Disturbance::NodeGone { node: name, write } => {
                world.until_writes(writes_before + write).await;
                let nodes: Api<Node> = Api::all(sim.client("admin"));
                let gone = world.during(nodes.delete(name, &DeleteParams::default())).await;
                if let Err(error) = gone {
                    sim.fail(format!("the node could not be removed: {error}"));
                }
                create(&sim, node("n3", 16));
            }
        }
        let through = |sim: &Sim| count(sim, |pod| pod.is_claimant() && pod.is_running()) == 2;
        world.during(until_or_late(&sim, through)).await;
        world.run(AFTERMATH).await;
        Outcome {
            summary: oracle::summary(&sim),
            violations: oracle::judge(&sim),
            writes: world.writes(),
            writes_before,
            crashes: world.crashes(),
            unprotected: oracle::a_scheduler_began_while_a_place_was_free(&sim),
        }
    })
}

/// Returns when a condition holds, or when it should have held long ago: what is wrong then, the oracles tell.
async fn until_or_late(sim: &Sim, holds: impl Fn(&Sim) -> bool) {
    let mut seen = 0;
    let held = async {
        while !holds(sim) {
            sim.written_since(seen).await;
            seen = sim.revision();
        }
    };
    tokio::time::timeout(PATIENCE, held).await.ok();
}

fn count(sim: &Sim, is: impl Fn(&Pod) -> bool) -> usize {
    sim.objects("pods").iter().filter_map(|pod| pod.parse::<Pod>().ok()).filter(is).count()
}

fn create(sim: &Sim, object: Value) {
    if let Err(status) = sim.create(object) {
        sim.fail(format!("the scenario could not make an object: {status}"));
    }
}
