//! Keeps shelves, and the lines of orders before them.
//!
//! One reconcile is the one actor of an inventory: nobody else claims its units or writes the orders that stand in its line.

mod act;
mod deliver;
mod observe;
mod release;
mod serve;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kooper::{Change, Context, ControllerBuilder, Failure, Key, Outcome, Reconciler};
use korder_api::{Inventory, Order, Stock};
use korder_core::inventory::request::{self, Stage};
use korder_core::inventory::{self, Memory};
use korder_core::namespace::Namespace;
use korder_core::reasons;
use kube::Client;

use observe::Seen;

use crate::caches::{Caches, Serving, key_of, sku_value};
use crate::metrics::Metrics;

/// Between two writes of an inventory's status that only move its counts.
const STATUS_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// A refusal by quota or policy may end by itself, and nothing tells us when.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// The controller of inventories.
pub fn controller(
    client: &Client,
    caches: &Caches,
    metrics: &Metrics,
) -> ControllerBuilder<Key, impl Reconciler<Key> + use<>> {
    let inventories = Inventories {
        client: client.clone(),
        caches: caches.clone(),
        metrics: metrics.clone(),
        kept: Mutex::default(),
    };
    let (by_sku, of_orders, all) = (caches.clone(), caches.clone(), caches.inventories.clone());
    ControllerBuilder::new("inventories", inventories)
        .watches(&caches.inventories, move |change: &Change<Inventory>| {
            // Those of the same item share their orders: which of them has the line may have changed.
            let skus = change.sides().flat_map(|one| sku_value(one.metadata.namespace.as_deref(), &one.spec.item));
            let same = skus.filter_map(|sku| by_sku.inventory_of(&sku));
            // The orders of a variant ask for the inventory that it is one of.
            let variants = change.sides().flat_map(|one| by_sku.variants(one));
            let others = same.chain(variants).map(|one| Key::of(one.as_ref()));
            let mut keys: Vec<Key> = change.keys().into_iter().chain(others).collect();
            keys.sort();
            keys.dedup();
            keys
        })
        .watches(&caches.stocks, |change: &Change<Stock>| {
            let mut keys: Vec<Key> = change.sides().map(|stock| inventory_of(stock)).collect();
            keys.dedup();
            keys
        })
        .watches(&caches.orders, move |change: &Change<Order>| {
            let mut keys: Vec<Key> = change.sides().flat_map(|order| of_order(&of_orders, order)).collect();
            keys.sort();
            keys.dedup();
            keys
        })
        .watches(&caches.namespaces, move |change: &Change<Namespace>| match (&change.old, &change.new) {
            (Some(old), Some(new)) if old.labels() == new.labels() => vec![],
            _ => {
                let choosy = all.list().into_iter().filter(|one| one.spec.allowed_namespaces.is_some());
                choosy.map(|one| Key::of(one.as_ref())).collect()
            }
        })
}

/// The key of the inventory that a unit belongs to.
pub(crate) fn inventory_of(stock: &Stock) -> Key {
    Key::namespaced(stock.metadata.namespace.as_deref().unwrap_or_default(), &stock.spec.inventory_name)
}

/// The keys of the inventories that an order concerns: which it asks for, and at which it stands.
fn of_order(caches: &Caches, order: &Order) -> Vec<Key> {
    if !inventory::request::is_request(order) {
        return vec![];
    }
    let standing = order.status.as_ref().and_then(|status| key_of(status.inventory.as_deref()?));
    let serving = match caches.serving(order) {
        Serving::By(inventory) => Some(Key::of(inventory.as_ref())),
        Serving::Variant(..) | Serving::Refused(_) | Serving::Nobody => None,
    };
    standing.into_iter().chain(serving).collect()
}

/// The reconciler of inventories.
struct Inventories {
    client: Client,
    caches: Caches,
    metrics: Metrics,
    kept: Mutex<BTreeMap<Key, Kept>>,
}

/// What is remembered of an inventory.
#[derive(Clone, Default)]
struct Kept {
    /// What it is of. An inventory that was deleted and made anew is another one.
    uid: String,
    memory: Memory,
    /// When its status was last written.
    written: Option<Timestamp>,
}

impl Inventories {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inventories {
    /// Orders that could not be delivered to are let into the line again only when that has changed: they would get a unit
    /// in every plan, and never take it.
    async fn leave_refused_alone(&self, cx: &Context, seen: &Seen, memory: &mut Memory) -> Result<(), kube::Error> {
        for order in &seen.requests {
            let was_refused = request::stage(order) == Stage::Waiting
                && [Some(reasons::DELIVER_EXISTS), Some(reasons::GRANT_MISSING)].contains(&request::reason(order));
            if was_refused
                && memory.rests_until(order, cx.now()).is_none()
                && deliver::refusal(self, order).await?.is_some()
            {
                memory.rest(order, cx.now());
            }
        }
        Ok(())
    }
}

impl Reconciler<Key> for Inventories {
    async fn reconcile(&self, cx: Context, key: Key) -> Result<Outcome, Failure> {
        let Some(inventory) = self.caches.inventories.get(&key) else {
            self.kept().remove(&key);
            return release::without_inventory(self, &key).await;
        };
        let uid = inventory.metadata.uid.clone().unwrap_or_default();
        let mut kept = self.kept().remove(&key).filter(|kept| kept.uid == uid).unwrap_or_default();
        kept.uid = uid;
        let seen = observe::observe(&self.caches, &inventory);
        let asked = self.leave_refused_alone(&cx, &seen, &mut kept.memory).await;
        if let Err(error) = asked {
            self.kept().insert(key, kept);
            return Err(crate::write::failure(error));
        }
        let labels = |namespace: &str| {
            self.caches.namespaces.get(&Key::cluster(namespace)).map(|namespace| namespace.labels().clone())
        };
        let observed = inventory::Observed {
            inventory: &inventory,
            units: &seen.units,
            requests: &seen.requests,
            elsewhere: &seen.elsewhere,
            labels: &labels,
        };
        let plan = inventory::plan(observed, &mut kept.memory, cx.now());
        let outcome = act::act(self, &cx, &inventory, plan, &mut kept).await;
        self.kept().insert(key, kept);
        outcome
    }
}

/// What to do after a look that calls for another one at this time.
fn at(time: Option<Timestamp>, now: Timestamp) -> Outcome {
    match time {
        Some(time) => Outcome::After(Duration::try_from(time.duration_since(now)).unwrap_or_default()),
        None => Outcome::Done,
    }
}
