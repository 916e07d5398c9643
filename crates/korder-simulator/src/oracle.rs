//! What must hold of every run, whatever went wrong in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kooper_sim::{Sim, Write};
use korder_api::{Order, Ticket, TicketPhase, names};
use korder_core::ask::{Ask, Group, OnTimeout};
use korder_core::handover::may_try_again;
use korder_core::node::Node;
use korder_core::pod::Pod;
use korder_core::scheduler::SETTLE;
use korder_core::{order, ticket};

use crate::world::CONTROLLERS;

/// How long before the end nothing may be written any more.
const QUIET: SignedDuration = SignedDuration::from_secs(30);

/// Judges the whole history and the end state; what was violated, in words.
pub fn judge(sim: &Sim) -> Vec<String> {
    let history = sim.history();
    let mut violations = Owners::judge(&history);
    violations.extend(thefts(&history));
    violations.extend(losses(&history));
    violations.extend(split_groups(&history));
    violations.extend(restless(&history, sim.clock().now()));
    violations.extend(leftovers(sim));
    violations
}

/// No ticket ever has two owners, no pod two tickets.
#[derive(Default)]
struct Owners {
    /// Ticket uid to pod uid.
    owner: BTreeMap<String, String>,
    violations: Vec<String>,
}

impl Owners {
    fn judge(history: &[Arc<Write>]) -> Vec<String> {
        let mut owners = Self::default();
        for write in history.iter().filter(|write| write.is_of("tickets.core.korder.dev")) {
            owners.observe(write);
        }
        owners.violations
    }

    fn observe(&mut self, write: &Write) {
        let ticket = write.after.as_ref().and_then(|object| object.parse::<Ticket>().ok());
        let claim = ticket.as_ref().and_then(Ticket::claim).map(|claim| claim.uid.clone());
        let before = match claim.clone() {
            Some(pod) => self.owner.insert(write.uid().to_owned(), pod),
            None => self.owner.remove(write.uid()),
        };
        let Some(pod) = claim else { return };
        let (revision, name) = (write.revision, &write.name);
        if before.is_some_and(|before| before != pod) {
            self.violations.push(format!("write {revision}: ticket `{name}` passed from one pod to another"));
        }
        if self.owner.values().filter(|owner| **owner == pod).count() > 1 {
            self.violations.push(format!("write {revision}: the pod of ticket `{name}` has another ticket too"));
        }
    }
}

/// Every pod that was let go for a ticket is bound to that ticket's node.
fn thefts(history: &[Arc<Write>]) -> Vec<String> {
    let mut nodes: BTreeMap<String, Option<String>> = BTreeMap::new();
    // A pod that was promised a place on such a node goes where it likes.
    let mut gone: BTreeSet<String> = BTreeSet::new();
    let mut thefts = vec![];
    for write in history {
        if is_closed(write) {
            gone.insert(write.name.clone());
        }
        let Some(after) = &write.after else { continue };
        if write.is_of("tickets.core.korder.dev")
            && let Ok(ticket) = after.parse::<Ticket>()
        {
            nodes.insert(write.name.clone(), ticket.status.and_then(|status| status.node_name));
        }
        let was_bound =
            |write: &Write| write.before.as_ref().is_some_and(|pod| pod.value()["spec"]["nodeName"].is_string());
        if !write.is_of("pods") || was_bound(write) {
            continue;
        }
        let Ok(pod) = after.parse::<Pod>() else { continue };
        let (Some(node), Some(ticket)) = (&pod.spec.node_name, pod.annotation(names::ANNOTATION_BOUND_TICKET)) else {
            continue;
        };
        let promised = nodes.get(ticket).and_then(Option::as_ref);
        if promised != Some(node) && promised.is_none_or(|promised| !gone.contains(promised)) {
            thefts.push(format!(
                "write {}: pod `{}` of ticket `{ticket}` came to node `{node}`",
                write.revision, write.name
            ));
        }
    }
    thefts
}

/// Whether a node goes by this, or takes pods no more.
fn is_closed(write: &Write) -> bool {
    let open = write.after.as_ref().is_some_and(|node| node.value()["spec"]["unschedulable"] != true);
    write.is_of("nodes") && !open
}

/// No pod that was let go is told that it has lost its place, unless a node went.
fn losses(history: &[Arc<Write>]) -> Vec<String> {
    let mut losses = vec![];
    for write in history {
        if is_closed(write) {
            return losses;
        }
        let pod = |side: &Option<Arc<kooper_sim::Object>>| side.as_ref().and_then(|pod| pod.parse::<Pod>().ok());
        let (Some(before), Some(after)) = (pod(&write.before), pod(&write.after)) else { continue };
        if write.is_of("pods") && may_try_again(&after) && !may_try_again(&before) {
            losses.push(format!("write {}: pod `{}` has lost its place", write.revision, write.name));
        }
    }
    losses
}

/// How long it takes from the controllers' last look at the Lease to the end of a guardian, and from the ungating of its
/// pod until the scheduler thinks of that.
const DELIVERY: SignedDuration = SignedDuration::from_millis(20);

/// Whether a scheduler took its Lease between the controllers' last look at it before the end of a guardian, and the
/// ungating of the pod that was to have the place: it has listed the pod behind its gate, and nothing tells it of the
/// nomination in time.
pub fn a_scheduler_began_while_a_place_was_free(sim: &Sim) -> bool {
    let history = sim.history();
    let began = history.iter().filter(|write| write.is_of("leases.coordination.k8s.io"));
    let mut freed: Vec<(Timestamp, Timestamp)> = vec![];
    for write in history.iter().filter(|write| write.is_of("pods") && write.after.is_none()) {
        let Some(guardian) = write.before.as_ref().and_then(|pod| pod.parse::<Pod>().ok()) else { continue };
        let ungated = |later: &&Arc<Write>| {
            let gated = |pod: &Option<Arc<kooper_sim::Object>>| {
                pod.as_ref().is_some_and(|pod| pod.value()["spec"]["schedulingGates"].is_array())
            };
            later.revision > write.revision && later.is_of("pods") && gated(&later.before) && !gated(&later.after)
        };
        if guardian.is_guardian() {
            // The pods of a batch are ungated together: the last of those that follow within a moment.
            let ungated = history.iter().filter(ungated).take_while(|later| later.time < write.time + SETTLE);
            freed.extend(ungated.last().map(|last| (write.time, last.time)));
        }
    }
    began
        .into_iter()
        .any(|lease| freed.iter().any(|(from, to)| (*from - DELIVERY..*to + DELIVERY).contains(&lease.time)))
}

/// The controllers write nothing more when all is settled.
fn restless(history: &[Arc<Write>], end: Timestamp) -> Vec<String> {
    let late = |write: &&Arc<Write>| {
        write.time > end - QUIET && &*write.actor == CONTROLLERS && !write.is_of("events.events.k8s.io")
    };
    let tell = |write: &Arc<Write>| {
        format!("write {}: still writing to {} `{}` at the end", write.revision, write.kind, write.name)
    };
    history.iter().filter(late).map(tell).collect()
}

fn all<K: serde::de::DeserializeOwned>(sim: &Sim, resource: &str) -> Vec<K> {
    sim.objects(resource).iter().filter_map(|object| object.parse().ok()).collect()
}

/// In the end nothing is half done, too much, too little, or nobody's.
fn leftovers(sim: &Sim) -> Vec<String> {
    let orders: Vec<Order> = all(sim, "orders.core.korder.dev");
    let tickets: Vec<Ticket> = all(sim, "tickets.core.korder.dev");
    let pods: Vec<Pod> = all(sim, "pods");
    let nodes: Vec<Node> = all(sim, "nodes");
    let mut wrong = vec![];
    for ticket in &tickets {
        let name = ticket.metadata.name.as_deref().unwrap_or_default();
        let guardian = pods.iter().find(|pod| ticket::is_the_guardian_of(pod, ticket));
        let holder = ticket.claim().and_then(|claim| pods.iter().find(|pod| pod.uid() == claim.uid));
        let fault = match ticket.phase() {
            TicketPhase::Claimed => Some("is still being handed over"),
            TicketPhase::Ready if !guardian.is_some_and(Pod::is_running) => Some("is ready and not held"),
            TicketPhase::Pending if guardian.is_none() => Some("is pending and has no guardian"),
            TicketPhase::Used if guardian.is_some() => Some("is used and still guarded"),
            TicketPhase::Used if holder.is_none() => Some("is used by nobody"),
            _ => None,
        };
        wrong.extend(fault.map(|fault| format!("ticket `{name}` {fault}")));
    }
    wrong.extend(tickets.iter().filter_map(|ticket| unneeded(ticket, &pods, &nodes)));
    let uids: BTreeSet<&str> = tickets.iter().filter_map(|ticket| ticket.metadata.uid.as_deref()).collect();
    for guardian in pods.iter().filter(|pod| pod.is_guardian()) {
        let owners = guardian.metadata.owner_references.iter().flatten();
        if !owners.into_iter().any(|owner| uids.contains(owner.uid.as_str())) {
            wrong.push(format!("guardian `{}` is nobody's", guardian.name()));
        }
    }
    for one in &orders {
        let uid = one.metadata.uid.as_deref();
        let own: Vec<&Ticket> = tickets.iter().filter(|ticket| ticket.order().map(|(_, uid)| uid) == uid).collect();
        let plan = order::plan(one, &own, sim.clock().now());
        let name = one.metadata.name.as_deref().unwrap_or_default();
        if !plan.create.is_empty() || !plan.delete.is_empty() {
            wrong.push(format!(
                "order `{name}` lacks {} tickets and has {} too many",
                plan.create.len(),
                plan.delete.len()
            ));
        }
        if plan.status.is_some() {
            wrong.push(format!("the status of order `{name}` is not what is there"));
        }
    }
    wrong.extend(pods.iter().filter_map(|pod| waits_in_vain(pod, &pods, &tickets)));
    wrong
}

/// A ticket that has a second guardian and is not to leave its node, or could leave it and has not.
fn unneeded(ticket: &Ticket, pods: &[Pod], nodes: &[Node]) -> Option<String> {
    let second = |pod: &&Pod| ticket::is_guardian_of(pod, ticket) && !ticket::is_the_guardian_of(pod, ticket);
    let second = pods.iter().find(second)?;
    let place = ticket.status.as_ref().and_then(|status| status.node_name.as_deref());
    let left = nodes.iter().any(|node| node.spec.unschedulable && Some(node.name()) == place);
    let fault = match (left && ticket.phase() == TicketPhase::Ready, second.is_running()) {
        (false, _) => "a second guardian for nothing",
        (true, true) => "a second guardian that runs, and is where it was",
        (true, false) => return None,
    };
    Some(format!("ticket `{}` has {fault}", ticket.metadata.name.as_deref().unwrap_or_default()))
}

/// A pod that waits though it could be served, or does not want to wait.
fn waits_in_vain(pod: &Pod, pods: &[Pod], tickets: &[Ticket]) -> Option<String> {
    let waits = |pod: &Pod| pod.is_claimant() && pod.is_gated() && !pod.is_ending();
    if !waits(pod) {
        return None;
    }
    let ask = Ask::of(pod).ok()?;
    let is_ready = |ticket: &&Ticket| {
        let order = ticket.order().map(|(name, _)| name);
        ticket.phase() == TicketPhase::Ready && ask.wanted.order.is_none_or(|(_, name)| Some(name) == order)
    };
    let ready = tickets.iter().filter(is_ready).count();
    let (needed, here) = ask.group.map_or((1, 1), |group| {
        let here = pods.iter().filter(|other| waits(other) && Group::of(other) == Some(group));
        (group.size, here.count())
    });
    let fault = if !ask.required {
        "though it requires no ticket"
    } else if ask.timeout.is_some_and(|timeout| timeout.then != OnTimeout::Wait) {
        "though its time is long over"
    } else if here >= needed && ready >= needed {
        "though a ticket of its order is ready"
    } else {
        return None;
    };
    Some(format!("pod `{}` waits {fault}", pod.name()))
}

/// No pod of a group is let go for a ticket before so many of the group have had one.
fn split_groups(history: &[Arc<Write>]) -> Vec<String> {
    let mut claimed: BTreeSet<String> = BTreeSet::new();
    let mut groups: BTreeMap<(String, usize), BTreeSet<String>> = BTreeMap::new();
    let mut wrong = vec![];
    for write in history {
        let Some(after) = &write.after else { continue };
        if write.is_of("tickets.core.korder.dev")
            && let Ok(ticket) = after.parse::<Ticket>()
        {
            claimed.extend(ticket.claim().map(|claim| claim.uid.clone()));
        }
        if !write.is_of("pods") {
            continue;
        }
        let Ok(pod) = after.parse::<Pod>() else { continue };
        let Some(group) = Group::of(&pod) else { continue };
        let members = groups.entry((group.name.to_owned(), group.size)).or_default();
        members.insert(pod.uid().to_owned());
        let let_go = !pod.is_gated() && pod.annotation(names::ANNOTATION_BOUND_TICKET).is_some();
        if let_go && members.intersection(&claimed).count() < group.size {
            wrong.push(format!(
                "write {}: pod `{}` was let go before its group had tickets",
                write.revision,
                pod.name()
            ));
        }
    }
    wrong
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
