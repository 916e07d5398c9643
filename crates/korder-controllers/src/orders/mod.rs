//! Keeps each order's number of tickets.

mod act;
mod observe;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kooper::{Change, Context, ControllerBuilder, Failure, Key, Outcome, Reconciler};
use korder_core::order;
use korder_core::ticket::Ticket;
use kube::Client;

use crate::caches::Caches;

/// Between two writes of an order's status that only move its counts.
const STATUS_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// A refusal by quota or policy may end by itself, and nothing tells us when.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// The controller of orders.
pub fn controller(client: &Client, caches: &Caches) -> ControllerBuilder<Key, impl Reconciler<Key> + use<>> {
    let orders = Orders { client: client.clone(), caches: caches.clone(), last: Mutex::default() };
    ControllerBuilder::new("orders", orders).watches(&caches.orders, Change::keys).watches(
        &caches.tickets,
        |change: &Change<Ticket>| {
            let mut orders: Vec<Key> = change.sides().filter_map(|ticket| order_of(ticket)).collect();
            orders.dedup();
            orders
        },
    )
}

/// The key of the order that a ticket names.
fn order_of(ticket: &Ticket) -> Option<Key> {
    ticket.order().map(|(name, _)| Key::namespaced(ticket.namespace(), name))
}

/// The reconciler of orders.
struct Orders {
    client: Client,
    caches: Caches,
    /// What was last done for an order. Only spares work: lost in a restart, nothing is wrong.
    last: Mutex<BTreeMap<Key, Last>>,
}

/// What was last done for an order.
#[derive(Clone, Copy)]
struct Last {
    /// Until when it is left alone after the last look at it.
    rests_until: Timestamp,
    /// When its status was last written.
    written: Timestamp,
}

impl Reconciler<Key> for Orders {
    async fn reconcile(&self, cx: Context, key: Key) -> Result<Outcome, Failure> {
        let mut last = self.last().get(&key).copied().unwrap_or(Last::NEVER);
        if cx.now() < last.rests_until {
            return Ok(until(last.rests_until, cx.now()));
        }
        let Some((order, tickets)) = observe::observe(&self.caches, &key) else {
            self.last().remove(&key);
            return Ok(Outcome::Done);
        };
        let tickets: Vec<&Ticket> = tickets.iter().map(AsRef::as_ref).collect();
        let plan = order::plan(&order, &tickets, cx.now());
        if !plan.is_cut() {
            last.rests_until = cx.now() + order::rest(tickets.len());
            self.last().insert(key.clone(), last);
        }
        let act::Done { names_taken, refused, failure } = act::tickets(self, &cx, &order, &plan).await;
        let then = match (failure, &refused) {
            (Some(failure), None) => return Err(failure),
            (Some(failure), Some(_)) => Err(failure),
            (None, Some(_)) => Ok(Outcome::After(REFUSED_RETRY)),
            (None, None) => Ok(Outcome::Done),
        };
        let all_made = !plan.create.is_empty() && !plan.is_cut() && !names_taken;
        let status = match refused {
            Some(why) => {
                // What was made has queued the order again, and the rest would be refused again.
                last.rests_until = last.rests_until.max(cx.now() + STATUS_INTERVAL);
                self.last().insert(key.clone(), last);
                let refused = order::refused(&order, &tickets, plan.status, &why, cx.now());
                Some(refused).filter(|refused| order.status.as_ref() != Some(refused))
            }
            // The tickets that were just made are in the cache by now, and have queued the order again.
            None if all_made => None,
            None => plan.status,
        };
        let Some(status) = status else { return then };
        let due = last.written + STATUS_INTERVAL;
        if cx.now() < due {
            return Ok(until(due, cx.now()));
        }
        last.written = cx.now();
        self.last().insert(key, last);
        act::status(self, &cx, &order, status).await?;
        then
    }
}

impl Last {
    const NEVER: Self = Self { rests_until: Timestamp::MIN, written: Timestamp::MIN };
}

fn until(time: Timestamp, now: Timestamp) -> Outcome {
    Outcome::After(Duration::try_from(time.duration_since(now)).unwrap_or_default())
}

impl Orders {
    fn last(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Last>> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
