//! What must hold in the end, when all is settled.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kooper_sim::{Sim, Write};
use korder_api::{Order, TicketPhase};
use korder_core::ask::{Ask, Group, OnTimeout};
use korder_core::node::Node;
use korder_core::pod::Pod;
use korder_core::ticket::Ticket;
use korder_core::{order, ticket};

use super::record::Record;
use crate::world::is_controllers;

/// How long before the end nothing may be written any more.
const QUIET: SignedDuration = SignedDuration::from_secs(30);

/// The controllers write nothing more when all is settled.
pub(super) fn restless(history: &[Record], end: Timestamp) -> Vec<String> {
    let late = |write: &&Arc<Write>| {
        write.time > end - QUIET && is_controllers(&write.actor) && !write.is_of("events.events.k8s.io")
    };
    let tell = |write: &Arc<Write>| {
        format!("write {}: still writing to {} `{}` at the end", write.revision, write.kind, write.name)
    };
    history.iter().map(|record| &record.write).filter(late).map(tell).collect()
}

pub(super) fn all<K: serde::de::DeserializeOwned>(sim: &Sim, resource: &str) -> Vec<K> {
    sim.objects(resource).iter().filter_map(|object| object.parse().ok()).collect()
}

/// In the end nothing is half done, too much, too little, or nobody's.
pub(super) fn leftovers(sim: &Sim) -> Vec<String> {
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
        if !guardian.tickets.iter().any(|owner| uids.contains(owner.uid.as_str())) {
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
