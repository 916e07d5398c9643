//! Finds each order for stock its inventory, makes one where there is none, and forgets orders that are over.
//!
//! What happens to an order in line is the business of [`inventories`](crate::inventories); this is about those that stand in
//! none.

pub mod variants;

use std::time::Duration;

use jiff::Timestamp;
use kooper::{Change, Context, ControllerBuilder, Failure, Key, Outcome, Reconciler};
use korder_api::{Inventory, Order, OrderStatus};
use korder_core::inventory::request::{self, Stage};
use korder_core::inventory::unmatched::{self, Step};
use korder_core::inventory::{full_name, variant};
use korder_core::namespace::Namespace;
use korder_core::reasons;
use kube::Client;

use crate::caches::{BY_TARGET, Caches, Refusal, Serving, asks_for_inventory, asks_for_sku, sku_value, stands_at};
use crate::news;
use crate::write::{self, Created};

/// A refusal by quota or policy may end by itself, and nothing tells us when.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// The controller of orders for stock that stand in no line.
pub fn controller(client: &Client, caches: &Caches) -> ControllerBuilder<Key, impl Reconciler<Key> + use<>> {
    let requests = Requests { client: client.clone(), caches: caches.clone() };
    let (orders, placed) = (caches.orders.clone(), caches.orders.clone());
    ControllerBuilder::new("requests", requests)
        .watches(&caches.orders, |change: &Change<Order>| match &change.new {
            Some(order) if request::is_request(order) => vec![Key::of(order.as_ref())],
            _ => vec![],
        })
        .watches(&caches.inventories, move |change: &Change<Inventory>| {
            let mut keys: Vec<Key> = match (&change.old, &change.new) {
                (Some(old), Some(new)) if is_same(old, new) => vec![],
                _ => change.sides().flat_map(|one| concerned(&orders, one)).collect(),
            };
            keys.sort();
            keys.dedup();
            keys
        })
        // Whom an inventory admits may be said by labels.
        .watches(&caches.namespaces, move |change: &Change<Namespace>| match (&change.old, &change.new) {
            (Some(old), Some(new)) if old.labels() != new.labels() => {
                let waits = |order: &Order| request::is_request(order) && request::stage(order) == Stage::Waiting;
                let keys = placed.list().into_iter().filter(|order| waits(order)).map(|order| Key::of(order.as_ref()));
                keys.filter(|key| key.namespace.as_deref() == Some(new.name())).collect()
            }
            _ => vec![],
        })
        .reads(&caches.stocks)
}

/// Whether an inventory serves the same orders as before.
fn is_same(old: &Inventory, new: &Inventory) -> bool {
    old.spec.item == new.spec.item
        && old.spec.inputs == new.spec.inputs
        && old.spec.max_variants == new.spec.max_variants
        && old.spec.allowed_namespaces == new.spec.allowed_namespaces
        && old.metadata.uid == new.metadata.uid
        && old.metadata.deletion_timestamp.is_some() == new.metadata.deletion_timestamp.is_some()
}

/// The orders for which an inventory makes a difference.
fn concerned(orders: &kooper::Cache<Order>, inventory: &Inventory) -> Vec<Key> {
    let name = full_name(inventory);
    let namespace = inventory.metadata.namespace.as_deref();
    let skus = sku_value(namespace, &inventory.spec.item);
    let base = variant::base_of(inventory).map(|base| format!("{}/{base}", namespace.unwrap_or_default()));
    let named = base.iter().chain([&name]).map(|name| asks_for_inventory(name));
    let targets = named.chain([stands_at(&name)]).chain(skus.iter().map(|sku| asks_for_sku(sku)));
    let orders = targets.flat_map(|target| orders.by_index(BY_TARGET, &target));
    orders.map(|order| Key::of(order.as_ref())).collect()
}

/// The reconciler of orders for stock that stand in no line.
struct Requests {
    client: Client,
    caches: Caches,
}

impl Reconciler<Key> for Requests {
    async fn reconcile(&self, cx: Context, key: Key) -> Result<Outcome, Failure> {
        let Some(order) = self.caches.orders.get(&key).filter(|order| request::is_request(order)) else {
            return Ok(Outcome::Done);
        };
        if order.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        match request::stage(&order) {
            Stage::Finished => self.forget(&cx, &order).await,
            Stage::Filled => self.look_after(&cx, &order).await,
            Stage::Waiting => self.find(&cx, &order).await,
        }
    }
}

impl Requests {
    /// Deletes an order that is over, in its time.
    async fn forget(&self, cx: &Context, order: &Order) -> Result<Outcome, Failure> {
        let Some(at) = request::forgotten_at(order) else { return Ok(Outcome::Done) };
        if cx.now() < at {
            return Ok(until(at, cx.now()));
        }
        write::delete(&self.client, &self.caches.orders, order, true).await.map_err(write::failure)?;
        Ok(Outcome::Done)
    }

    /// A filled order whose inventory is gone, which nobody else looks after.
    async fn look_after(&self, cx: &Context, order: &Order) -> Result<Outcome, Failure> {
        let Some(status) = &order.status else { return Ok(Outcome::Done) };
        let here = status.inventory.as_deref().and_then(|name| name.split_once('/'));
        let Some((namespace, name)) = here else { return Ok(Outcome::Done) };
        let is_gone = self.caches.inventories.get(&Key::namespaced(namespace, name)).is_none();
        let (Some(unit), true) = (&status.stock_name, is_gone) else { return Ok(Outcome::Done) };
        if request::reason(order) == Some(reasons::STOCK_LOST) {
            return Ok(Outcome::Done);
        }
        let live = write::api::<korder_api::Stock>(&self.client, namespace).get_opt(unit).await?;
        match live {
            Some(_) => Ok(Outcome::After(Duration::from_mins(1))),
            None => self.tell(cx, order, request::stock_lost(order, unit, cx.now())).await,
        }
    }

    /// An order that waits: if there is an inventory for it, it stands in its line.
    async fn find(&self, cx: &Context, order: &Order) -> Result<Outcome, Failure> {
        match self.caches.serving(order) {
            Serving::By(_) => return Ok(Outcome::Done),
            Serving::Refused(Refusal { reason, why }) => {
                let status = unmatched::overdue(order, cx.now());
                let status = status.unwrap_or_else(|| request::stalled(order, reason, why, cx.now()));
                self.tell(cx, order, status).await?;
                // It may have a deadline, and its namespace may not have been seen yet.
                return Ok(Outcome::After(REFUSED_RETRY));
            }
            Serving::Variant(base, name, item) => {
                let most =
                    base.spec.max_variants.map_or(variant::MAX_VARIANTS, |most| usize::try_from(most).unwrap_or(0));
                if self.caches.variants(&base).len() < most {
                    return self.make(cx, order, variant::make(&base, name, *item)).await;
                }
                let message = format!(
                    "inventory `{}` has {most} variants with other inputs, and may have no more",
                    full_name(&base)
                );
                let status = request::stalled(order, reasons::TOO_MANY_VARIANTS, message, cx.now());
                self.tell(cx, order, status).await?;
                // One may go when nobody has asked for it for a while.
                return Ok(Outcome::After(REFUSED_RETRY));
            }
            Serving::Nobody => {}
        }
        match unmatched::step(order, cx.now()) {
            Step::Tell(status) => {
                let due = request::deadline(order);
                self.tell(cx, order, *status).await?;
                Ok(due.filter(|due| *due > cx.now()).map_or(Outcome::Done, |due| until(due, cx.now())))
            }
            Step::Make(inventory) => self.make(cx, order, *inventory).await,
        }
    }

    /// Makes an inventory for an order.
    async fn make(&self, cx: &Context, order: &Order, inventory: Inventory) -> Result<Outcome, Failure> {
        match write::create(&self.client, &self.caches.inventories, &inventory).await {
            Ok(Created::New) => {
                let name = inventory.metadata.name.as_deref().unwrap_or_default();
                let note = format!("made inventory `{name}`, since none has this item");
                news::tell(&cx.recorder, order, "Match", "InventoryMade", &note);
                Ok(Outcome::Done)
            }
            Ok(Created::Exists(there)) if there.spec.item == inventory.spec.item => Ok(Outcome::Done),
            Ok(Created::Exists(there)) => {
                let message = format!(
                    "no inventory has this item, and the name of the one to be made, `{}`, is taken",
                    full_name(&there)
                );
                let status = request::stalled(order, reasons::INVENTORY_REFUSED, message, cx.now());
                self.tell(cx, order, status).await
            }
            Err(kube::Error::Api(status)) if write::is_refused(&status) => {
                let message = format!("no inventory has this item, and none can be made: {}", status.message);
                let told = request::stalled(order, reasons::INVENTORY_REFUSED, message, cx.now());
                self.tell(cx, order, told).await?;
                Ok(Outcome::After(REFUSED_RETRY))
            }
            Err(error) => Err(write::failure(error)),
        }
    }

    async fn tell(&self, cx: &Context, order: &Order, status: OrderStatus) -> Result<Outcome, Failure> {
        if order.status.as_ref() == Some(&status) {
            return Ok(Outcome::Done);
        }
        let before = order.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let after = status.conditions.clone();
        let written = Order { status: Some(status), ..order.clone() };
        write::status(&self.client, &self.caches.orders, &written).await.map_err(write::failure)?;
        news::of_transition(&cx.recorder, order, "Match", &before, &after);
        Ok(Outcome::Done)
    }
}

fn until(time: Timestamp, now: Timestamp) -> Outcome {
    Outcome::After(Duration::try_from(time.duration_since(now)).unwrap_or_default())
}
