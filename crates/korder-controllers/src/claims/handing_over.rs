//! Passes over all claims on one node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kooper::{Context, Failure, Key, Outcome};
use korder_api::{TicketPhase, TicketStatus, names};
use korder_core::handover::{self, Action, Claim, Step};
use korder_core::node::Node;
use korder_core::pod::Pod;
use korder_core::reasons;
use korder_core::scheduler::{self, Lease, Scheduler};
use korder_core::ticket::{self, Ticket};
use serde_json::json;

use super::{Claims, groups, key};
use crate::caches::{BY_CLAIMANT, CLAIMED_ON, Caches};
use crate::tickets::{claimant, guardian_key};
use crate::write::{self, Part, api};
use crate::{conditions, news};

/// Stages that one run goes through before others get their turn: a whole hand-over, and the start of the next.
const MAX_STAGES: usize = 8;

/// Brings the claims on a node as far as they come now.
pub(super) async fn pass(claims: &Claims, cx: &Context, node: &str) -> Result<Outcome, Failure> {
    for _ in 0..MAX_STAGES {
        let seen = observe(&claims.caches, node);
        let views: Vec<Claim<'_>> = seen.iter().map(Seen::claim).collect();
        let plan = handover::plan(&views, cx.now());
        if plan.steps.is_empty() {
            let wait = plan.wake.map(|wake| wake.duration_since(cx.now()));
            let after = |wait| Outcome::After(Duration::try_from(wait).unwrap_or_default());
            return Ok(wait.map_or(Outcome::Done, after));
        }
        if plan.steps.iter().any(|step| step.action == Action::RemoveGuardian) {
            match same_schedulers(claims, &seen).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => return Ok(write::pace(&[Err(error)]).unwrap_or(Outcome::Done)),
            }
        }
        let mut acts = Vec::with_capacity(plan.steps.len());
        for Step { claim, action } in &plan.steps {
            acts.push(measured(claims, cx, &seen[*claim], action));
        }
        if let Some(outcome) = write::pace(&write::all(acts).await) {
            return Ok(outcome);
        }
    }
    Ok(Outcome::After(Duration::ZERO))
}

/// A claimed ticket and what belongs to it.
struct Seen {
    ticket: Arc<Ticket>,
    claimant: Option<Arc<Pod>>,
    guardian: Option<Arc<Pod>>,
    node: Option<Arc<Node>>,
    rival: Option<Arc<Ticket>>,
    group_is_seated: bool,
    scheduler: Scheduler,
}

impl Seen {
    fn claim(&self) -> Claim<'_> {
        Claim {
            ticket: &self.ticket,
            claimant: self.claimant.as_deref(),
            guardian: self.guardian.as_deref(),
            node: self.node.as_deref(),
            rival: self.rival.as_deref(),
            group_is_seated: self.group_is_seated,
            scheduler: &self.scheduler,
        }
    }
}

fn observe(caches: &Caches, node: &str) -> Vec<Seen> {
    let claimed = caches.tickets.by_index(CLAIMED_ON, node).into_iter();
    let seen = claimed.map(|ticket| {
        let guardian = caches.pods.get(&guardian_key(&ticket));
        let guardian = guardian.filter(|guardian| ticket::is_guardian_of(guardian, &ticket));
        let claimant = claimant(caches, &ticket);
        let group_is_seated = claimant.as_ref().is_none_or(|pod| groups::is_seated(caches, pod));
        let scheduler = claimant.as_ref().map(|pod| caches.scheduler_of(pod)).unwrap_or_default();
        let node = caches.nodes.get(&Key::cluster(node));
        Seen { claimant, rival: rival(caches, &ticket), group_is_seated, guardian, node, scheduler, ticket }
    });
    seen.collect()
}

/// Whether the schedulers are still those that were seen, read live: one that has begun a moment ago must be told before
/// a place is free.
async fn same_schedulers(claims: &Claims, seen: &[Seen]) -> Result<bool, kube::Error> {
    let caches = &claims.caches;
    let leases = || seen.iter().filter_map(|one| caches.lease_of(one.claimant.as_deref()?));
    let names: BTreeSet<String> = leases().filter_map(|lease| lease.metadata.name.clone()).collect();
    for name in names {
        if let Some(lease) = api::<Lease>(&claims.client, scheduler::LEASE_NAMESPACE).get_opt(&name).await? {
            caches.leases.wrote(lease);
        }
    }
    Ok(seen.iter().all(|one| one.claimant.as_ref().is_none_or(|pod| caches.scheduler_of(pod) == one.scheduler)))
}

/// Another ticket that is claimed for the same pod; the first of them by name.
fn rival(caches: &Caches, ticket: &Ticket) -> Option<Arc<Ticket>> {
    let claims = caches.tickets.by_index(BY_CLAIMANT, &ticket.claim()?.uid);
    let another =
        |rival: &Arc<Ticket>| rival.phase() == TicketPhase::Claimed && rival.metadata.uid != ticket.metadata.uid;
    claims.into_iter().find(another)
}

/// Makes a step, and counts what was done.
async fn measured(claims: &Claims, cx: &Context, seen: &Seen, action: &Action) -> Result<(), kube::Error> {
    let Some(action) = act(claims, cx, seen, action).await? else { return Ok(()) };
    let metrics = &claims.metrics;
    let since = |time: Timestamp| cx.now().duration_since(time);
    let done = |step| seen.ticket.claim().into_iter().for_each(|claim| metrics.step_is_done(step, since(claim.time.0)));
    match action {
        Action::Nominate => done("nominated"),
        Action::RemoveGuardian => done("freed"),
        Action::Ungate => done("ungated"),
        Action::Use => {
            done("bound");
            metrics.claim_is_over("used");
            seen.claimant.iter().filter_map(|pod| pod.created()).for_each(|made| metrics.pod_has_waited(since(made)));
        }
        Action::GiveBack(_) => metrics.claim_is_over("given-back"),
        Action::Lose(_) => {
            metrics.claim_is_over("lost");
            metrics.place_is_lost("guardian-not-removed");
        }
        Action::Withdraw(reason, _)
            if *reason != reasons::GATE_REMOVED && seen.claimant.as_ref().is_some_and(|pod| !pod.is_gated()) =>
        {
            metrics.place_is_lost("not-placed");
        }
        Action::Withdraw(..) | Action::Touch(_) => {}
    }
    Ok(())
}

/// Does what an action asks for; with the action that came of it, if any.
async fn act<'a>(
    claims: &Claims,
    cx: &Context,
    seen: &Seen,
    action: &'a Action,
) -> Result<Option<&'a Action>, kube::Error> {
    let done = match (action, &seen.claimant, &seen.guardian) {
        (Action::Nominate, Some(pod), _) => nominate(claims, cx, seen, pod).await,
        (Action::Touch(value), Some(pod), _) => {
            let operation = conditions::annotation(pod, names::ANNOTATION_SCHEDULER_TERM, value);
            write::patch(&claims.client, &claims.caches.pods, pod, Part::Main, json!([operation])).await
        }
        (Action::RemoveGuardian, Some(pod), Some(guardian)) => {
            let removed = remove_guardian(claims, seen, pod, guardian).await;
            if let Err(error) = &removed
                && write::is_refused_for_good(error)
                && ticket::reason(&seen.ticket) != Some(reasons::GUARDIAN_NOT_REMOVED)
            {
                let status = ticket::not_removed(&seen.ticket, &error.to_string(), cx.now());
                write_status(claims, cx, seen, status).await?;
            }
            return removed.map(|removed| removed.then_some(action));
        }
        (Action::Ungate, Some(pod), _) => ungate(claims, seen, pod).await,
        (Action::Use, ..) => write_status(claims, cx, seen, ticket::in_use(&seen.ticket, cx.now())).await,
        (Action::Withdraw(reason, why), Some(pod), _) => {
            claims.remember_refusal(pod, handover::node_of(&seen.ticket).unwrap_or_default(), cx.now());
            withdraw(claims, cx, pod, reason, why).await
        }
        (Action::Lose(why), ..) => write_status(claims, cx, seen, ticket::lost(&seen.ticket, why, cx.now())).await,
        // What is seen of the pod may be old, and another leader have promised it the place since.
        (Action::GiveBack(_), ..) if is_promised_since(claims, seen).await? => return Ok(None),
        (Action::GiveBack(why), ..) => give_back(claims, cx, seen, why).await,
        // The plan asks for these only where the pods are there.
        (Action::Nominate | Action::Touch(_) | Action::RemoveGuardian | Action::Ungate | Action::Withdraw(..), ..) => {
            return Ok(None);
        }
    };
    match (done, &seen.claimant) {
        (Err(error), Some(pod)) if write::is_refused_for_good(&error) && action.is_of_pod() => {
            refused(claims, cx, seen, pod, &error).await.map(|()| Some(&GIVEN_BACK))
        }
        (done, _) => done.map(|()| Some(action)),
    }
}

/// What becomes of a claim whose pod can't be written.
const GIVEN_BACK: Action = Action::GiveBack("");

/// Somebody's rule refuses what must be written on the pod. It will do so again, and the others of the batch must not wait
/// for it: the ticket goes back, and the pod gets none for a while.
async fn refused(
    claims: &Claims,
    cx: &Context,
    seen: &Seen,
    pod: &Pod,
    error: &kube::Error,
) -> Result<(), kube::Error> {
    let why = format!("the pod can't be written: {error}");
    claims.unwritable().remember(pod.uid(), cx.now());
    news::tell(&cx.recorder, pod, "HandOver", reasons::WRITE_REFUSED, &why);
    if handover::is_nominated(pod, &seen.ticket) {
        // The nomination would count against others for nothing. Where this is refused too, it stays.
        if let Err(error) = withdraw(claims, cx, pod, reasons::WRITE_REFUSED, &why).await
            && !write::is_refused_for_good(&error)
        {
            return Err(error);
        }
    }
    give_back(claims, cx, seen, &why).await
}

async fn give_back(claims: &Claims, cx: &Context, seen: &Seen, why: &str) -> Result<(), kube::Error> {
    let status = ticket::given_back(&seen.ticket, seen.guardian.as_deref(), why, cx.now());
    write_status(claims, cx, seen, status).await
}

/// Tells the scheduler whom the place is for; it takes that in only from an update of a pod that it knows.
async fn nominate(claims: &Claims, cx: &Context, seen: &Seen, pod: &Pod) -> Result<(), kube::Error> {
    let node = handover::node_of(&seen.ticket).unwrap_or_default();
    let message = handover::claim_message(pod, &seen.ticket);
    let mut operations = vec![json!({"op": "add", "path": "/status/nominatedNodeName", "value": node})];
    operations.extend(conditions::of_pod(pod, true, handover::nomination_reason(pod), &message, cx.now()));
    let term = seen.scheduler.told_by_nomination(cx.now());
    operations.extend(term.map(|term| conditions::annotation(pod, names::ANNOTATION_SCHEDULER_TERM, &term)));
    write::patch(&claims.client, &claims.caches.pods, pod, Part::Status, json!(operations)).await?;
    news::tell(&cx.recorder, pod, "Claim", "TicketClaimed", &message);
    Ok(())
}

/// Removes a guardian, if the pod and the ticket, read live, still are promised to each other: a cache may be old, and a
/// place that is free and nobody's is lost. Whether it did.
async fn remove_guardian(claims: &Claims, seen: &Seen, pod: &Pod, guardian: &Pod) -> Result<bool, kube::Error> {
    let Seen { ticket, .. } = seen;
    let tickets = api::<Ticket>(&claims.client, ticket.namespace());
    let (live, live_ticket): (Option<Pod>, Option<Ticket>) =
        tokio::try_join!(async { api(&claims.client, pod.namespace()).get_opt(pod.name()).await }, async {
            tickets.get_opt(ticket.name()).await
        },)?;
    let of_ticket = live_ticket.as_ref().is_some_and(|live| {
        live.metadata.uid == ticket.metadata.uid
            && live.phase() == TicketPhase::Claimed
            && live.claim().is_some_and(|claim| claim.uid == pod.uid())
            && handover::node_of(live) == handover::node_of(ticket)
    });
    let promised = live.as_ref().is_some_and(|live| {
        live.uid() == pod.uid()
            && live.is_gated() == pod.is_gated()
            && live.spec.node_name.is_none()
            && !live.is_ending()
            && handover::is_nominated(live, &seen.ticket)
    });
    match live {
        Some(live) => claims.caches.pods.wrote(live),
        None => claims.caches.pods.deleted(&key(pod), pod.uid()),
    }
    if let Some(live) = live_ticket {
        claims.caches.tickets.wrote(live);
    }
    if !promised || !of_ticket {
        return Ok(false);
    }
    write::delete(&claims.client, &claims.caches.pods, guardian, false).await.map(|()| true)
}

/// Whether the pod, read live, has the promise of a place that is about to be given back. Then the cache knows of it.
async fn is_promised_since(claims: &Claims, seen: &Seen) -> Result<bool, kube::Error> {
    let Some(claim) = seen.ticket.claim() else { return Ok(false) };
    let live: Option<Pod> = api(&claims.client, &claim.namespace).get_opt(&claim.name).await?;
    let Some(live) = live.filter(|live| live.uid() == claim.uid) else { return Ok(false) };
    let promised = handover::is_nominated(&live, &seen.ticket) && !live.is_ending();
    claims.caches.pods.wrote(live);
    Ok(promised)
}

/// Takes the gate off, where there still is one, and writes down whose place the pod gets.
async fn ungate(claims: &Claims, seen: &Seen, pod: &Pod) -> Result<(), kube::Error> {
    let ticket = ticket::name_for(pod, &seen.ticket);
    let mut operations = vec![conditions::annotation(pod, names::ANNOTATION_BOUND_TICKET, &ticket)];
    let gate = pod.spec.scheduling_gates.iter().position(|gate| gate.name == names::GATE);
    operations.extend(gate.map(|gate| json!({"op": "remove", "path": format!("/spec/schedulingGates/{gate}")})));
    write::patch(&claims.client, &claims.caches.pods, pod, Part::Main, json!(operations)).await
}

/// Takes the nomination and the ticket's name back, and says why.
async fn withdraw(claims: &Claims, cx: &Context, pod: &Pod, reason: &str, why: &str) -> Result<(), kube::Error> {
    let mut operations = conditions::of_pod(pod, false, reason, why, cx.now());
    if pod.status.nominated_node_name.is_some() {
        operations.push(json!({"op": "remove", "path": "/status/nominatedNodeName"}));
    }
    operations.extend(conditions::without_annotation(pod, names::ANNOTATION_BOUND_TICKET));
    write::patch(&claims.client, &claims.caches.pods, pod, Part::Status, json!(operations)).await?;
    news::tell(&cx.recorder, pod, "HandOver", reason, why);
    Ok(())
}

async fn write_status(claims: &Claims, cx: &Context, seen: &Seen, status: TicketStatus) -> Result<(), kube::Error> {
    let before = seen.ticket.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let after = status.conditions.clone();
    write::status(&claims.client, &claims.caches.tickets, &seen.ticket.with_status(status)).await?;
    news::of_transition(&cx.recorder, seen.ticket.as_ref(), "HandOver", &before, &after);
    Ok(())
}
