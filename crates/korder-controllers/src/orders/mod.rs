//! Keeps each order's number of tickets.

mod act;
mod observe;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kooper::{Change, Context, ControllerBuilder, Failure, Key, Outcome, Reconciler};
use korder_api::{Order, Ticket};
use korder_core::order;
use kube::Client;

use crate::caches::Caches;

/// Between two writes of an order's status that only move its counts.
const STATUS_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// The controller of orders.
pub fn controller(client: &Client, caches: &Caches) -> ControllerBuilder<Key, impl Reconciler<Key> + use<>> {
    let orders = Orders { client: client.clone(), caches: caches.clone(), written: Mutex::new(BTreeMap::new()) };
    ControllerBuilder::new("orders", orders)
        .watches(&caches.orders, Change::keys)
        .watches(&caches.tickets, |change: &Change<Ticket>| change.owners::<Order>())
}

/// The reconciler of orders.
struct Orders {
    client: Client,
    caches: Caches,
    /// When the status of an order was last written. Only spares writes: lost in a restart, nothing is wrong.
    written: Mutex<BTreeMap<Key, Timestamp>>,
}

impl Reconciler<Key> for Orders {
    async fn reconcile(&self, cx: Context, key: Key) -> Result<Outcome, Failure> {
        let Some((order, tickets)) = observe::observe(&self.caches, &key) else {
            self.written().remove(&key);
            return Ok(Outcome::Done);
        };
        let tickets: Vec<&Ticket> = tickets.iter().map(AsRef::as_ref).collect();
        let plan = order::plan(&order, &tickets, cx.now());
        let names_taken = act::tickets(self, &cx, &order, &plan).await?;
        let Some(status) = plan.status else { return Ok(Outcome::Done) };
        if !plan.create.is_empty() && !names_taken {
            // The tickets that were just made are in the cache by now, and have queued the order again.
            return Ok(Outcome::Done);
        }
        let due = self.written().get(&key).map(|written| *written + STATUS_INTERVAL);
        if let Some(wait) = due.map(|due| due.duration_since(cx.now())).filter(SignedDuration::is_positive) {
            return Ok(Outcome::After(Duration::try_from(wait).unwrap_or_default()));
        }
        self.written().insert(key, cx.now());
        act::status(self, &cx, &order, status).await?;
        Ok(Outcome::Done)
    }
}

impl Orders {
    fn written(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Timestamp>> {
        self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
