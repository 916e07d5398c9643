//! What must hold of every run, whatever went wrong in it.

mod end;
mod overlaps;
mod owners;
mod places;
mod record;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kooper_sim::Sim;
use korder_api::{TicketPhase, names};
use korder_core::pod::Pod;
use korder_core::ticket::Ticket;

use end::all;
use record::{Change, Record, records};

/// Judges the whole history and the end state; what was violated, in words.
pub fn judge(sim: &Sim) -> Vec<String> {
    judgement(sim, false)
}

/// Like [`judge`], of a run in which there were two leaders at once.
pub fn judge_two_leaders(sim: &Sim) -> Vec<String> {
    judgement(sim, true)
}

fn judgement(sim: &Sim, two_leaders: bool) -> Vec<String> {
    let history = records(sim);
    let mut violations = owners::judge(&history, two_leaders);
    violations.extend(places::thefts_and_losses(&history));
    violations.extend(places::not_held(&history));
    violations.extend(places::split_groups(&history));
    violations.extend(end::restless(&history, sim.clock().now()));
    violations.extend(end::leftovers(sim));
    violations
}

/// How long it takes from the controllers' last look at the Lease to the end of a guardian, and from the ungating of its
/// pod until the scheduler thinks of that.
const DELIVERY: SignedDuration = SignedDuration::from_millis(20);

/// No hand-over takes longer: where no pod was let go by then, none will be.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

/// Whether a scheduler took its Lease between the controllers' last look at it before the end of a guardian, and the
/// ungating of the pod that was to have the place: it has listed the pod behind its gate, and nothing tells it of the
/// nomination in time.
pub fn a_scheduler_began_while_a_place_was_free(sim: &Sim) -> bool {
    began_while_free(&records(sim))
}

fn began_while_free(history: &[Record]) -> bool {
    let began = history.iter().map(|record| &record.write).filter(|write| write.is_of("leases.coordination.k8s.io"));
    let began: Vec<Timestamp> = began.map(|write| write.time).collect();
    let freed = history.iter().enumerate().filter_map(|(index, Record { write, change })| {
        let Change::Pod(Some(guardian), None) = change else { return None };
        let ticket = guardian.label(names::LABEL_TICKET).filter(|_| guardian.is_guardian())?;
        let let_go = |later: &&Record| {
            let Change::Pod(_, Some(pod)) = &later.change else { return false };
            !pod.is_gated() && pod.annotation(names::ANNOTATION_BOUND_TICKET) == Some(ticket)
        };
        let mut soon = history[index..].iter().take_while(|later| later.write.time < write.time + LONGEST);
        Some(write.time - DELIVERY..soon.find(let_go)?.write.time + DELIVERY)
    });
    !began.is_empty() && freed.into_iter().any(|free| began.iter().any(|time| free.contains(time)))
}

/// The end state with what is random masked: how many tickets of each order are in which phase, and how many pods that
/// asked are bound.
pub fn summary(sim: &Sim) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for ticket in all::<Ticket>(sim, "tickets.core.korder.dev") {
        let order = ticket.order().map(|(name, _)| name.to_owned()).unwrap_or_default();
        *counts.entry(format!("order {order}: {}", ticket.phase().as_str())).or_default() += 1;
    }
    for pod in all::<Pod>(sim, "pods").iter().filter(|pod| pod.is_claimant()) {
        let state = if pod.spec.node_name.is_some() { "bound" } else { "waiting" };
        *counts.entry(format!("claimants {state}")).or_default() += 1;
    }
    counts
}

/// How often tickets came into each phase.
pub fn events(sim: &Sim) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for record in records(sim) {
        let Change::Ticket(before, Some(after)) = &record.change else { continue };
        if before.as_ref().map(|before| before.phase()) == Some(after.phase()) {
            continue;
        }
        let what = match after.phase() {
            TicketPhase::Pending => "tickets pending",
            TicketPhase::Ready => "tickets ready",
            TicketPhase::Claimed => "tickets claimed",
            TicketPhase::Used => "tickets used",
            TicketPhase::Expired => "tickets expired",
            TicketPhase::Lost => "tickets lost",
        };
        *counts.entry(what).or_default() += 1;
    }
    counts
}
