//! A ready ticket leaves a node that takes no such pods any more.
//!
//! A second guardian, the successor, is made and placed by the scheduler while the first one still holds its place. Only
//! when it runs does one write of the status say that it is the guardian now: until then the ticket can be claimed where
//! it is, and the same version of the ticket can't be both moved and claimed. The one that is not the guardian is then
//! removed. Each step is read off the two pods, under two names that never change, and the status.
//!
//! A node is left when it keeps new pods of the ticket's tolerations away, for which there is one cause of many: it was
//! cordoned, Cluster autoscaler or Karpenter are about to remove it, its kubelet is silent, or somebody has tainted it. Its
//! place is of no use then: the pods that the ticket is for can't get there either.

use jiff::{SignedDuration, Timestamp};
use korder_api::{TicketPhase, TicketStatus};

use super::held::{replaced_from, too_small};
use super::{
    NODE_POLL, Observed, Place, Plan, QUIET_START, Step, Ticket, held_status, in_the_way, is_guardian_of, making,
    reason, say, without_successor,
};
use crate::fit::{Misfit, nodes};
use crate::handover::node_of;
use crate::limits::Refusal;
use crate::node::Node;
use crate::pod::Toleration;
use crate::reasons;

/// Taints of nodes whose kubelet does not answer, or is not ready.
const SILENT: [&str; 2] = ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"];
/// Most silent nodes speak again, as after a restart: only one that is silent for longer is left. (Kubernetes evicts its
/// pods after five minutes.)
const SILENCE: SignedDuration = SignedDuration::from_secs(60);

/// The next write for a ready ticket whose guardian holds its place.
pub(super) fn plan(seen: &Observed<'_>, guardian: Place<'_>, now: Timestamp) -> Plan {
    let ticket = seen.ticket;
    let why = match leaves(ticket, guardian.node, now) {
        Leaves::Now(why) => why,
        stays => {
            let settled = || Plan::status(ticket, held_status(ticket, guardian.pod, now));
            let mut plan = without_successor(seen).unwrap_or_else(settled);
            plan.wake = stays.time();
            return plan;
        }
    };
    let Some(successor) = seen.successor else {
        return match making(seen, Step::CreateSuccessor) {
            Ok(step) => Plan::step(step),
            Err(why) => Plan::status(ticket, unmoved(ticket, &why, now)),
        };
    };
    if !is_guardian_of(successor.pod, ticket) {
        return Plan::status(ticket, unmoved(ticket, &in_the_way(successor.pod), now));
    }
    if successor.pod.metadata.deletion_timestamp.is_some() {
        // Its name is free when it is gone.
        return Plan::default();
    }
    let left = matches!(leaves(ticket, successor.node, now), Leaves::Now(_));
    if successor.is_stranded() && successor.is_young(now) {
        return Plan::wait_until(now + NODE_POLL);
    }
    if successor.pod.has_ended() || left || successor.is_stranded() {
        return without_successor(seen).unwrap_or_default();
    }
    if let Some(short) = too_small(successor.pod, ticket) {
        let due = replaced_from(successor.pod);
        if due <= now {
            return without_successor(seen).unwrap_or_default();
        }
        let told = Plan::status(ticket, unmovable(ticket, Refusal::GuardianTooSmall, &short, now));
        return Plan { wake: Some(due), ..told };
    }
    if successor.is_held_for(ticket) {
        return Plan::status(ticket, held_status(ticket, successor.pod, now));
    }
    under_way(ticket, guardian, successor, &why, now)
}

/// The successor has no place yet, which is said unless it gets one at once.
fn under_way(ticket: &Ticket, guardian: Place<'_>, successor: Place<'_>, why: &Misfit, now: Timestamp) -> Plan {
    let here = guardian.node.map(Node::name).unwrap_or_default();
    let tell = |reason, what: &str| {
        let message = format!("node `{here}` holds the place, and is to be left since {why}; {what}");
        Plan::status(ticket, still_here(ticket, reason, message, now))
    };
    match (successor.pod.unschedulable(), reason(ticket)) {
        (Some(_), Some(reasons::NO_OTHER_PLACE)) | (None, Some(reasons::MOVING | reasons::NO_OTHER_PLACE)) => {
            Plan::default()
        }
        (Some(message), _) => tell(reasons::NO_OTHER_PLACE, &format!("no other node has one: {message}")),
        (None, _) => match successor.pod.created().map(|made| made + QUIET_START).filter(|&until| now < until) {
            Some(until) => Plan::wait_until(until),
            None => tell(reasons::MOVING, &format!("guardian `{}` is to hold one elsewhere", successor.pod.name())),
        },
    }
}

/// What to tell when a write of the status has moved a ready ticket.
pub fn moved(before: &Ticket, after: &Ticket) -> Option<String> {
    let place = |ticket: &Ticket| {
        let held = ticket.phase() == TicketPhase::Ready;
        held.then(|| (ticket.guardian_name(), node_of(ticket).unwrap_or_default().to_owned()))
    };
    let ((old, from), (new, to)) = (place(before)?, place(after)?);
    (old != new).then(|| format!("from node `{from}` to node `{to}`, where guardian `{new}` holds the place"))
}

/// The status of a ready ticket whose guardian's successor is refused by the API server, or can't be made.
pub fn unmoved(ticket: &Ticket, message: &str, now: Timestamp) -> TicketStatus {
    unmovable(ticket, Refusal::of(message), &format!("a guardian elsewhere can't be made: {message}"), now)
}

fn unmovable(ticket: &Ticket, refusal: Refusal, why: &str, now: Timestamp) -> TicketStatus {
    let message = refusal.advise(&format!("the place is held on a node that is to be left; {why}"));
    still_here(ticket, refusal.reason(), message, now)
}

fn still_here(ticket: &Ticket, reason: &str, message: String, now: Timestamp) -> TicketStatus {
    let mut status = ticket.status.clone().unwrap_or_default();
    say(&mut status, ticket, true, reason, message, now);
    status
}

/// Whether a ticket is to leave a node.
enum Leaves {
    /// Not as things are.
    Not,
    /// From this time on.
    At(Timestamp),
    /// For this reason.
    Now(Misfit),
}

impl Leaves {
    fn time(&self) -> Option<Timestamp> {
        if let Self::At(time) = self { Some(*time) } else { None }
    }
}

fn leaves(ticket: &Ticket, node: Option<&Node>, now: Timestamp) -> Leaves {
    // One that names its node would find no other.
    let Some(node) = node.filter(|_| ticket.is_movable() && ticket.spec().node_name.is_none()) else {
        return Leaves::Not;
    };
    let tolerations: Vec<Toleration> = ticket.spec().tolerations.iter().cloned().map(Toleration::from).collect();
    if let Some(cordoned) = nodes::cordoned(&tolerations, node) {
        return Leaves::Now(cordoned);
    }
    let times = nodes::unborne_taints(&tolerations, node).map(|taint| {
        let added = taint.time_added.as_ref().map(|time| time.0);
        let patience = if SILENT.contains(&taint.key.as_str()) { SILENCE } else { SignedDuration::ZERO };
        (added.map_or(now, |added| added + patience), taint)
    });
    match times.min_by_key(|(time, _)| *time) {
        Some((time, taint)) if time <= now => Leaves::Now(Misfit::from(taint)),
        Some((time, _)) => Leaves::At(time),
        None => Leaves::Not,
    }
}

#[cfg(test)]
mod tests;
