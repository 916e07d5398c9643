//! The hand-over of places from guardians to pods, node by node.
//!
//! The scheduler counts every pod that is nominated to a node against every other of its priority or below, so
//! hand-overs that overlap on one node make its pods refuse each other. All claims that wait on a node therefore go
//! through each stage together: nominate all; remove all their guardians; when the last is gone, ungate all; when the
//! last is bound, the next batch begins. Each stage is read off the objects, so that a crash in any of them is
//! continued from there. (`RunFilterPluginsWithNominatedPods` in the scheduler's `framework/runtime`.)

use jiff::{SignedDuration, Timestamp};
use korder_api::names;

use crate::fit::nodes;
use crate::node::Node;
use crate::pod::Pod;
use crate::reasons;
use crate::scheduler::{Scheduler, Told, told};
use crate::ticket::{self, Ticket, name_for};

/// After this long a hand-over that is not done is given up.
pub const DEADLINE: SignedDuration = SignedDuration::from_secs(30);
/// The same for a pod that was let go and that the scheduler has not come to yet: it is busy or away, and a place that is
/// given up goes to whomever it comes to first.
const UNTRIED_DEADLINE: SignedDuration = SignedDuration::from_mins(5);
/// A guardian goes within milliseconds; one that does not within this time keeps a batch waiting no longer.
const HELD_UP: SignedDuration = SignedDuration::from_secs(5);
/// A pod that the scheduler refuses is given this long: one attempt may have come too early.
const REFUSED_GRACE: SignedDuration = SignedDuration::from_secs(5);

/// Why a ticket is lost.
const STUCK: &str = "the guardian could not be removed in time";
/// Why an ungated pod does not get a place that was promised to it.
const GATE_REMOVED: &str = "the pod's gate was removed before the place was free";
/// Why a pod that is still there gets no place.
const ENDING: &str = "the pod is ending";
/// Why a gated pod does not get a place that there is: the node was cordoned or tainted since, or is gone.
const CLOSED: &str = "the node takes the pod no more";

/// A ticket in phase `Claimed`, and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The ticket.
    pub ticket: &'a Ticket,
    /// The pod of its `claimRef`, by uid.
    pub claimant: Option<&'a Pod>,
    /// Its guardian.
    pub guardian: Option<&'a Pod>,
    /// The node of its place, if that exists.
    pub node: Option<&'a Node>,
    /// Another ticket that is claimed for the same pod, as two controllers at once can do.
    pub rival: Option<&'a Ticket>,
    /// Whether the pods with which it claims all or nothing have their tickets too; true for one that is in no group.
    pub group_is_seated: bool,
    /// The scheduler that is to place the pod.
    pub scheduler: &'a Scheduler,
}

/// One write for one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell the scheduler that the place is meant for the pod.
    Nominate,
    /// Tell it again: it has begun since, and knows of no nomination made before. The value of the pod's annotation.
    Touch(String),
    /// Remove the guardian, if the pod, read live, still has our nomination.
    RemoveGuardian,
    /// Let the scheduler place the pod.
    Ungate,
    /// The pod is bound to the place.
    Use,
    /// Take the promise and the nomination back, so that it counts against nobody: the reason of the pod's condition, and
    /// why in words.
    Withdraw(&'static str, &'static str),
    /// The place can't be freed: the ticket is lost.
    Lose(&'static str),
    /// The pod does not take the place.
    GiveBack(&'static str),
}

impl Action {
    /// Whether it is a write on the claimant.
    pub fn is_of_pod(&self) -> bool {
        matches!(self, Self::Nominate | Self::Touch(_) | Self::Ungate | Self::Withdraw(..))
    }
}

/// An action for the claim at this index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which of the claims that were handed in.
    pub claim: usize,
    /// What to do.
    pub action: Action,
}

/// Steps that may all be made at once, and when to look again though nothing has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// When the first deadline is over.
    pub wake: Option<Timestamp>,
}

/// How far a claim has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The ticket is the pod's, and others of its group have none yet.
    Gathering,
    /// The ticket is the pod's; the scheduler does not know.
    Claimed,
    /// The scheduler knows; the guardian is there.
    Nominated,
    /// The guardian is going.
    Leaving,
    /// The guardian is gone.
    Free,
    /// The gate is off; the pod is not bound yet.
    Ungated,
    /// The pod is bound where it should be.
    Bound,
    /// The hand-over is off.
    Off(&'static str),
    /// The hand-over is off, and the pod still believes that it has the ticket; with the reason that it is told.
    OffPromised(&'static str, &'static str),
    /// The guardian can't be removed, and the pod does not believe any more that it has the ticket.
    Stuck,
}

/// The steps for all claims on one node.
pub fn plan(claims: &[Claim<'_>], now: Timestamp) -> Plan {
    let mut stages: Vec<(Stage, Told)> = claims.iter().map(|claim| (stage(claim, now), knows(claim, now))).collect();
    // The places that are free wait for nobody whose guardian stays: they would all be lost with it.
    if stages.iter().any(|(stage, _)| *stage == Stage::Free) {
        let held_up = stages.iter_mut().zip(claims).filter(|(_, claim)| is_held_up(claim, now));
        for ((stage, _), claim) in held_up.filter(|((stage, _), _)| matches!(stage, Stage::Nominated | Stage::Leaving))
        {
            *stage = Stage::OffPromised(claim.claimant.map_or(reasons::TICKET_LOST, stuck_reason), STUCK);
        }
    }
    let batch = batch(&stages);
    let action = |(stage, told): &(Stage, Told)| match (*stage, told) {
        (Stage::Bound, _) => Some(Action::Use),
        (Stage::Off(why), _) => Some(Action::GiveBack(why)),
        (Stage::OffPromised(reason, why), _) => Some(Action::Withdraw(reason, why)),
        (Stage::Stuck, _) => Some(Action::Lose(STUCK)),
        (Stage::Nominated | Stage::Leaving, Told::Touch(value)) => Some(Action::Touch(value.clone())),
        (stage, _) => batch.as_ref().filter(|(wanted, _)| stage == *wanted).map(|(_, action)| action.clone()),
    };
    let steps = stages.iter().enumerate().filter_map(|(claim, stage)| Some(Step { claim, action: action(stage)? }));
    let deadlines = claims.iter().filter_map(|claim| wake(claim, now));
    let settled = stages.iter().filter_map(|(_, told)| match told {
        Told::Settling(until) => Some(*until),
        Told::Yes | Told::Touch(_) | Told::Nobody => None,
    });
    Plan { steps: steps.collect(), wake: deadlines.chain(settled).min() }
}

/// What the claims on a node do together: those in which stage, and what.
fn batch(stages: &[(Stage, Told)]) -> Option<(Stage, Action)> {
    let any = |wanted: Stage| stages.iter().any(|(stage, _)| *stage == wanted);
    let remove = || {
        let mut nominated = stages.iter().filter(|(stage, _)| *stage == Stage::Nominated);
        nominated.all(|(_, told)| *told == Told::Yes).then_some((Stage::Nominated, Action::RemoveGuardian))
    };
    if any(Stage::Ungated) {
        None
    } else if any(Stage::Leaving) || any(Stage::Free) {
        // A crash may have come between two deletions of one batch.
        if any(Stage::Nominated) {
            remove()
        } else if any(Stage::Leaving) || stages.iter().any(|(stage, _)| matches!(stage, Stage::OffPromised(..))) {
            // A nomination that is yet to be withdrawn counts against those that are let go.
            None
        } else {
            Some((Stage::Free, Action::Ungate))
        }
    } else if any(Stage::Claimed) {
        Some((Stage::Claimed, Action::Nominate))
    } else {
        remove()
    }
}

/// Whether the scheduler knows of the claim's nomination.
fn knows(claim: &Claim<'_>, now: Timestamp) -> Told {
    let waiting = claim.claimant.filter(|pod| pod.is_gated());
    waiting.map_or(Told::Yes, |pod| told(pod, claim.scheduler, now))
}

fn stage(claim: &Claim<'_>, now: Timestamp) -> Stage {
    let Claim { ticket, claimant, guardian, node, rival, group_is_seated, scheduler: _ } = *claim;
    let Some(pod) = claimant else { return Stage::Off("the pod is gone") };
    let off = |why| if is_promised(pod, ticket) { Stage::OffPromised(loss(pod), why) } else { Stage::Off(why) };
    // The annotation came with the ungating: a pod that got there without it has not taken this ticket's place. One that
    // was ungated before may be bound as soon as the guardian is gone.
    let let_go = pod.annotation(names::ANNOTATION_BOUND_TICKET) == Some(&name_for(pod, ticket));
    if let Some(node) = &pod.spec.node_name {
        let taken = let_go || is_second_try(pod) && is_promised(pod, ticket) && guardian.is_none_or(Pod::has_ended);
        return match (taken, node_of(ticket) == Some(node.as_str())) {
            (true, true) => Stage::Bound,
            (true, false) => off("the pod was bound to another node"),
            (false, _) => off("the pod was bound without this ticket"),
        };
    }
    if pod.is_ending() {
        // Somebody's finalizer may keep it, and its nomination would count against others for as long.
        let promised = is_promised(pod, ticket);
        return if promised { Stage::OffPromised(stuck_reason(pod), ENDING) } else { Stage::Off(ENDING) };
    }
    if rival.is_some_and(|rival| yields(ticket, rival, pod)) {
        return Stage::Off("the pod has another ticket");
    }
    // What is behind its gate can still go elsewhere.
    let takes = |node: &Node| nodes::misfit(pod.constraints(), node).is_none();
    if pod.is_gated() && !node.is_some_and(takes) {
        let promised = is_promised(pod, ticket);
        return if promised { Stage::OffPromised(reasons::TICKET_LOST, CLOSED) } else { Stage::Off(CLOSED) };
    }
    let age = age(ticket, now);
    if !pod.is_gated() && (let_go || !(may_try_again(pod) || is_second_try(pod))) {
        let deadline = match pod.unschedulable() {
            None if is_promised(pod, ticket) => UNTRIED_DEADLINE,
            // A second try still shows why the first one failed.
            Some(_) if !is_second_try(pod) => REFUSED_GRACE,
            _ => DEADLINE,
        };
        let waited = if pod.unschedulable().is_some() { promised_for(pod, now).unwrap_or(age) } else { age };
        // What was let go for this ticket was so when the guardian was gone, whatever an older view of that shows.
        return match (!let_go && guardian.is_some_and(Pod::is_running), waited >= deadline) {
            (true, _) if is_promised(pod, ticket) => Stage::OffPromised(reasons::GATE_REMOVED, GATE_REMOVED),
            (true, _) => Stage::Off(GATE_REMOVED),
            (false, true) => off("the scheduler did not place the pod"),
            (false, false) => Stage::Ungated,
        };
    }
    let dropped = !is_nominated(pod, ticket) && was_told(pod, reasons::TICKET_LOST);
    let stuck = (age >= DEADLINE || dropped) && guardian.is_some_and(|guardian| is_stuck(ticket, guardian));
    if !is_nominated(pod, ticket) {
        return match guardian.is_some_and(|guardian| ticket::holds(guardian, ticket)) {
            _ if stuck => Stage::Stuck,
            true if age < DEADLINE && group_is_seated => Stage::Claimed,
            true if age < DEADLINE => Stage::Gathering,
            true if !group_is_seated => Stage::Off("its group did not come together in time"),
            true => Stage::Off("its turn on the node did not come in time"),
            false => Stage::Off("the guardian was lost"),
        };
    }
    match guardian {
        _ if stuck => Stage::OffPromised(stuck_reason(pod), STUCK),
        _ if age >= DEADLINE => off("the place did not become free in time"),
        None => Stage::Free,
        // A finalizer may keep it as an object, but scheduler and kubelet count it no more.
        Some(guardian) if is_ending(guardian) && guardian.has_ended() => Stage::Free,
        Some(guardian) if is_ending(guardian) => Stage::Leaving,
        Some(guardian) if guardian.is_running() => Stage::Nominated,
        // Evicted, or failed: others may have taken the place already.
        Some(_) => off("the guardian was lost"),
    }
}

fn is_ending(guardian: &Pod) -> bool {
    guardian.metadata.deletion_timestamp.is_some()
}

/// Whether somebody's finalizer keeps the guardian, or somebody's rule refuses its deletion.
fn is_stuck(ticket: &Ticket, guardian: &Pod) -> bool {
    is_ending(guardian) && !guardian.has_ended() || ticket::reason(ticket) == Some(reasons::GUARDIAN_NOT_REMOVED)
}

/// Whether the guardian has had its time to go and is still there.
fn is_held_up(claim: &Claim<'_>, now: Timestamp) -> bool {
    let refused = ticket::reason(claim.ticket) == Some(reasons::GUARDIAN_NOT_REMOVED);
    refused || leaves_until(claim).is_some_and(|until| now >= until)
}

/// When a guardian that is going has had its time.
fn leaves_until(claim: &Claim<'_>) -> Option<Timestamp> {
    Some(claim.guardian?.metadata.deletion_timestamp.as_ref()?.0 + HELD_UP)
}

/// What a pod is told whose ticket is lost: behind its gate it can have another one.
fn stuck_reason(pod: &Pod) -> &'static str {
    if pod.is_gated() { reasons::TICKET_LOST } else { loss(pod) }
}

fn was_told(pod: &Pod, reason: &str) -> bool {
    pod.condition(names::CONDITION_TICKET_BOUND).is_some_and(|told| told.reason == reason)
}

/// For how long the pod has been nominated: what the scheduler refuses it has refused since.
fn promised_for(pod: &Pod, now: Timestamp) -> Option<SignedDuration> {
    let told = pod.condition(names::CONDITION_TICKET_BOUND).filter(|told| told.status == "True")?;
    Some(now.duration_since(told.last_transition_time.as_ref()?.0))
}

/// A pod that was let go and lost its place can't be gated again. It is an ordinary pending pod, and gets one more
/// ticket, if there is one before it is placed.
pub fn may_try_again(pod: &Pod) -> bool {
    was_told(pod, reasons::PLACE_LOST) && !pod.is_gated() && pod.spec.node_name.is_none() && !pod.is_ending()
}

/// Whether a claimant can be given a ticket: it is behind its gate, or gets its second one.
pub fn waits(pod: &Pod) -> bool {
    pod.is_gated() || may_try_again(pod)
}

/// The reason of the condition of a pod that is nominated: the second time shows, so that there is no third.
pub fn nomination_reason(pod: &Pod) -> &'static str {
    if pod.is_gated() { reasons::CLAIMED } else { reasons::CLAIMED_AGAIN }
}

pub(crate) fn is_second_try(pod: &Pod) -> bool {
    !pod.is_gated() && was_told(pod, reasons::CLAIMED_AGAIN)
}

/// What a pod is told that loses its place.
fn loss(pod: &Pod) -> &'static str {
    if is_second_try(pod) { reasons::PLACE_LOST_AGAIN } else { reasons::PLACE_LOST }
}

/// Whether a claim gives way to another one of its pod: the promised one stays, else the older, then by name.
fn yields(ticket: &Ticket, rival: &Ticket, pod: &Pod) -> bool {
    let place = |ticket: &Ticket| {
        (!is_promised(pod, ticket), ticket.claim().map(|claim| claim.time.0), ticket.metadata.name.clone())
    };
    place(rival) < place(ticket)
}

fn age(ticket: &Ticket, now: Timestamp) -> SignedDuration {
    ticket.claim().map_or(DEADLINE, |claim| now.duration_since(claim.time.0))
}

/// The next time at which the claim's stage may change by itself.
fn wake(claim: &Claim<'_>, now: Timestamp) -> Option<Timestamp> {
    let since = claim.ticket.claim()?.time.0;
    let promised = claim.claimant.and_then(|pod| promised_for(pod, now)).map(|age| now - age + REFUSED_GRACE);
    let deadlines = [DEADLINE, UNTRIED_DEADLINE].map(|deadline| since + deadline);
    deadlines.into_iter().chain(promised).chain(leaves_until(claim)).filter(|&deadline| deadline > now).min()
}

/// The node whose place the ticket is.
pub fn node_of(ticket: &Ticket) -> Option<&str> {
    ticket.status.as_ref()?.node_name.as_deref()
}

/// Whether the pod carries the nomination for this ticket's place.
pub fn is_nominated(pod: &Pod, ticket: &Ticket) -> bool {
    pod.status.nominated_node_name.as_deref() == node_of(ticket) && is_promised(pod, ticket)
}

/// Whether the pod's condition says that it has this ticket.
fn is_promised(pod: &Pod, ticket: &Ticket) -> bool {
    let condition = pod.condition(names::CONDITION_TICKET_BOUND);
    condition.is_some_and(|condition| condition.status == "True" && condition.message == claim_message(pod, ticket))
}

/// What the pod's condition says once it has the ticket.
pub fn claim_message(pod: &Pod, ticket: &Ticket) -> String {
    let name = name_for(pod, ticket);
    format!("ticket `{name}` on node `{}`", node_of(ticket).unwrap_or_default())
}

/// The ticket, as namespace and name, that the pod's condition says it has: what [`claim_message`] wrote there.
pub fn promised_ticket(pod: &Pod) -> Option<(&str, &str)> {
    let condition = pod.condition(names::CONDITION_TICKET_BOUND).filter(|told| told.status == "True")?;
    let name = condition.message.strip_prefix("ticket `")?.split('`').next()?;
    Some(ticket::named_by(pod, name))
}

#[cfg(test)]
mod tests;
