//! Nodes that are cordoned under ready tickets, with claims coming in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kooper_sim::fault::FaultPlan;
use kooper_sim::{Sim, Write, run};
use korder_api::TicketPhase;
use korder_core::handover::may_try_again;
use korder_core::node::Node;
use korder_core::pod::Pod;
use korder_core::ticket::Ticket;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::objects::{claimant, node, order};
use crate::oracle;
use crate::world::World;

/// The node that is cordoned.
const CORDONED: &str = "n1";
/// Five for each of the two claims, and three for each ticket that makes up for theirs.
const WRITES_OF_CLAIMS: u64 = 16;
/// Longer than any deadline, and than the quiet that is asked for.
const AFTERMATH: Duration = Duration::from_mins(3);

/// What else is done to the cordoned node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// After so many writes of the controllers its guardians are evicted, as by a drain.
    Evict(u64),
    /// After so many writes of the controllers it is uncordoned.
    Uncordon(u64),
    /// Not before so many writes of the claims this one is cordoned.
    Late(&'static str, u64),
}

/// One run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What its end looks like.
    pub summary: BTreeMap<String, usize>,
    /// What was violated.
    pub violations: Vec<String>,
    /// Writes of the controllers before the cordon.
    pub writes_before: u64,
    /// Writes of the controllers that were alive at the end.
    pub writes: u64,
    /// How often the controllers died.
    pub crashes: usize,
    /// How many tickets were moved while they were ready.
    pub moves: usize,
    /// How many pods that were let go lost their place.
    pub lost: usize,
}

/// Plays the scenario: five tickets on two nodes, one of which is cordoned while two pods claim. The other has so many
/// cores.
pub fn play(seed: u64, cores: u32, plan: FaultPlan, then: Then) -> Outcome {
    run(seed, |sim| async move {
        create(&sim, node(CORDONED, 4));
        create(&sim, node("n2", cores));
        let mut world = World::new(sim.clone(), plan);
        create(&sim, order("o", 5, "OnClaim", "1h"));
        world.until("the order is filled", |sim| ready(sim).count() == 5).await;
        let writes_before = world.writes();
        if !matches!(then, Then::Late(..)) {
            cordon(&mut world, CORDONED, true).await;
        }
        create(&sim, claimant("pod-1", Some("o")));
        let mut tolerant = claimant("pod-2", Some("o"));
        tolerant["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        create(&sim, tolerant);
        match then {
            Then::Nothing => {}
            Then::Evict(write) => {
                world.until_writes(writes_before + write).await;
                evict(&mut world).await;
            }
            Then::Uncordon(write) => {
                world.until_writes(writes_before + write).await;
                cordon(&mut world, CORDONED, false).await;
            }
            Then::Late(node, write) => {
                world.until_writes(writes_before + write).await;
                cordon(&mut world, node, true).await;
            }
        }
        world.run(AFTERMATH).await;
        let history = sim.history();
        let mut violations = oracle::judge(&sim);
        if matches!(then, Then::Nothing | Then::Uncordon(_)) {
            violations.extend(gaps(&history));
        }
        let (writes, crashes) = (world.writes(), world.crashes());
        let summary = oracle::summary(&sim);
        let (moves, lost) = (moves(&history), lost(&history));
        Outcome { summary, violations, writes_before, writes, crashes, moves, lost }
    })
}

/// Kills the controllers before and after each write that follows the cordon; how many runs, and what was violated.
pub fn every_point(seed: u64) -> (u64, Vec<String>) {
    let whole = play(seed, 8, FaultPlan::none(), Then::Nothing);
    let mut violations = whole.violations.clone();
    if whole.moves == 0 {
        violations.push("no ticket was moved".to_owned());
    }
    let mut runs = 0;
    for write in whole.writes_before + 1..=whole.writes {
        for plan in [FaultPlan::crash_before_write(write), FaultPlan::crash_after_write(write)] {
            let run = play(seed, 8, plan.clone(), Then::Nothing);
            runs += 1;
            let what = format!("cordoned, and {plan:?}");
            violations.extend(run.violations.iter().map(|violation| format!("{what}: {violation}")));
            if run.summary != whole.summary || run.crashes != 1 {
                violations.push(format!("{what}: the end is {:?}, not {:?}", run.summary, whole.summary));
            }
        }
    }
    (runs, violations)
}

/// Evicts the guardians, or uncordons the node, after each write that follows the cordon, with room elsewhere and
/// without; how many runs, and what was violated.
pub fn every_change_of_mind(seed: u64) -> (u64, Vec<String>) {
    let mut violations = vec![];
    let mut runs = 0;
    for cores in [8, 3] {
        let whole = play(seed, cores, FaultPlan::none(), Then::Nothing);
        violations.extend(whole.violations.iter().map(|violation| format!("{cores} cores elsewhere: {violation}")));
        for write in 1..=whole.writes - whole.writes_before {
            for then in [Then::Evict(write), Then::Uncordon(write)] {
                let run = play(seed, cores, FaultPlan::none(), then);
                runs += 1;
                let what = format!("{cores} cores elsewhere, {then:?}");
                violations.extend(run.violations.iter().map(|violation| format!("{what}: {violation}")));
            }
        }
    }
    (runs, violations)
}

/// Cordons each node after each write of the claims; how many runs, how often a pod that was let go lost its place, and what
/// was violated.
///
/// Both pods get a place in the end: one that is behind its gate takes another ticket, one that was let go is tried again.
pub fn every_late_cordon(seed: u64) -> (u64, usize, Vec<String>) {
    let (mut violations, mut runs, mut lost) = (vec![], 0, 0);
    let points = (1..=WRITES_OF_CLAIMS).flat_map(|write| [CORDONED, "n2"].map(|node| (node, write)));
    for (node, write) in points {
        let run = play(seed, 8, FaultPlan::none(), Then::Late(node, write));
        runs += 1;
        lost += run.lost;
        let what = format!("node `{node}` cordoned after write {write} of the claims");
        violations.extend(run.violations.iter().map(|violation| format!("{what}: {violation}")));
        if run.summary.get("claimants bound") != Some(&2) {
            violations.push(format!("{what}: the end is {:?}", run.summary));
        }
    }
    (runs, lost, violations)
}

async fn cordon(world: &mut World, node: &str, cordoned: bool) {
    let nodes: Api<Node> = Api::all(world.sim.client("admin"));
    let patch = Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
    if let Err(error) = world.during(nodes.patch(node, &PatchParams::default(), &patch)).await {
        world.sim.fail(format!("the node could not be cordoned or uncordoned: {error}"));
    }
}

async fn evict(world: &mut World) {
    let pods: Api<Pod> = Api::default_namespaced(world.sim.client("admin"));
    let there: Vec<Pod> = world.sim.objects("pods").iter().filter_map(|pod| pod.parse().ok()).collect();
    for pod in there.iter().filter(|pod| pod.is_guardian() && pod.spec.node_name.as_deref() == Some(CORDONED)) {
        match world.during(pods.delete(pod.name(), &DeleteParams::default())).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => world.sim.fail(format!("a guardian could not be evicted: {error}")),
            Ok(_) => {}
        }
    }
}

fn ready(sim: &Sim) -> impl Iterator<Item = Ticket> {
    let tickets = sim.objects("tickets.core.korder.dev").into_iter();
    let tickets = tickets.filter_map(|ticket| ticket.parse::<Ticket>().ok());
    tickets.filter(|ticket| ticket.phase() == TicketPhase::Ready)
}

/// The ticket before and after each write of one.
fn changes(history: &[Arc<Write>]) -> impl Iterator<Item = (Ticket, Ticket)> {
    history.iter().filter(|write| write.is_of("tickets.core.korder.dev")).filter_map(|write| {
        let side = |side: &Option<Arc<kooper_sim::Object>>| side.as_ref()?.parse::<Ticket>().ok();
        Some((side(&write.before)?, side(&write.after)?))
    })
}

/// Ready tickets that were without a place: a move leaves none.
fn gaps(history: &[Arc<Write>]) -> Vec<String> {
    let lost = changes(history)
        .filter(|(before, after)| before.phase() == TicketPhase::Ready && after.phase() == TicketPhase::Pending);
    let names: BTreeSet<String> = lost.filter_map(|(ticket, _)| ticket.metadata.name).collect();
    names.into_iter().map(|name| format!("ticket `{name}` was without a place")).collect()
}

fn lost(history: &[Arc<Write>]) -> usize {
    let loses = |write: &&Arc<Write>| {
        let side = |side: &Option<Arc<kooper_sim::Object>>| {
            side.as_ref().and_then(|pod| pod.parse::<Pod>().ok()).is_some_and(|pod| may_try_again(&pod))
        };
        write.is_of("pods") && side(&write.after) && !side(&write.before)
    };
    history.iter().filter(loses).count()
}

fn moves(history: &[Arc<Write>]) -> usize {
    changes(history).filter(|(before, after)| korder_core::ticket::moved(before, after).is_some()).count()
}

fn create(sim: &Sim, object: Value) {
    if let Err(status) = sim.create(object) {
        sim.fail(format!("the scenario could not make an object: {status}"));
    }
}
