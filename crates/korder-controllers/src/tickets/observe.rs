//! What is there of a ticket.

use std::sync::Arc;

use k8s_openapi::api::scheduling::v1::PriorityClass;
use kooper::Key;
use korder_api::names;
use korder_core::node::Node;
use korder_core::order;
use korder_core::pod::Pod;
use korder_core::ticket::{self, Observed, Place, Ticket};

use crate::caches::Caches;

/// A ticket and what belongs to it, held while a plan is made of it.
pub(super) struct Seen {
    pub(super) ticket: Arc<Ticket>,
    pub(super) guardian: Option<Arc<Pod>>,
    node: Option<Arc<Node>>,
    pub(super) successor: Option<Arc<Pod>>,
    node_of_successor: Option<Arc<Node>>,
    claimant: Option<Arc<Pod>>,
    priority: Option<i32>,
    twin_exists: bool,
    counted: bool,
}

impl Seen {
    pub(super) fn observed(&self) -> Observed<'_> {
        Observed {
            ticket: &self.ticket,
            guardian: place(self.guardian.as_deref(), self.node.as_deref()),
            successor: place(self.successor.as_deref(), self.node_of_successor.as_deref()),
            claimant: self.claimant.as_deref(),
            priority: self.priority,
            twin_exists: self.twin_exists,
            counted: self.counted,
        }
    }
}

fn place<'a>(pod: Option<&'a Pod>, node: Option<&'a Node>) -> Option<Place<'a>> {
    pod.map(|pod| Place { pod, node })
}

pub(super) fn observe(caches: &Caches, key: &Key) -> Option<Seen> {
    let ticket = caches.tickets.get(key)?;
    let guardian = caches.pods.get(&guardian_key(&ticket));
    let successor = caches.pods.get(&sibling(&ticket, ticket.successor_name()));
    let claimant = claimant(caches, &ticket);
    let node_of = |pod: &Option<Arc<Pod>>| caches.nodes.get(&Key::cluster(pod.as_ref()?.spec.node_name.as_ref()?));
    let (node, node_of_successor) = (node_of(&guardian), node_of(&successor));
    let priority = priority(caches, ticket.spec().priority_class_name.as_deref());
    let twin_exists = priority.is_some_and(|value| {
        let twin = caches.classes.get(&Key::cluster(names::twin_priority_class(value)));
        twin.is_some_and(|twin| ticket::is_twin(twin.value, twin.preemption_policy.as_deref(), value))
    });
    let counted = has_counted(caches, &ticket);
    Some(Seen { ticket, guardian, node, successor, node_of_successor, claimant, priority, twin_exists, counted })
}

/// The key of a ticket's guardian.
pub(crate) fn guardian_key(ticket: &Ticket) -> Key {
    sibling(ticket, ticket.guardian_name())
}

/// The key of an object beside the ticket.
fn sibling(ticket: &Ticket, name: String) -> Key {
    Key { namespace: ticket.metadata.namespace.clone(), name }
}

/// The pod that a ticket was given to: the one of that name only if it has the uid too.
pub(crate) fn claimant(caches: &Caches, ticket: &Ticket) -> Option<Arc<Pod>> {
    let claim = ticket.claim()?;
    caches.pods.get(&Key::namespaced(&claim.namespace, &claim.name)).filter(|pod| pod.uid() == claim.uid)
}

/// The priority that pods of a class have; without a class that of the cluster's default, or 0.
fn priority(caches: &Caches, class: Option<&str>) -> Option<i32> {
    match class {
        Some(class) => Some(caches.classes.get(&Key::cluster(class))?.value),
        None => Some(default_priority(caches.classes.list().iter().map(AsRef::as_ref))),
    }
}

/// Where several classes say that they are the default, the API server takes the one of the least value.
fn default_priority<'a>(classes: impl Iterator<Item = &'a PriorityClass>) -> i32 {
    classes.filter(|class| class.global_default == Some(true)).map(|class| class.value).min().unwrap_or(0)
}

fn has_counted(caches: &Caches, ticket: &Ticket) -> bool {
    let Some((name, uid)) = ticket.order() else { return true };
    let order = caches.orders.get(&Key::namespaced(ticket.namespace(), name));
    let order = order.filter(|order| order.metadata.uid.as_deref() == Some(uid));
    order.is_none_or(|order| order::has_counted(&order, ticket))
}
