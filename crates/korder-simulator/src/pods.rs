//! Pods that vanish, come again under the same name, or lose their gate by hand, at every stage of their claims.

use std::time::Duration;

use kooper_sim::fault::FaultPlan;
use kooper_sim::{Sim, run};
use korder_api::{TicketPhase, names};
use korder_core::pod::Pod;
use korder_core::ticket::Ticket;
use korder_core::{handover, ticket};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::objects::{claimant, competitor, node, order};
use crate::oracle;
use crate::world::World;

/// The pod that is meddled with.
const POD: &str = "pod-1";
/// Longer than any deadline of a hand-over, and than the quiet that is asked for.
const AFTERMATH: Duration = Duration::from_mins(7);

/// What somebody does to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddling {
    /// Deletes it.
    Delete,
    /// Deletes it, and makes another one of its name at once, as a `StatefulSet` does.
    Replace,
    /// Takes its gates off.
    Ungate,
}

/// Meddles with a pod before the first and after each write of two claims on a full node; how many runs, and what was
/// violated.
pub fn every_stage(seed: u64) -> (usize, Vec<String>) {
    let (writes, mut violations) = play(seed, None);
    let mut runs = 0;
    for after in 0..=writes {
        for meddling in [Meddling::Delete, Meddling::Replace, Meddling::Ungate] {
            let (_, violated) = play(seed, Some((meddling, after)));
            runs += 1;
            violations.extend(violated.iter().map(|what| format!("{meddling:?} after write {after}: {what}")));
        }
    }
    (runs, violations)
}

/// Plays the two claims; how many writes they took, and what was violated.
fn play(seed: u64, meddling: Option<(Meddling, u64)>) -> (u64, Vec<String>) {
    run(seed, |sim| async move {
        create(&sim, node("n1", 4));
        let mut world = World::new(sim.clone(), FaultPlan::none());
        create(&sim, order("o", 4, "OnClaim", "1h"));
        world.until("the order is filled", |sim| pods(sim).iter().filter(|pod| pod.is_running()).count() == 4).await;
        for n in 1..=2 {
            create(&sim, competitor(&format!("other-{n}")));
        }
        world.run(Duration::from_secs(5)).await;
        let before = world.writes();
        for name in [POD, "pod-2"] {
            create(&sim, claimant(name, Some("o")));
        }
        if let Some((meddling, after)) = meddling {
            world.until_writes(before + after).await;
            let user = User { sim: &sim, pods: Api::default_namespaced(sim.client("user")) };
            world.during(user.meddles(meddling)).await;
        } else {
            let bound = |sim: &Sim| pods(sim).iter().filter(|pod| pod.is_claimant() && pod.is_running()).count() == 2;
            world.until("both are bound", bound).await;
            world.run(Duration::from_secs(5)).await;
        }
        let writes = world.writes() - before;
        world.run(AFTERMATH).await;
        let mut violations = oracle::judge(&sim);
        if meddling.is_some_and(|(meddling, _)| meddling == Meddling::Ungate) {
            // Whoever takes the gate off too early loses the place, and is told so.
            violations.retain(|violation| !violation.contains(&format!("pod `{POD}` has lost its place")));
        }
        violations.extend(misused(&sim));
        (writes, violations)
    })
}

/// Somebody with a pod.
struct User<'a> {
    sim: &'a Sim,
    pods: Api<Pod>,
}

impl User<'_> {
    async fn meddles(&self, meddling: Meddling) {
        let now = DeleteParams::default().grace_period(0);
        let done = match meddling {
            Meddling::Delete | Meddling::Replace => self.pods.delete(POD, &now).await.map(drop),
            Meddling::Ungate => {
                let patch = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
                self.pods.patch(POD, &PatchParams::default(), &patch).await.map(drop)
            }
        };
        if let Err(error) = done {
            self.sim.fail(format!("a user's request failed: {error}"));
        }
        if meddling == Meddling::Replace {
            create(self.sim, claimant(POD, Some("o")));
        }
    }
}

/// In the end a ticket is used by the pod that has its place, and whoever has a place by a ticket uses that ticket.
fn misused(sim: &Sim) -> Vec<String> {
    let tickets = sim.objects("tickets.core.korder.dev");
    let tickets: Vec<Ticket> = tickets.iter().filter_map(|object| object.parse().ok()).collect();
    let pods = pods(sim);
    let in_use = |ticket: &&Ticket| {
        ticket.phase() == TicketPhase::Used && ticket.status.as_ref().is_some_and(|status| status.finish_time.is_none())
    };
    let has_it = |pod: &Pod, one: &Ticket| {
        pod.annotation(names::ANNOTATION_BOUND_TICKET) == Some(&ticket::name_for(pod, one))
            && pod.spec.node_name.as_deref() == handover::node_of(one)
            && one.claim().is_some_and(|claim| claim.uid == pod.uid())
    };
    let mut wrong = vec![];
    for ticket in tickets.iter().filter(in_use) {
        // One whose gate was taken off when its place was free already has it all the same.
        if !pods.iter().any(|pod| has_it(pod, ticket)) {
            wrong.push(format!("ticket {:?} is not used by whom it says", ticket.metadata.name));
        }
    }
    for pod in pods.iter().filter(|pod| pod.annotation(names::ANNOTATION_BOUND_TICKET).is_some()) {
        if !tickets.iter().filter(in_use).any(|ticket| has_it(pod, ticket)) {
            wrong.push(format!("pod `{}` says that it has a ticket, and has none", pod.name()));
        }
    }
    wrong
}

fn pods(sim: &Sim) -> Vec<Pod> {
    sim.objects("pods").iter().filter_map(|object| object.parse().ok()).collect()
}

fn create(sim: &Sim, object: serde_json::Value) {
    if let Err(status) = sim.create(object) {
        sim.fail(format!("the scenario could not make an object: {status}"));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn pods_that_are_meddled_with_leave_no_ticket_with_two_owners_or_none() {
        let (runs, violations) = super::every_stage(7);
        assert_eq!(violations, Vec::<String>::new());
        assert!(runs > 40, "the scenario has become empty: {runs}");
    }
}
