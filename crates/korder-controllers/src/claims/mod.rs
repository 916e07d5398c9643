//! Gives tickets to pods, and hands their places over.
//!
//! Two kinds of work. *Matching* looks at all waiting pods and all ready tickets at once, since pods stand in line.
//! *Handing over* looks at all claims on one node at once, since those that overlap there make their pods refuse each
//! other. A claim goes from the first to the second through the ticket's status alone.

mod doubt;
mod groups;
mod handing_over;
mod matching;
mod surroundings;
mod unwritable;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kooper::{Change, Context, ControllerBuilder, Failure, Key, Outcome, Reconciler};
use korder_api::{Order, TicketPhase};
use korder_core::fit::Refusals;
use korder_core::handover::waits;
use korder_core::matching::is_only_retold;
use korder_core::namespace::Namespace;
use korder_core::node::Node;
use korder_core::order::is_complete;
use korder_core::pod::Pod;
use korder_core::scheduler::{Lease, Scheduler};
use korder_core::ticket::Ticket;
use kube::Client;

use crate::caches::{BY_CLAIMANT, BY_PHASE, Caches};
use crate::metrics::Metrics;
use doubt::Doubts;
use surroundings::{Hoped, moves};
use unwritable::Unwritable;

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Give ready tickets to waiting pods.
    Match,
    /// Hand over what is claimed on this node.
    HandOver(String),
}

/// The controller of claims.
pub fn controller(
    client: &Client,
    caches: &Caches,
    metrics: &Metrics,
) -> ControllerBuilder<Work, impl Reconciler<Work> + use<>> {
    let hoped = Arc::new(Hoped::default());
    let claims = Claims {
        client: client.clone(),
        caches: caches.clone(),
        doubts: Doubts::default(),
        metrics: metrics.clone(),
        refusals: Mutex::default(),
        unwritable: Mutex::default(),
        hoped: Arc::clone(&hoped),
    };
    let for_pods = {
        let hoped = Arc::clone(&hoped);
        move || if hoped.for_pods() { vec![Work::Match] } else { vec![] }
    };
    let for_claims = move || if hoped.for_storage() { vec![Work::Match] } else { vec![] };
    let (for_volumes, for_classes) = (for_claims.clone(), for_claims.clone());
    let (tickets, of_groups) = (caches.tickets.clone(), caches.clone());
    let claimed = tickets.clone();
    ControllerBuilder::new("claims", claims)
        .watches(&caches.tickets, move |change: &Change<Ticket>| {
            change.sides().flat_map(|ticket| of_ticket(&of_groups, ticket)).collect()
        })
        .watches(&caches.pods, move |change: &Change<Pod>| {
            if let (Some(old), Some(new)) = (&change.old, &change.new)
                && is_only_retold(old, new)
            {
                return vec![];
            }
            let mut work: Vec<Work> =
                change.sides().flat_map(|pod| of_pod(pod, |uid| tickets.by_index(BY_CLAIMANT, uid))).collect();
            if moves(change) {
                work.extend(for_pods());
            }
            work
        })
        .watches(&caches.storage_claims, move |_| for_claims())
        .watches(&caches.volumes, move |_| for_volumes())
        .watches(&caches.storage_classes, move |_| for_classes())
        .watches(&caches.orders, |change: &Change<Order>| match (&change.old, &change.new) {
            (Some(old), Some(new))
                if old.spec.allowed_namespaces == new.spec.allowed_namespaces
                    && is_complete(old) == is_complete(new) =>
            {
                vec![]
            }
            _ => vec![Work::Match],
        })
        .watches(&caches.namespaces, |change: &Change<Namespace>| match (&change.old, &change.new) {
            (Some(old), Some(new)) if old.labels() == new.labels() => vec![],
            _ => vec![Work::Match],
        })
        .watches(&caches.nodes, |change: &Change<Node>| match (&change.old, &change.new) {
            (Some(old), Some(new))
                if old.spec == new.spec && old.status == new.status && old.labels() == new.labels() =>
            {
                vec![]
            }
            // It may take the pods no more that have a claim there.
            _ => change.sides().map(|node| Work::HandOver(node.name().to_owned())).chain([Work::Match]).collect(),
        })
        .watches(&caches.leases, move |change: &Change<Lease>| {
            let [old, new] = [&change.old, &change.new].map(|lease| Scheduler::of(lease.as_deref()));
            // A Lease is renewed every other second, which tells nothing.
            let tickets = if old == new { vec![] } else { claimed.by_index(BY_PHASE, TicketPhase::Claimed.as_str()) };
            tickets.iter().filter_map(|ticket| hand_over(ticket)).collect()
        })
        .concurrency(16)
}

fn of_ticket(caches: &Caches, ticket: &Arc<Ticket>) -> Vec<Work> {
    match ticket.phase() {
        TicketPhase::Ready => vec![Work::Match],
        // The last claim of a group lets those go that were made before it.
        TicketPhase::Claimed => {
            let others = groups::claims_with(caches, ticket);
            hand_over(ticket).into_iter().chain(others.iter().filter_map(|other| hand_over(other))).collect()
        }
        _ => vec![],
    }
}

fn of_pod(pod: &Arc<Pod>, tickets_of: impl Fn(&str) -> Vec<Arc<Ticket>>) -> Vec<Work> {
    if pod.is_guardian() {
        // Its ticket can be given away, or its place is free now.
        let on_node = pod.spec.node_name.clone().map(Work::HandOver);
        return [Work::Match].into_iter().chain(on_node).collect();
    }
    let mut work: Vec<Work> = tickets_of(pod.uid()).iter().filter_map(|ticket| hand_over(ticket)).collect();
    if waits(pod) {
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
    metrics: Metrics,
    refusals: Mutex<Refusals>,
    unwritable: Mutex<Unwritable>,
    hoped: Arc<Hoped>,
}

impl Claims {
    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwritable(&self) -> MutexGuard<'_, Unwritable> {
        self.unwritable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that the scheduler has refused a pod on a node, if it has.
    fn remember_refusal(&self, pod: &Pod, node: &str, now: Timestamp) {
        let Some(node) = self.caches.nodes.get(&Key::cluster(node)) else { return };
        if pod.is_pending() && pod.unschedulable().is_some() {
            let pods = self.caches.pods.list();
            self.refusals().remember(pod, &node, pods.iter().map(AsRef::as_ref), now);
        }
    }
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
