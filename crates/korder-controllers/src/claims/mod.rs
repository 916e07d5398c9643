//! Gives tickets to pods, and hands their places over.
//!
//! Two kinds of work. *Matching* looks at all waiting pods and all ready tickets at once, since pods stand in line.
//! *Handing over* looks at all claims on one node at once, since those that overlap there make their pods refuse each
//! other. A claim goes from the first to the second through the ticket's status alone.

mod doubt;
mod handing_over;
mod matching;

use std::sync::Arc;

use kooper::{Change, Context, ControllerBuilder, Failure, Key, Outcome, Reconciler};
use korder_api::{Order, Ticket, TicketPhase};
use korder_core::node::Node;
use korder_core::pod::Pod;
use kube::Client;

use crate::caches::{BY_CLAIMANT, Caches};
use doubt::Doubts;

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Give ready tickets to waiting pods.
    Match,
    /// Hand over what is claimed on this node.
    HandOver(String),
}

/// The controller of claims.
pub fn controller(client: &Client, caches: &Caches) -> ControllerBuilder<Work, impl Reconciler<Work> + use<>> {
    let claims = Claims { client: client.clone(), caches: caches.clone(), doubts: Doubts::default() };
    let tickets = caches.tickets.clone();
    ControllerBuilder::new("claims", claims)
        .watches(&caches.tickets, |change: &Change<Ticket>| change.sides().filter_map(of_ticket).collect())
        .watches(&caches.pods, move |change: &Change<Pod>| {
            change.sides().flat_map(|pod| of_pod(pod, |uid| tickets.by_index(BY_CLAIMANT, uid))).collect()
        })
        .watches(&caches.orders, |change: &Change<Order>| match (&change.old, &change.new) {
            (Some(_), Some(_)) => vec![],
            _ => vec![Work::Match],
        })
        .watches(&caches.nodes, |change: &Change<Node>| match (&change.old, &change.new) {
            (Some(old), Some(new)) if old.spec == new.spec && old.labels() == new.labels() => vec![],
            _ => vec![Work::Match],
        })
        .concurrency(16)
}

fn of_ticket(ticket: &Arc<Ticket>) -> Option<Work> {
    match ticket.phase() {
        TicketPhase::Ready => Some(Work::Match),
        TicketPhase::Claimed => hand_over(ticket),
        _ => None,
    }
}

fn of_pod(pod: &Arc<Pod>, tickets_of: impl Fn(&str) -> Vec<Arc<Ticket>>) -> Vec<Work> {
    if pod.is_guardian() {
        // Its ticket can be given away, or its place is free now.
        let on_node = pod.spec.node_name.clone().map(Work::HandOver);
        return [Work::Match].into_iter().chain(on_node).collect();
    }
    let mut work: Vec<Work> = tickets_of(pod.uid()).iter().filter_map(|ticket| hand_over(ticket)).collect();
    if pod.is_gated() {
        work.push(Work::Match);
    }
    work
}

fn hand_over(ticket: &Ticket) -> Option<Work> {
    if ticket.phase() != TicketPhase::Claimed {
        return None;
    }
    korder_core::handover::node_of(ticket).map(|node| Work::HandOver(node.to_owned()))
}

/// The reconciler of claims.
struct Claims {
    client: Client,
    caches: Caches,
    doubts: Doubts,
}

impl Reconciler<Work> for Claims {
    async fn reconcile(&self, cx: Context, work: Work) -> Result<Outcome, Failure> {
        match work {
            Work::Match => matching::pass(self, &cx).await,
            Work::HandOver(node) => handing_over::pass(self, &cx, &node).await,
        }
    }
}

/// The key of a pod or a ticket.
fn key<K: kube::Resource>(object: &K) -> Key {
    Key::of(object)
}
