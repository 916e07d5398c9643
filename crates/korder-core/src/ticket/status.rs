//! What a ticket's status says in each state.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use korder_api::ticket::ClaimRef;
use korder_api::{TicketPhase, TicketStatus};

use super::held::{holds, too_large};
use super::{Ticket, is_the_guardian_of};
use crate::conditions::{self, Progress, Say};
use crate::limits::Refusal;
use crate::pod::Pod;
use crate::reasons;

/// The reason of the ticket's `Ready` condition.
pub fn reason(ticket: &Ticket) -> Option<&str> {
    let conditions = &ticket.status.as_ref()?.conditions;
    Some(conditions.iter().find(|condition| condition.type_ == conditions::READY)?.reason.as_str())
}

/// The status after the guardian was refused by the API server, or can't be made.
pub fn refused(ticket: &Ticket, message: &str, now: Timestamp) -> TicketStatus {
    stalled(ticket, Refusal::of(message), &format!("the guardian can't be made: {message}"), now)
}

/// The status of a ticket whose guardian can't be made as it should be.
pub(super) fn stalled(ticket: &Ticket, refusal: Refusal, message: &str, now: Timestamp) -> TicketStatus {
    let mut status = unheld(ticket);
    let message = refusal.advise(message);
    let ready = Say { type_: conditions::READY, holds: false, reason: refusal.reason(), message };
    conditions::summarize(&mut status.conditions, ready, Progress::Stalled, ticket.metadata.generation, now);
    status
}

/// The status of a ticket given to a pod.
pub fn claimed(ticket: &Ticket, pod: &Pod, now: Timestamp) -> TicketStatus {
    let mut status = TicketStatus {
        phase: Some(TicketPhase::Claimed),
        claim_ref: Some(Box::new(ClaimRef::new(pod.namespace(), pod.name(), pod.uid(), now))),
        ..ticket.status.clone().unwrap_or_default()
    };
    say(&mut status, ticket, true, reasons::HANDING_OVER, format!("given to pod `{}`", pod.name()), now);
    status
}

/// The status of a ticket whose pod is bound to its node.
pub fn in_use(ticket: &Ticket, now: Timestamp) -> TicketStatus {
    let mut status = TicketStatus { phase: Some(TicketPhase::Used), ..ticket.status.clone().unwrap_or_default() };
    // From here on it lasts as long as its pod.
    status.expiration_time = None;
    let holder = status.claim_ref.as_ref().map(|claim| claim.name.clone()).unwrap_or_default();
    say(&mut status, ticket, true, reasons::IN_USE, format!("pod `{holder}` has the place"), now);
    status
}

/// The status of a ticket that its pod does not take: ready while the guardian still holds the place, else pending.
pub fn given_back(ticket: &Ticket, guardian: Option<&Pod>, why: &str, now: Timestamp) -> TicketStatus {
    match guardian.filter(|guardian| holds(guardian, ticket) && is_the_guardian_of(guardian, ticket)) {
        Some(guardian) => held_status(ticket, guardian, now),
        None => pending(ticket, reasons::GIVEN_BACK, why, now),
    }
}

/// The status of a ticket whose place can't be freed or held any more.
pub fn lost(ticket: &Ticket, why: &str, now: Timestamp) -> TicketStatus {
    let mut status = TicketStatus { phase: Some(TicketPhase::Lost), finish_time: Some(Time(now)), ..unheld(ticket) };
    say(&mut status, ticket, false, reasons::LOST, why.to_owned(), now);
    status
}

/// The status of a claimed ticket whose guardian the API server does not let go.
pub fn not_removed(ticket: &Ticket, why: &str, now: Timestamp) -> TicketStatus {
    let mut status = ticket.status.clone().unwrap_or_default();
    say(&mut status, ticket, true, reasons::GUARDIAN_NOT_REMOVED, format!("the guardian can't be removed: {why}"), now);
    status
}

pub(super) fn held_status(ticket: &Ticket, guardian: &Pod, now: Timestamp) -> TicketStatus {
    let before = ticket.status.clone().unwrap_or_default();
    let ready_time = before.ready_time.clone().unwrap_or(Time(now));
    let lasts = ticket.spec().duration.as_ref().map(korder_api::Duration::get);
    let expiration_time = before.expiration_time.clone().or_else(|| Some(Time(ready_time.0.checked_add(lasts?).ok()?)));
    let node_name = guardian.spec.node_name.clone();
    let enlarged = too_large(guardian, ticket)
        .map(|told| format!("; {told}: a LimitRange's defaults or a webhook has made it larger"))
        .unwrap_or_default();
    let message = format!("node `{}` holds the place{enlarged}", node_name.as_deref().unwrap_or_default());
    let mut status = TicketStatus {
        phase: Some(TicketPhase::Ready),
        claim_ref: None,
        node_name,
        guardian_name: Some(guardian.name().to_owned()),
        ready_time: Some(ready_time),
        expiration_time,
        ..before
    };
    say(&mut status, ticket, true, reasons::HELD, message, now);
    status
}

pub(super) fn expired(ticket: &Ticket, now: Timestamp) -> TicketStatus {
    let mut status = TicketStatus {
        phase: Some(TicketPhase::Expired),
        finish_time: Some(Time(now)),
        ..ticket.status.clone().unwrap_or_default()
    };
    say(&mut status, ticket, false, reasons::EXPIRED, "no pod came before its time was over".to_owned(), now);
    status
}

pub(super) fn pending(ticket: &Ticket, reason: &str, message: &str, now: Timestamp) -> TicketStatus {
    let mut status = unheld(ticket);
    let ready = Say { type_: conditions::READY, holds: false, reason, message: message.to_owned() };
    conditions::summarize(&mut status.conditions, ready, Progress::Reconciling, ticket.metadata.generation, now);
    status
}

pub(super) fn unheld(ticket: &Ticket) -> TicketStatus {
    TicketStatus {
        phase: Some(TicketPhase::Pending),
        observed_generation: ticket.metadata.generation,
        claim_ref: None,
        node_name: None,
        ..ticket.status.clone().unwrap_or_default()
    }
}

pub(super) fn say(
    status: &mut TicketStatus,
    ticket: &Ticket,
    holds: bool,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let generation = ticket.metadata.generation;
    status.observed_generation = generation;
    let ready = Say { type_: conditions::READY, holds, reason, message };
    conditions::summarize(&mut status.conditions, ready, Progress::Settled, generation, now);
}
