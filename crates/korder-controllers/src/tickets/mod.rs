//! Keeps each ticket's guardian, moves it away from nodes that go, and ends the ticket in its time.

mod act;
mod observe;

use std::time::Duration;

use kooper::{Change, Context, ControllerBuilder, Failure, Key, Outcome, Reconciler};
use korder_api::{Order, TicketPhase, names};
use korder_core::node::Node;
use korder_core::order::has_counted;
use korder_core::pod::Pod;
use korder_core::ticket::{self, Ticket};
use kube::Client;

pub(crate) use observe::{claimant, guardian_key};

use crate::Config;
use crate::caches::{BY_NODE, BY_ORDER, BY_PHASE, Caches, order_value};

/// Writes in a row for one ticket; the most that any plan needs, and some.
const MAX_STEPS: usize = 6;

/// The controller of tickets.
pub fn controller(
    client: &Client,
    caches: &Caches,
    config: &Config,
) -> ControllerBuilder<Key, impl Reconciler<Key> + use<>> {
    let reconciler = Tickets { client: client.clone(), caches: caches.clone(), image: config.guardian_image.clone() };
    let tickets = caches.tickets.clone();
    let of = move |index: &'static str, value: &str| tickets.by_index(index, value);
    let on_node = of.clone();
    let waiting = of.clone();
    ControllerBuilder::new("tickets", reconciler)
        .watches(&caches.tickets, Change::keys)
        .watches(&caches.pods, tickets_of_pod)
        .watches(&caches.nodes, move |change: &Change<Node>| match &change.new {
            // Most changes of a node are signs of life.
            Some(new) if change.old.as_ref().is_some_and(|old| old.spec == new.spec) => vec![],
            _ => keys(&change.latest().map(|node| on_node(BY_NODE, node.name())).unwrap_or_default()),
        })
        .watches(&caches.classes, move |_| {
            let phases = [TicketPhase::Pending, TicketPhase::Ready];
            let mut tickets: Vec<_> = phases.iter().flat_map(|phase| waiting(BY_PHASE, phase.as_str())).collect();
            tickets.retain(|ticket| ticket::may_wait_for_class(ticket));
            keys(&tickets)
        })
        .watches(&caches.orders, move |change: &Change<Order>| {
            let meta = change.latest().map(|order| &order.metadata);
            let namespace = meta.and_then(|meta| meta.namespace.as_deref()).unwrap_or_default();
            let uid = meta.and_then(|meta| meta.uid.as_deref()).unwrap_or_default();
            let counted = |order: &Option<std::sync::Arc<Order>>, ticket: &Ticket| {
                order.as_ref().is_some_and(|order| has_counted(order, ticket))
            };
            let mut tickets = of(BY_ORDER, &order_value(namespace, uid));
            // Only what is counted now, or whose order is gone, can be forgotten now.
            tickets.retain(|ticket| {
                !counted(&change.old, ticket) && (change.new.is_none() || counted(&change.new, ticket))
            });
            keys(&tickets)
        })
        .concurrency(16)
}

fn keys(tickets: &[std::sync::Arc<Ticket>]) -> Vec<Key> {
    tickets.iter().map(|ticket| Key::of(ticket.as_ref())).collect()
}

/// The ticket that a pod guards, or has.
fn tickets_of_pod(change: &Change<Pod>) -> Vec<Key> {
    let owners = |pod: &Pod| -> Vec<Key> {
        let owners = pod.tickets.iter().filter(|owner| owner.is_controller);
        owners.map(|owner| Key::namespaced(pod.namespace(), &owner.name)).collect()
    };
    let mut tickets: Vec<Key> = change.sides().flat_map(|pod| owners(pod)).collect();
    tickets.extend(change.sides().filter_map(|pod| {
        let (namespace, ticket) = ticket::named_on(pod)?;
        Some(Key::namespaced(namespace, ticket))
    }));
    // One that is left behind has no owner any more, only a label.
    let is_left = |pod: &Pod| ticket::is_orphan(pod) || ticket::deleted_again_from(pod).is_some();
    tickets.extend(change.sides().filter_map(|pod| {
        let ticket = pod.label(names::LABEL_TICKET).filter(|_| is_left(pod))?;
        Some(Key::namespaced(pod.namespace(), ticket))
    }));
    tickets.dedup();
    tickets
}

/// The reconciler of tickets.
struct Tickets {
    client: Client,
    caches: Caches,
    image: String,
}

impl Reconciler<Key> for Tickets {
    async fn reconcile(&self, cx: Context, key: Key) -> Result<Outcome, Failure> {
        act::remove_orphans(self, &key).await?;
        let again = act::delete_again(self, &key, cx.now()).await?;
        for _ in 0..MAX_STEPS {
            let seen = observe::observe(&self.caches, &key);
            let plan = seen.as_ref().map(|seen| ticket::plan(&seen.observed(), cx.now())).unwrap_or_default();
            let (Some(seen), Some(step)) = (seen, plan.step) else {
                let wait = plan.wake.into_iter().chain(again).min().map(|wake| wake.duration_since(cx.now()));
                let after = |wait| Outcome::After(Duration::try_from(wait).unwrap_or_default());
                return Ok(wait.map_or(Outcome::Done, after));
            };
            if let Some(outcome) = act::step(self, &cx, &seen, step).await? {
                return Ok(outcome);
            }
        }
        Ok(Outcome::After(Duration::from_millis(100)))
    }
}
