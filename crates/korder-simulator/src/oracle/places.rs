//! What became of the places: who holds them, who got them, and who lost them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use korder_api::{TicketPhase, names};
use korder_core::ask::Group;
use korder_core::handover::may_try_again;
use korder_core::pod::Pod;
use korder_core::ticket::Ticket;

use super::began_while_free;
use super::overlaps::Overlaps;
use super::record::{Change, Record};
use crate::world::is_controllers;

/// Every pod that was let go for a ticket is bound to that ticket's node, and none is told that it has lost its place:
/// unless somebody has taken the node away, let the pod go by hand, sent a stronger pod, or started a scheduler in the one
/// moment that can't be protected; or two leaders at once have each begun a batch there.
pub(super) fn thefts_and_losses(history: &[Record]) -> Vec<String> {
    let unprotected = began_while_free(history);
    let mut excuses = Excuses::default();
    let mut nodes: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut promised: BTreeMap<(String, String), Option<String>> = BTreeMap::new();
    let mut wrong = vec![];
    for Record { write, change } in history {
        excuses.observe(write, change);
        let (before, after) = match change {
            Change::Ticket(_, Some(ticket)) => {
                nodes.insert(&write.name, ticket.status.as_ref().and_then(|status| status.node_name.clone()));
                continue;
            }
            Change::Pod(before, Some(after)) => (before.as_deref(), after),
            Change::Pod(_, None) | Change::Ticket(_, None) | Change::Other => continue,
        };
        if unprotected || excuses.by_hand.contains(after.uid()) || excuses.stronger {
            continue;
        }
        let has_lost = may_try_again(after) && before.is_some_and(|before| !may_try_again(before));
        if has_lost && excuses.nodes.is_empty() && !before.is_some_and(|before| excuses.overlaps.cost(before)) {
            wrong.push(format!("write {}: pod `{}` has lost its place", write.revision, write.name));
        }
        let Some(ticket) = after.annotation(names::ANNOTATION_BOUND_TICKET) else { continue };
        // When it was let go; the ticket may be deleted then, and another one be made under its name.
        let let_go = (after.uid().to_owned(), ticket.to_owned());
        let promised = promised.entry(let_go).or_insert_with(|| nodes.get(ticket).cloned().flatten()).as_ref();
        let Some(node) = &after.spec.node_name else { continue };
        let is_shut = || promised.is_some_and(|promised| excuses.nodes.contains(promised));
        let was_bound = before.is_some_and(|before| before.spec.node_name.is_some());
        if !was_bound && promised != Some(node) && !is_shut() && !excuses.overlaps.cost(after) {
            wrong.push(format!(
                "write {}: pod `{}` of ticket `{ticket}` came to node `{node}`",
                write.revision, write.name
            ));
        }
    }
    wrong
}

/// What may cost a pod its place.
#[derive(Default)]
struct Excuses {
    /// Nodes that went, or were cordoned: a pod that was promised a place there goes where it likes.
    nodes: BTreeSet<String>,
    /// Pods of which somebody else took the gate off.
    by_hand: BTreeSet<String>,
    /// Whether there was a pod that is stronger than others.
    stronger: bool,
    /// Where two leaders were in each other's way.
    overlaps: Overlaps,
}

impl Excuses {
    fn observe(&mut self, write: &kooper_sim::Write, change: &Change) {
        if write.is_of("nodes") {
            let is_shut = write.after.as_ref().is_none_or(|node| node.value()["spec"]["unschedulable"] == true);
            self.nodes.extend(is_shut.then(|| write.name.clone()));
        }
        self.overlaps.observe(write, change);
        let Change::Pod(before, Some(after)) = change else { return };
        self.stronger |= after.spec.priority.is_some_and(|priority| priority > 0);
        if before.as_ref().is_some_and(|before| before.is_gated()) && !after.is_gated() && !is_controllers(&write.actor)
        {
            self.by_hand.insert(after.uid().to_owned());
        }
    }
}

/// How long the controllers may take to see that a guardian is gone: dead for a while, and with a cache that is behind.
const LAG: SignedDuration = SignedDuration::from_secs(75);

/// A ticket becomes ready only when its guardian has run, and is so only while it does, but for the time that it takes
/// to see; and it is lost only where somebody kept a guardian.
pub(super) fn not_held(history: &[Record]) -> Vec<String> {
    let mut holds: BTreeMap<String, Hold> = BTreeMap::new();
    let mut nodes: BTreeSet<&str> = BTreeSet::new();
    let mut wrong = vec![];
    for Record { write, change } in history {
        match change {
            Change::Other if write.is_of("nodes") && write.after.is_some() => {
                nodes.insert(&write.name);
            }
            Change::Other if write.is_of("nodes") => {
                nodes.remove(write.name.as_str());
                for hold in holds.values_mut() {
                    hold.held.retain(|_, node| *node != write.name);
                }
            }
            Change::Other => {}
            Change::Ticket(before, after) => {
                let hold = holds.entry(write.uid().to_owned()).or_default();
                let is = |ticket: &Option<Rc<Ticket>>, phase| ticket.as_ref().is_some_and(|it| it.phase() == phase);
                hold.ready = after.as_ref().filter(|_| is(after, TicketPhase::Ready)).map(|it| it.guardian_name());
                if hold.ready.is_some() && !hold.was_held {
                    wrong
                        .push(format!("write {}: ticket `{}` is ready and was never held", write.revision, write.name));
                }
                if is(after, TicketPhase::Lost) && !is(before, TicketPhase::Lost) && !hold.was_kept {
                    wrong.push(format!("write {}: ticket `{}` is lost without cause", write.revision, write.name));
                }
            }
            Change::Pod(before, after) => {
                let Some(ticket) = before.as_ref().or(after.as_ref()).and_then(|pod| ticket_of(pod)) else { continue };
                let hold = holds.entry(ticket).or_default();
                hold.held.remove(&write.name);
                let pod = after.as_deref();
                let node = pod.filter(|pod| pod.is_running()).and_then(|pod| pod.spec.node_name.clone());
                let node = node.filter(|node| nodes.contains(node.as_str()));
                hold.was_held |= node.is_some();
                hold.was_kept |= pod.is_some_and(|pod| pod.metadata.finalizers.iter().flatten().next().is_some());
                hold.held.extend(node.map(|node| (write.name.clone(), node)));
            }
        }
        for (ticket, hold) in &mut holds {
            let length = hold.observe(write.time);
            wrong.extend(length.map(|time| format!("ticket {ticket} was ready and not held for {time:#}")));
        }
    }
    wrong
}

/// What is known of who holds a ticket's place.
#[derive(Default)]
struct Hold {
    /// The name of its guardian, while it is ready.
    ready: Option<String>,
    /// Its guardians that run, and the nodes on which they do.
    held: BTreeMap<String, String>,
    was_held: bool,
    was_kept: bool,
    /// Since when it is ready and not held.
    since: Option<Timestamp>,
}

impl Hold {
    /// For how long it has been ready and not held, if too long.
    fn observe(&mut self, now: Timestamp) -> Option<SignedDuration> {
        let since = self.since.take();
        let is_unheld = self.ready.as_ref().is_some_and(|guardian| !self.held.contains_key(guardian));
        let length = since.map(|since| now.duration_since(since)).filter(|length| *length > LAG);
        if length.is_none() && is_unheld {
            self.since = since.or(Some(now));
        }
        length
    }
}

/// The uid of the ticket that a pod guards.
fn ticket_of(pod: &Pod) -> Option<String> {
    pod.tickets.first().filter(|_| pod.is_guardian()).map(|owner| owner.uid.clone())
}

/// No pod of a group is let go for a ticket before so many of the group have had one.
pub(super) fn split_groups(history: &[Record]) -> Vec<String> {
    let mut claimed: BTreeSet<String> = BTreeSet::new();
    let mut groups: BTreeMap<(String, usize), BTreeSet<String>> = BTreeMap::new();
    let mut wrong = vec![];
    for Record { write, change } in history {
        if let Change::Ticket(_, Some(ticket)) = change {
            claimed.extend(ticket.claim().map(|claim| claim.uid.clone()));
        }
        let Change::Pod(_, Some(pod)) = change else { continue };
        let Some(group) = Group::of(pod) else { continue };
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
