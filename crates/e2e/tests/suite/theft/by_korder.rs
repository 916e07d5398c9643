//! Hand-overs as users get them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use e2e::Log;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Order, Ticket, TicketPhase, names};
use kube::ResourceExt as _;

use super::HandOver;
use super::field::{Field, PLACE};
use crate::pods::node_of;

const ORDER: &str = "shelf";

/// An order whose tickets are claimed; it goes on refilling, and its new guardians want the places too.
#[derive(Default)]
pub(super) struct ByKorder {
    claimants: AtomicUsize,
}

impl HandOver for ByKorder {
    async fn fill(&self, field: &Field<'_>) -> Result<()> {
        let places = i32::try_from(field.places())?;
        field.case.create(&field.case.order(ORDER, places, PLACE)).await?;
        let ready = |log: &Log<Order>| (log.get(ORDER)?.status.as_ref()?.ready == places).then_some(());
        field.case.orders.until("all tickets are ready", ready).await
    }

    async fn hand_over(&self, field: &Field<'_>, count: usize) -> Result<Vec<String>> {
        let first = self.claimants.fetch_add(count, Ordering::Relaxed);
        let claimant = |number| field.case.claimant(&format!("claimant-{number}"), ORDER, PLACE);
        let claimants: Vec<Pod> = (first..first + count).map(claimant).collect();
        let claimants = try_join_all(claimants.iter().map(|pod| field.case.create(pod))).await?;
        let names: Vec<String> = claimants.iter().map(Pod::name_any).collect();
        let bound = |log: &Log<Pod>| {
            let pods: Option<Vec<_>> = names.iter().map(|name| log.get(name).cloned()).collect();
            pods.filter(|pods| pods.iter().all(|pod| node_of(pod).is_some()))
        };
        // One that has lost its place may wait for ever.
        let Ok(pods) = field.case.pods.until("the claimants are bound", bound).await else {
            let log = field.case.pods.log();
            let lost = |name: &&String| log.get(name).is_none_or(|pod| node_of(pod).is_none());
            return Ok(names.iter().filter(lost).map(|name| format!("`{name}` got no place")).collect());
        };
        let uids: BTreeSet<String> = pods.iter().filter_map(|pod| pod.uid()).collect();
        let settled = |log: &Log<Ticket>| {
            let used = log.objects().filter(|ticket| ticket.phase() == TicketPhase::Used);
            (used.filter(|ticket| ticket.claim().is_some_and(|claim| uids.contains(&claim.uid))).count() == count)
                .then_some(())
        };
        field.case.tickets.until("the claimants' tickets are used", settled).await?;
        let log = field.case.tickets.log();
        Ok(pods.iter().filter_map(|pod| theft(pod, &log)).collect())
    }
}

/// What is wrong with where a claimant is: not on the node of its ticket, or not by its first ticket.
fn theft(pod: &Pod, tickets: &Log<Ticket>) -> Option<String> {
    let name = pod.name_any();
    let claimed = |ticket: &Ticket| ticket.claim().is_some_and(|claim| Some(&claim.uid) == pod.metadata.uid.as_ref());
    let of_pod = tickets.events().iter().map(|event| &event.object).filter(|ticket| claimed(ticket));
    let given: BTreeSet<(String, Option<String>)> = of_pod.map(|ticket| (ticket.name_any(), node(ticket))).collect();
    let bound = pod.annotations().get(names::ANNOTATION_BOUND_TICKET).cloned().unwrap_or_default();
    let right = given.len() == 1 && given.contains(&(bound.clone(), node_of(pod).map(str::to_owned)));
    (!right).then(|| format!("`{name}` is on {:?} with ticket `{bound}`; it was given {given:?}", node_of(pod)))
}

fn node(ticket: &Ticket) -> Option<String> {
    ticket.status.as_ref()?.node_name.clone()
}
