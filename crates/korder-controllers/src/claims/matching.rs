//! One pass over all waiting pods and all ready tickets.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kooper::{Context, Failure, Key, Outcome};
use korder_api::{Order, Ticket, TicketPhase, names};
use korder_core::matching::{Candidate, Shelf, Verdict, Wait, rests_until};
use korder_core::node::Node;
use korder_core::pod::Pod;
use korder_core::ticket;
use serde_json::json;

use super::{Claims, key};
use crate::caches::{BY_CLAIMANT, BY_PHASE, Caches, GATED};
use crate::tickets::guardian_key;
use crate::write::{self, Part};
use crate::{conditions, news};

/// A pod that has waited for less is not told why: most have their ticket by then, and a write is spared.
const QUIET_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// Gives out what is ready.
pub(super) async fn pass(claims: &Claims, cx: &Context) -> Result<Outcome, Failure> {
    let settled = claims.doubts.settle(&claims.client, &claims.caches.tickets).await;
    if let Some(outcome) = write::pace(&[settled]) {
        return Ok(outcome);
    }
    let seen = observe(&claims.caches, cx.now());
    let candidates = seen.shelf.iter().filter_map(|(ticket, guardian, node)| Candidate::new(ticket, guardian, node));
    let orders = seen.orders.iter().map(|order| {
        (order.metadata.namespace.as_deref().unwrap_or_default(), order.metadata.name.as_deref().unwrap_or_default())
    });
    let verdicts = Shelf::new(orders, candidates).assign(seen.waiting.iter().map(AsRef::as_ref).collect());
    let quiet = verdicts.iter().filter_map(|(pod, verdict)| match verdict {
        Verdict::Wait(_) => quiet_for(pod, cx),
        Verdict::Claim(_) => None,
    });
    let wake = quiet.chain(seen.rest.map(|until| until.duration_since(cx.now()))).min();
    let mut acts = Vec::with_capacity(verdicts.len());
    for (pod, verdict) in &verdicts {
        acts.push(act(claims, cx, pod, verdict));
    }
    if let Some(outcome) = write::pace(&write::all(acts).await) {
        return Ok(outcome);
    }
    Ok(wake.map_or(Outcome::Done, |wait| Outcome::After(Duration::try_from(wait).unwrap_or_default())))
}

/// What a pass looks at.
struct Seen {
    orders: Vec<Arc<Order>>,
    waiting: Vec<Arc<Pod>>,
    shelf: Vec<(Arc<Ticket>, Arc<Pod>, Arc<Node>)>,
    /// When the first pod that has lost its place has rested.
    rest: Option<Timestamp>,
}

fn observe(caches: &Caches, now: Timestamp) -> Seen {
    let mut waiting = caches.pods.by_index(GATED, "");
    waiting.retain(|pod| !pod.is_ending() && !has_claim(caches, pod));
    let rest = waiting.iter().filter_map(|pod| rests_until(pod, now)).min();
    waiting.retain(|pod| rests_until(pod, now).is_none());
    if waiting.is_empty() {
        return Seen { orders: vec![], waiting, shelf: vec![], rest };
    }
    let ready = caches.tickets.by_index(BY_PHASE, TicketPhase::Ready.as_str());
    let with_place = |ticket: Arc<Ticket>| {
        let guardian = caches.pods.get(&guardian_key(&key(ticket.as_ref())))?;
        let node = caches.nodes.get(&Key::cluster(guardian.spec.node_name.as_ref()?))?;
        Some((ticket, guardian, node))
    };
    Seen { orders: caches.orders.list(), waiting, shelf: ready.into_iter().filter_map(with_place).collect(), rest }
}

fn has_claim(caches: &Caches, pod: &Pod) -> bool {
    caches.tickets.by_index(BY_CLAIMANT, pod.uid()).iter().any(|ticket| ticket.phase() == TicketPhase::Claimed)
}

async fn act(claims: &Claims, cx: &Context, pod: &Pod, verdict: &Verdict<'_>) -> Result<(), kube::Error> {
    match verdict {
        Verdict::Claim(ticket) => claim(claims, cx, pod, ticket).await,
        Verdict::Wait(_) if quiet_for(pod, cx).is_some() => Ok(()),
        Verdict::Wait(wait) => tell(claims, cx, pod, wait).await,
    }
}

/// Writes the pod into the ticket, if the ticket is still the version that was looked at: the one write that decides.
async fn claim(claims: &Claims, cx: &Context, pod: &Pod, ticket: &Ticket) -> Result<(), kube::Error> {
    let status = ticket::claimed(ticket, pod, cx.now());
    let note = format!("given to pod `{}`", pod.name());
    let written = Ticket { status: Some(status), ..ticket.clone() };
    let write = write::status(&claims.client, &claims.caches.tickets, &written);
    claims.doubts.over(key(ticket), write).await?;
    news::tell(&cx.recorder, ticket, "Claim", "HandingOver", &note);
    Ok(())
}

/// How much longer the pod is not told why it waits.
fn quiet_for(pod: &Pod, cx: &Context) -> Option<SignedDuration> {
    let made = pod.metadata.creation_timestamp.as_ref()?.0;
    let told_at = made + QUIET_WAIT;
    Some(told_at.duration_since(cx.now())).filter(SignedDuration::is_positive)
}

/// Tells the pod why it waits, if it was not told that reason already.
async fn tell(claims: &Claims, cx: &Context, pod: &Pod, wait: &Wait) -> Result<(), kube::Error> {
    let told = pod.condition(names::CONDITION_TICKET_BOUND);
    if told.is_some_and(|told| told.status == "False" && told.reason == wait.reason) {
        return Ok(());
    }
    let mut operations = conditions::of_pod(pod, false, wait.reason, &wait.message, cx.now());
    if pod.status.nominated_node_name.is_some() {
        // Its ticket was deleted in mid-hand-over: the nomination would count against others for nothing.
        operations.push(json!({"op": "remove", "path": "/status/nominatedNodeName"}));
    }
    write::patch(&claims.client, &claims.caches.pods, pod, Part::Status, json!(operations)).await?;
    news::tell(&cx.recorder, pod, "Wait", wait.reason, &wait.message);
    Ok(())
}
