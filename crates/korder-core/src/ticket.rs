//! The life of a ticket, but for the hand-over (see [`crate::handover`]).
//!
//! `Pending` until its guardian runs, `Ready` while it does, `Expired` when its time is over first; a used ticket ends
//! with its pod. The guardian is made, made again, and removed here; a ready ticket whose node is going gets a second
//! one elsewhere first.

mod held;
mod moving;
mod object;
mod owners;
mod status;

pub(crate) use held::{holds, too_small};
pub use moving::{moved, unmoved};
pub use object::{Owner, Template, Ticket};
pub(crate) use owners::named_by;
pub use owners::{deleted_again_from, has_seat, is_guardian_of, is_orphan, is_the_guardian_of, name_for, named_on};
pub use status::{claimed, given_back, in_use, lost, not_removed, reason, refused};
use status::{expired, held_status, pending, say, stalled};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use korder_api::ticket::{CleanupPolicy, Lifecycle};
use korder_api::{TicketPhase, TicketStatus, names};

use crate::conditions;
use crate::limits::Refusal;
use crate::node::Node;
use crate::pod::Pod;
use crate::reasons;

/// How long an ended ticket is kept where it does not say: long enough to be looked at.
const DEFAULT_TTL: SignedDuration = SignedDuration::from_secs(300);
/// A guardian that does not run this long after its last step says so in the status; most do and spare the write.
const QUIET_START: SignedDuration = SignedDuration::from_secs(2);
/// A node that is not known this long after a guardian's making does not exist: before, our view of it may be late.
const NODE_GRACE: SignedDuration = SignedDuration::from_secs(10);
/// How often such a node is looked for.
const NODE_POLL: SignedDuration = SignedDuration::from_secs(2);
/// How often somebody else's pod under a guardian's name is looked for.
const IN_THE_WAY_POLL: SignedDuration = SignedDuration::from_secs(15);

/// A guardian that was removed and is still there after this long, or a node that is away for this long, does not come
/// to an end by itself.
const LOST_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// What is known of a ticket and what belongs to it.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The ticket.
    pub ticket: &'a Ticket,
    /// The pod under the name of its guardian, whosever it is.
    pub guardian: Option<Place<'a>>,
    /// The pod under the name of that guardian's successor, whosever it is.
    pub successor: Option<Place<'a>>,
    /// The pod that the ticket was given to, by uid.
    pub claimant: Option<&'a Pod>,
    /// The priority of the pods that the ticket is for; none where its class does not exist.
    pub priority: Option<i32>,
    /// Whether the priority class of such guardians exists.
    pub twin_exists: bool,
    /// Whether its order needs it no more to count what was made and what has ended.
    pub counted: bool,
}

/// A pod, and the node that it is bound to, as far as that exists.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The node.
    pub node: Option<&'a Node>,
}

impl Place<'_> {
    /// Whether the pod holds a place for this ticket.
    fn is_held_for(&self, ticket: &Ticket) -> bool {
        is_guardian_of(self.pod, ticket) && holds(self.pod, ticket) && self.node.is_some()
    }

    /// Whether the pod is bound to a node that does not exist.
    fn is_stranded(&self) -> bool {
        self.pod.spec.node_name.is_some() && self.node.is_none()
    }

    /// Whether our view of the node may be older than the pod.
    fn is_young(&self, now: Timestamp) -> bool {
        self.pod.created().is_some_and(|made| now < made + NODE_GRACE)
    }

    /// Whether the pod was made for this ticket, is large enough for it, and is to stay.
    fn is_of_use(&self, ticket: &Ticket) -> bool {
        is_guardian_of(self.pod, ticket) && !self.pod.is_ending() && too_small(self.pod, ticket).is_none()
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make the priority class for guardians of this priority.
    CreateTwin(i32),
    /// Make the guardian at the priority class of this name.
    CreateGuardian(String),
    /// Remove the guardian of this uid.
    DeleteGuardian(String),
    /// Make the guardian's successor at the priority class of this name.
    CreateSuccessor(String),
    /// Remove the guardian's successor of this uid, if the ticket, read live, is still this version of it: else it may be
    /// the guardian by now.
    DeleteSuccessor(String),
    /// Write the status.
    WriteStatus(Box<TicketStatus>),
    /// Remove the ticket.
    DeleteTicket,
}

/// What to do now, and when to look again though nothing has changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The one write to make.
    pub step: Option<Step>,
    /// When to look again.
    pub wake: Option<Timestamp>,
}

impl Plan {
    fn step(step: Step) -> Self {
        Self { step: Some(step), wake: None }
    }

    fn status(ticket: &Ticket, status: TicketStatus) -> Self {
        let changed = ticket.status.as_ref() != Some(&status);
        Self { step: changed.then(|| Step::WriteStatus(Box::new(status))), wake: None }
    }

    fn wait_until(wake: Timestamp) -> Self {
        Self { step: None, wake: Some(wake) }
    }
}

/// The next write for a ticket.
pub fn plan(seen: &Observed<'_>, now: Timestamp) -> Plan {
    if seen.ticket.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    match seen.ticket.phase() {
        TicketPhase::Pending | TicketPhase::Ready => unclaimed(seen, now),
        TicketPhase::Claimed => without_successor(seen).unwrap_or_default(),
        TicketPhase::Used => used(seen, now),
        TicketPhase::Expired | TicketPhase::Lost => ended(seen, now),
    }
}

fn unclaimed(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let ticket = seen.ticket;
    let expires = ticket.status.as_ref().and_then(|status| status.expiration_time.as_ref()).map(|time| time.0);
    if expires.is_some_and(|expires| expires <= now) {
        return Plan::status(ticket, expired(ticket, now));
    }
    let ready = ticket.phase() == TicketPhase::Ready;
    let holds = |place: &Place<'_>| place.is_held_for(ticket);
    let mut plan = match (seen.guardian.filter(holds), seen.successor.filter(holds)) {
        (Some(guardian), _) if ready => moving::plan(seen, guardian, now),
        (Some(guardian), _) => Plan::status(ticket, held_status(ticket, guardian.pod, now)),
        (None, Some(successor)) => Plan::status(ticket, held_status(ticket, successor.pod, now)),
        (None, None) if ready => Plan::status(ticket, guardian_gone(seen, now)),
        (None, None) => unheld_yet(seen, now),
    };
    plan.wake = plan.wake.into_iter().chain(expires).min();
    plan
}

/// No guardian runs, and the ticket says so.
fn unheld_yet(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let ticket = seen.ticket;
    let of_use = |place: &Place<'_>| place.is_of_use(ticket);
    match (seen.guardian, seen.successor.filter(of_use)) {
        // It was on its way when the guardian went.
        (guardian, Some(_)) if !guardian.as_ref().is_some_and(of_use) => {
            let guardian_name = Some(ticket.successor_name());
            Plan::status(ticket, TicketStatus { guardian_name, ..ticket.status.clone().unwrap_or_default() })
        }
        (_, Some(successor)) => Plan::step(Step::DeleteSuccessor(successor.pod.uid().to_owned())),
        (Some(guardian), None) => held_up(ticket, guardian, now),
        (None, None) => match making(seen, Step::CreateGuardian) {
            Ok(step) => Plan::step(step),
            Err(why) => Plan::status(ticket, refused(ticket, &why, now)),
        },
    }
}

/// The step that makes a guardian of a priority class, or before it the class; or why there can't be one.
fn making(seen: &Observed<'_>, make: fn(String) -> Step) -> Result<Step, String> {
    let Some(priority) = seen.priority else {
        let class = seen.ticket.spec().priority_class_name.as_deref().unwrap_or_default();
        return Err(format!("priority class `{class}` does not exist"));
    };
    let class = || names::twin_priority_class(priority);
    Ok(if seen.twin_exists { make(class()) } else { Step::CreateTwin(priority) })
}

/// Removes a successor of the guardian that nobody needs.
fn without_successor(seen: &Observed<'_>) -> Option<Plan> {
    let ours = seen.successor.filter(|successor| is_guardian_of(successor.pod, seen.ticket))?;
    let going = ours.pod.metadata.deletion_timestamp.is_some();
    (!going).then(|| Plan::step(Step::DeleteSuccessor(ours.pod.uid().to_owned())))
}

/// The pod under the guardian's name does not run.
fn held_up(ticket: &Ticket, place: Place<'_>, now: Timestamp) -> Plan {
    let guardian = place.pod;
    if !is_guardian_of(guardian, ticket) {
        return if guardian.metadata.deletion_timestamp.is_some() {
            Plan::default()
        } else {
            // Nothing that tells of that pod's end names the ticket.
            let told = Plan::status(ticket, refused(ticket, &in_the_way(guardian), now));
            Plan { wake: Some(now + IN_THE_WAY_POLL), ..told }
        };
    }
    if let Some(since) = &guardian.metadata.deletion_timestamp {
        return leaving(ticket, guardian, since.0, now);
    }
    let stranded = place.is_stranded();
    if stranded && place.is_young(now) {
        return Plan::wait_until(now + NODE_POLL);
    }
    if guardian.has_ended() || stranded {
        return Plan::step(Step::DeleteGuardian(guardian.uid().to_owned()));
    }
    let Some(short) = too_small(guardian, ticket) else { return waiting(ticket, guardian, now) };
    let due = held::replaced_from(guardian);
    if due <= now {
        return Plan::step(Step::DeleteGuardian(guardian.uid().to_owned()));
    }
    Plan { wake: Some(due), ..Plan::status(ticket, stalled(ticket, Refusal::GuardianTooSmall, &short, now)) }
}

/// The guardian is going, and another one can't be made before it is gone.
fn leaving(ticket: &Ticket, guardian: &Pod, since: Timestamp, now: Timestamp) -> Plan {
    if guardian.metadata.deletion_grace_period_seconds.is_some_and(|grace| grace > 0) {
        // Nothing is lost by its going at once, and the kubelet that it waits for may be gone itself.
        return Plan::step(Step::DeleteGuardian(guardian.uid().to_owned()));
    }
    if now < since + LOST_AFTER {
        return Plan::wait_until(since + LOST_AFTER);
    }
    Plan::status(ticket, lost(ticket, &still_there(guardian), now))
}

fn still_there(guardian: &Pod) -> String {
    let finalizers = guardian.metadata.finalizers.as_deref().unwrap_or_default();
    format!("the guardian `{}` was deleted and does not go; its finalizers: {}", guardian.name(), finalizers.join(", "))
}

/// The guardian has no place yet.
fn waiting(ticket: &Ticket, guardian: &Pod, now: Timestamp) -> Plan {
    if let Some(message) = guardian.unschedulable() {
        let unchanged = reason(ticket) == Some(reasons::UNSCHEDULABLE);
        let status = || pending(ticket, reasons::UNSCHEDULABLE, &format!("no node has a place: {message}"), now);
        return if unchanged { Plan::default() } else { Plan::status(ticket, status()) };
    }
    let scheduled = guardian.condition("PodScheduled").filter(|condition| condition.status == "True");
    let placed = scheduled.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0);
    let quiet_until = placed.or(guardian.created()).map_or(now, |since| since + QUIET_START);
    if now < quiet_until {
        return Plan::wait_until(quiet_until);
    }
    let held_up = guardian.status.container_statuses.iter().find_map(|container| container.state.waiting.as_ref());
    let message = match held_up.map(|waiting| waiting.reason.as_str()) {
        // Said once: a failing image goes back and forth between two reasons.
        Some(reason) if reason != "ContainerCreating" => format!("the guardian does not start: {reason}"),
        _ => "the guardian is starting".to_owned(),
    };
    let told = ticket.status.iter().flat_map(|status| &status.conditions);
    let mut told = told.filter(|told| told.type_ == conditions::READY && told.reason == reasons::STARTING);
    if told.any(|told| {
        told.message == message
            || message.starts_with("the guardian does") && told.message.starts_with("the guardian does")
    }) {
        return Plan::default();
    }
    Plan::status(ticket, pending(ticket, reasons::STARTING, &message, now))
}

fn used(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let ticket = seen.ticket;
    if let Some(plan) = without_successor(seen) {
        return plan;
    }
    if seen.claimant.is_some_and(|pod| !pod.has_ended()) {
        return Plan::default();
    }
    let status = ticket.status.clone().unwrap_or_default();
    let Some(finished) = &status.finish_time else {
        let mut status = TicketStatus { finish_time: Some(Time(now)), ..status };
        say(&mut status, ticket, false, reasons::POD_ENDED, "the pod that used it has ended".to_owned(), now);
        return Plan::status(ticket, status);
    };
    if seen.counted { clean_up(ticket, finished.0, now) } else { Plan::default() }
}

fn ended(seen: &Observed<'_>, now: Timestamp) -> Plan {
    if let Some(plan) = without_successor(seen) {
        return plan;
    }
    if let Some(guardian) = seen.guardian.map(|place| place.pod).filter(|pod| is_guardian_of(pod, seen.ticket)) {
        let going = guardian.metadata.deletion_timestamp.is_some();
        return if going { Plan::default() } else { Plan::step(Step::DeleteGuardian(guardian.uid().to_owned())) };
    }
    let finished = seen.ticket.status.as_ref().and_then(|status| status.finish_time.as_ref());
    match finished {
        Some(finished) if seen.counted => clean_up(seen.ticket, finished.0, now),
        _ => Plan::default(),
    }
}

fn clean_up(ticket: &Ticket, finished: Timestamp, now: Timestamp) -> Plan {
    let lifecycle = ticket.spec().lifecycle.as_ref();
    let Lifecycle { ttl_seconds_after_finished: ttl, cleanup_policy: policy, on_expiry: _, reuse: _ } =
        lifecycle.cloned().unwrap_or_default();
    if policy == Some(CleanupPolicy::Retain) {
        return Plan::default();
    }
    let due = finished + ttl.map_or(DEFAULT_TTL, SignedDuration::from_secs);
    if due <= now { Plan::step(Step::DeleteTicket) } else { Plan::wait_until(due) }
}

/// What to say when a pod that is not ours has the guardian's name.
pub fn in_the_way(pod: &Pod) -> String {
    format!("a pod named `{}` is in the way: delete it", pod.name())
}

/// Guardians must not preempt: a refill would take the places of pods.
pub const TWIN_PREEMPTION: &str = "Never";

/// Whether a class of this value and preemption policy is right for guardians of claimants of a priority.
pub fn is_twin(value: i32, preemption: Option<&str>, priority: i32) -> bool {
    value == priority && preemption == Some(TWIN_PREEMPTION)
}

/// Whether a ticket may wait for a priority class: to get a guardian, or one elsewhere.
pub fn may_wait_for_class(ticket: &Ticket) -> bool {
    match ticket.phase() {
        TicketPhase::Pending => true,
        TicketPhase::Ready => reason(ticket) != Some(reasons::HELD),
        TicketPhase::Claimed | TicketPhase::Used | TicketPhase::Expired | TicketPhase::Lost => false,
    }
}

fn guardian_gone(seen: &Observed<'_>, now: Timestamp) -> TicketStatus {
    let ticket = seen.ticket;
    let running = seen.guardian.filter(|place| is_guardian_of(place.pod, ticket) && !place.pod.is_ending());
    let status = match running.and_then(|place| too_small(place.pod, ticket)) {
        Some(short) => stalled(ticket, Refusal::GuardianTooSmall, &short, now),
        None => pending(ticket, reasons::GUARDIAN_GONE, "the guardian is gone; another one is made", now),
    };
    match seen.successor.filter(|successor| successor.is_of_use(ticket)) {
        Some(successor) => TicketStatus { guardian_name: Some(successor.pod.name().to_owned()), ..status },
        None => status,
    }
}

#[cfg(test)]
mod tests;
