//! One pass over all waiting pods and all ready tickets.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kooper::{Context, Failure, Key, Outcome};
use korder_api::{Order, TicketPhase, names};
use korder_core::ask::Ask;
use korder_core::fit::{Surroundings, World};
use korder_core::handover;
use korder_core::matching::{Candidate, Shelf, Verdict, Wait, assign, rests_until};
use korder_core::namespace::Namespace;
use korder_core::node::Node;
use korder_core::pod::Pod;
use korder_core::reasons;
use korder_core::ticket::{self, Ticket};
use serde_json::json;

use super::{Claims, groups, key, surroundings};
use crate::caches::{BY_CLAIMANT, BY_PHASE, Caches, WAITING};
use crate::tickets::guardian_key;
use crate::write::{self, Part};
use crate::{conditions, news};

/// A pod that has waited for less is not told why: most have their ticket by then, and a write is spared.
const QUIET_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// How often a pod that waits for one reason is told of what has changed, such as its place in line.
const RETELLING: SignedDuration = SignedDuration::from_secs(30);

/// Gives out what is ready.
pub(super) async fn pass(claims: &Claims, cx: &Context) -> Result<Outcome, Failure> {
    let settled = claims.doubts.settle(&claims.client, &claims.caches.tickets).await;
    if let Some(outcome) = write::pace(&[settled]) {
        return Ok(outcome);
    }
    claims.hoped.for_all();
    let refusals = {
        let mut refusals = claims.refusals();
        refusals.forget(cx.now());
        refusals.clone()
    };
    let mut seen = observe(&claims.caches, !refusals.is_empty());
    let free = leave_unwritable(claims, &mut seen.waiting, cx.now());
    let candidates = seen.shelf.iter().filter_map(|(ticket, guardian, node)| Candidate::new(ticket, guardian, node));
    let orders = seen.orders.iter().map(AsRef::as_ref);
    let shelf = Shelf::new(orders, seen.namespaces.iter().map(AsRef::as_ref), candidates);
    let waiting = seen.waiting.iter().map(AsRef::as_ref).collect();
    let mut world = World::new(&seen.surroundings).with_refusals(&refusals, cx.now());
    let verdicts = assign(shelf, waiting, &mut world, |group| groups::seated(&claims.caches, group), cx.now());
    let hopes = world.hopes();
    claims.hoped.only_for(hopes);
    let wake =
        verdicts.iter().filter_map(|(pod, verdict)| wake(pod, verdict, cx.now())).chain(hopes.later).chain(free).min();
    let mut acts = Vec::with_capacity(verdicts.len());
    for (pod, verdict) in &verdicts {
        acts.push(act(claims, cx, pod, verdict));
    }
    if let Some(outcome) = write::pace(&write::all(acts).await) {
        return Ok(outcome);
    }
    let after = |wait| Outcome::After(Duration::try_from(wait).unwrap_or_default());
    Ok(wake.map_or(Outcome::Done, |wake| after(wake.duration_since(cx.now()))))
}

/// Leaves out the pods that can't be written; when the first of them is tried again.
fn leave_unwritable(claims: &Claims, waiting: &mut Vec<Arc<Pod>>, now: Timestamp) -> Option<Timestamp> {
    let (unwritable, mut free) = (claims.unwritable(), None);
    waiting.retain(|pod| match unwritable.until(pod.uid(), now) {
        Some(until) => {
            free = Some(free.map_or(until, |free: Timestamp| free.min(until)));
            false
        }
        None => true,
    });
    free
}

/// When to look at a pod again though nothing has changed.
fn wake(pod: &Pod, verdict: &Verdict<'_>, now: Timestamp) -> Option<Timestamp> {
    let Verdict::Wait(wait) = verdict else { return None };
    if !pod.is_gated() {
        return None;
    }
    let times = [rests_until(pod, now), told_from(pod, wait, now), times_out(pod)];
    times.into_iter().flatten().filter(|&time| time > now).min()
}

/// What a pass looks at.
struct Seen {
    orders: Vec<Arc<Order>>,
    namespaces: Vec<Arc<Namespace>>,
    waiting: Vec<Arc<Pod>>,
    shelf: Vec<(Arc<Ticket>, Arc<Pod>, Arc<Node>)>,
    surroundings: Surroundings,
}

fn observe(caches: &Caches, refusals: bool) -> Seen {
    let mut waiting = caches.pods.by_index(WAITING, "");
    waiting.retain(|pod| !pod.is_ending() && !has_claim(caches, pod));
    if waiting.is_empty() {
        let surroundings = Surroundings::default();
        return Seen { orders: vec![], namespaces: vec![], waiting, shelf: vec![], surroundings };
    }
    let ready = caches.tickets.by_index(BY_PHASE, TicketPhase::Ready.as_str());
    let with_place = |ticket: Arc<Ticket>| {
        let guardian = caches.pods.get(&guardian_key(&ticket))?;
        let node = caches.nodes.get(&Key::cluster(guardian.spec.node_name.as_ref()?))?;
        Some((ticket, guardian, node))
    };
    let shelf = ready.into_iter().filter_map(with_place).collect();
    let surroundings = surroundings::observe(caches, &waiting, refusals);
    Seen { orders: caches.orders.list(), namespaces: caches.namespaces.list(), waiting, shelf, surroundings }
}

pub(super) fn has_claim(caches: &Caches, pod: &Pod) -> bool {
    caches.tickets.by_index(BY_CLAIMANT, pod.uid()).iter().any(|ticket| ticket.phase() == TicketPhase::Claimed)
}

async fn act(claims: &Claims, cx: &Context, pod: &Pod, verdict: &Verdict<'_>) -> Result<(), kube::Error> {
    if pod.is_gated() && has_ticket(claims, pod).await? {
        return Ok(());
    }
    match verdict {
        Verdict::Claim(ticket) => claim(claims, cx, pod, ticket).await,
        // One that was let go keeps being told that it has lost its place.
        Verdict::Wait(_) | Verdict::GoOn(_) | Verdict::Fail(_) if !pod.is_gated() => Ok(()),
        Verdict::Wait(wait) if told_from(pod, wait, cx.now()).is_some_and(|from| from <= cx.now()) => {
            tell(claims, cx, pod, wait).await
        }
        Verdict::Wait(_) => Ok(()),
        // First it is told, since behind the gate is where it is looked at.
        Verdict::GoOn(wait) if is_told(pod, wait) => ungate(claims, pod).await,
        Verdict::GoOn(wait) => tell(claims, cx, pod, wait).await,
        Verdict::Fail(wait) => fail(claims, cx, pod, wait).await,
    }
}

/// Whether a pod that believes that it has a ticket has it, read live: what is known of tickets may be older than what is
/// known of pods, and another leader be at work. Then the cache knows of it.
async fn has_ticket(claims: &Claims, pod: &Pod) -> Result<bool, kube::Error> {
    let Some((namespace, name)) = handover::promised_ticket(pod) else { return Ok(false) };
    let Some(ticket) = write::api::<Ticket>(&claims.client, namespace).get_opt(name).await? else { return Ok(false) };
    let has = ticket.phase() == TicketPhase::Claimed && ticket.claim().is_some_and(|claim| claim.uid == pod.uid());
    claims.caches.tickets.wrote(ticket);
    Ok(has)
}

/// Writes the pod into the ticket, if the ticket is still the version that was looked at: the one write that decides.
async fn claim(claims: &Claims, cx: &Context, pod: &Pod, ticket: &Ticket) -> Result<(), kube::Error> {
    let status = ticket::claimed(ticket, pod, cx.now());
    let note = format!("given to pod `{}`", pod.name());
    let written = ticket.with_status(status);
    let write = write::status(&claims.client, &claims.caches.tickets, &written);
    claims.doubts.over(key(ticket), write).await?;
    news::tell(&cx.recorder, ticket, "Claim", reasons::HANDING_OVER, &note);
    Ok(())
}

/// Whether the pod's condition gives this reason, and nothing is left of a claim.
fn is_told(pod: &Pod, wait: &Wait) -> bool {
    let told = pod.condition(names::CONDITION_TICKET_BOUND);
    told.is_some_and(|told| told.status == "False" && told.reason == wait.reason)
        && pod.status.nominated_node_name.is_none()
}

/// From when on the pod is to be told why it waits, if it was not told just that.
fn told_from(pod: &Pod, wait: &Wait, now: Timestamp) -> Option<Timestamp> {
    let told = pod.condition(names::CONDITION_TICKET_BOUND);
    match told.filter(|_| is_told(pod, wait)) {
        Some(told) if told.message == wait.message => None,
        Some(told) => {
            let written = told.last_probe_time.as_ref().or(told.last_transition_time.as_ref());
            Some(written.map_or(now, |written| written.0 + RETELLING))
        }
        None => Some(pod.created().map_or(now, |made| made + QUIET_WAIT)),
    }
}

/// When the pod has waited for longer than it wants to.
fn times_out(pod: &Pod) -> Option<Timestamp> {
    Ask::of(pod).ok()?.timeout?.due(pod)
}

/// Tells the pod why it waits, or why it goes on.
async fn tell(claims: &Claims, cx: &Context, pod: &Pod, wait: &Wait) -> Result<(), kube::Error> {
    let news = !is_told(pod, wait);
    let mut operations = conditions::of_pod(pod, false, wait.reason, &wait.message, cx.now());
    if pod.status.nominated_node_name.is_some() {
        // Its ticket was deleted in mid-hand-over: the nomination would count against others for nothing.
        operations.push(json!({"op": "remove", "path": "/status/nominatedNodeName"}));
    }
    write::patch(&claims.client, &claims.caches.pods, pod, Part::Status, json!(operations)).await?;
    if news {
        news::tell(&cx.recorder, pod, "Wait", wait.reason, &wait.message);
    }
    Ok(())
}

/// Lets the pod go on without a ticket.
async fn ungate(claims: &Claims, pod: &Pod) -> Result<(), kube::Error> {
    let Some(gate) = pod.spec.scheduling_gates.iter().position(|gate| gate.name == names::GATE) else { return Ok(()) };
    let operations = json!([{"op": "remove", "path": format!("/spec/schedulingGates/{gate}")}]);
    write::patch(&claims.client, &claims.caches.pods, pod, Part::Main, operations).await
}

/// Ends the pod: whoever made it sees it as any pod that has failed.
async fn fail(claims: &Claims, cx: &Context, pod: &Pod, wait: &Wait) -> Result<(), kube::Error> {
    let mut operations = conditions::of_pod(pod, false, wait.reason, &wait.message, cx.now());
    operations.extend([
        json!({"op": "add", "path": "/status/phase", "value": "Failed"}),
        json!({"op": "add", "path": "/status/reason", "value": wait.reason}),
        json!({"op": "add", "path": "/status/message", "value": wait.message}),
    ]);
    write::patch(&claims.client, &claims.caches.pods, pod, Part::Status, json!(operations)).await?;
    news::tell(&cx.recorder, pod, "Wait", wait.reason, &wait.message);
    Ok(())
}
