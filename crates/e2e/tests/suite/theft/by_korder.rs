//! Hand-overs as users get them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use e2e::Log;
use e2e::objects;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use korder_api::order::RefreshPolicy;
use korder_api::{Order, Ticket, TicketPhase, names};
use kube::ResourceExt as _;

use super::field::{Field, is_running};
use super::{HandOver, claimant};
use crate::pods::{node_of, waits_for};

const ORDER: &str = "shelf";

/// An order whose tickets are claimed.
pub(super) struct ByKorder {
    /// With [`RefreshPolicy::OnClaim`] the order refills, and its new guardians want the places too.
    policy: RefreshPolicy,
    claimants: AtomicUsize,
}

impl ByKorder {
    pub(super) fn new(policy: RefreshPolicy) -> Self {
        Self { policy, claimants: AtomicUsize::new(0) }
    }
}

impl HandOver for ByKorder {
    async fn fill(&self, field: &Field<'_>) -> Result<()> {
        let places = i32::try_from(field.places())?;
        let mut order = field.order(ORDER)?;
        order.spec.strategy = Some(objects::refreshed(self.policy));
        field.case.create(&order).await?;
        let ready = |log: &Log<Order>| (log.get(ORDER)?.status.as_ref()?.ready == places).then_some(());
        field.case.orders.until("all tickets are ready", ready).await
    }

    async fn hand_over(&self, field: &Field<'_>, count: usize) -> Result<Vec<String>> {
        let first = self.claimants.fetch_add(count, Ordering::Relaxed);
        let pod = |number| field.claimant(&claimant(number), ORDER);
        let claimants: Vec<Pod> = (first..first + count).map(pod).collect();
        let claimants = try_join_all(claimants.iter().map(|pod| field.case.create(pod))).await?;
        let names: Vec<String> = claimants.iter().map(Pod::name_any).collect();
        let decided = |log: &Log<Pod>| {
            let pods: Option<Vec<_>> = names.iter().map(|name| log.get(name).cloned()).collect();
            pods.filter(|pods| pods.iter().all(|pod| is_running(pod) || has_failed(pod) || has_lost_its_place(pod)))
        };
        let pods = field.case.pods.until("each claimant runs or has lost its place", decided).await?;
        let (bound, lost): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| node_of(pod).is_some());
        let settled = |log: &Log<Ticket>| bound.iter().all(|pod| is_handed_over(pod, log)).then_some(());
        field.case.tickets.until("the hand-overs are over", settled).await?;
        let log = field.case.tickets.log();
        let thefts = bound.iter().filter_map(|pod| theft(pod, &log));
        Ok(thefts.chain(lost.iter().map(|pod| format!("`{}` got no place", pod.name_any()))).collect())
    }
}

/// Whether the kubelet refused it, or it ended otherwise.
fn has_failed(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed")
}

/// Whether korder says that the scheduler did not let the pod have its place.
fn has_lost_its_place(pod: &Pod) -> bool {
    waits_for(pod).is_some_and(|(reason, _)| matches!(reason, "PlaceLost" | "PlaceLostAgain"))
}

fn is_claimed_by(ticket: &Ticket, pod: &Pod) -> bool {
    ticket.claim().is_some_and(|claim| Some(&claim.uid) == pod.metadata.uid.as_ref())
}

/// Whether the pod was given a ticket, and no hand-over to it is under way.
fn is_handed_over(pod: &Pod, tickets: &Log<Ticket>) -> bool {
    let given = tickets.events().iter().any(|event| is_claimed_by(&event.object, pod));
    given && !tickets.objects().any(|ticket| ticket.phase() == TicketPhase::Claimed && is_claimed_by(ticket, pod))
}

/// What is wrong with where a claimant is: not on the node of its ticket, or not by its first ticket.
fn theft(pod: &Pod, tickets: &Log<Ticket>) -> Option<String> {
    let name = pod.name_any();
    if has_failed(pod) {
        let status = pod.status.clone().unwrap_or_default();
        let (reason, message) = (status.reason.unwrap_or_default(), status.message.unwrap_or_default());
        return Some(format!("`{name}` failed on {:?}: {reason}: {message}", node_of(pod)));
    }
    let of_pod = tickets.events().iter().map(|event| &event.object).filter(|ticket| is_claimed_by(ticket, pod));
    let given: BTreeSet<(String, Option<String>)> = of_pod.map(|ticket| (ticket.name_any(), node(ticket))).collect();
    let bound = pod.annotations().get(names::ANNOTATION_BOUND_TICKET).cloned().unwrap_or_default();
    let right = given.len() == 1 && given.contains(&(bound.clone(), node_of(pod).map(str::to_owned)));
    (!right).then(|| format!("`{name}` is on {:?} with ticket `{bound}`; it was given {given:?}", node_of(pod)))
}

fn node(ticket: &Ticket) -> Option<String> {
    ticket.status.as_ref()?.node_name.clone()
}
