//! Takes units back.

use std::sync::Arc;

use kooper::{Context, Failure, Key, Outcome};
use korder_api::{Inventory, Order, Stock, StockPhase, StockStatus};
use korder_core::inventory::{Return, full_name, request, unit};
use kube::api::ListParams;
use serde_json::json;

use super::{Inventories, deliver, serve};
use crate::caches::BY_INVENTORY;
use crate::write::{self, Part};

/// Ends a request whose time is over: what was delivered is taken away first, so that nobody uses what is given back.
pub(super) async fn end(
    inventories: &Inventories,
    cx: &Context,
    order: &Arc<Order>,
    units: &[Return],
) -> Result<(), kube::Error> {
    deliver::revoke(inventories, order).await?;
    for one in units {
        take_back(inventories, one).await?;
    }
    serve::tell(inventories, order, request::released(order, cx.now())).await
}

/// Takes back a unit that an order may not have, or has no more.
pub(super) async fn given_back(inventories: &Inventories, order: &Order, one: &Return) -> Result<(), kube::Error> {
    // One that failed may have been delivered to before it was told so: nobody is to use what another one gets next.
    if one.reset.is_some() && request::stage(order) == request::Stage::Finished {
        deliver::revoke(inventories, order).await?;
    }
    take_back(inventories, one).await
}

/// Makes a unit nobody's, or removes it; if it is still the version that was looked at.
async fn take_back(inventories: &Inventories, returned: &Return) -> Result<(), kube::Error> {
    let Inventories { client, caches, .. } = inventories;
    let Return { unit, reset } = returned;
    match reset {
        Some(status) => {
            let written = Stock { status: Some(StockStatus::clone(status)), ..Stock::clone(unit) };
            write::status(client, &caches.stocks, &written).await
        }
        None => write::delete(client, &caches.stocks, unit.as_ref(), true).await,
    }
}

/// Tells an order that a unit is gone which it held, if that is so.
pub(super) async fn lost(
    inventories: &Inventories,
    cx: &Context,
    inventory: &Inventory,
    order: &Arc<Order>,
    name: &str,
) -> Result<(), kube::Error> {
    let namespace = inventory.metadata.namespace.as_deref().unwrap_or_default();
    match write::api::<Stock>(&inventories.client, namespace).get_opt(name).await? {
        Some(there) => {
            inventories.caches.stocks.wrote(there);
            Ok(())
        }
        None => serve::tell(inventories, order, request::stock_lost(order, name, cx.now())).await,
    }
}

/// Takes back a unit whose order is gone, if that is so: a cache that lags must not take away what somebody holds. What was
/// delivered goes with the order, which owns it.
pub(super) async fn orphaned(inventories: &Inventories, one: &Return) -> Result<(), kube::Error> {
    let Some(claim) = unit::holder(&one.unit) else { return Ok(()) };
    let orders = write::api::<Order>(&inventories.client, &claim.namespace);
    match orders.get_opt(&claim.name).await? {
        Some(there) if there.metadata.uid.as_deref() == Some(claim.uid.as_str()) => {
            inventories.caches.orders.wrote(there);
            Ok(())
        }
        _ => take_back(inventories, one).await,
    }
}

/// Lets nobody else have a copy.
pub(super) async fn withdraw(inventories: &Inventories, one: &Arc<Stock>) -> Result<(), kube::Error> {
    let operations = json!([{"op": "add", "path": "/status/phase", "value": StockPhase::Retiring}]);
    write::patch(&inventories.client, &inventories.caches.stocks, one.as_ref(), Part::Status, operations).await
}

/// Removes a copy that nobody else gets, if no order has it.
pub(super) async fn outgoing(
    inventories: &Inventories,
    inventory: &Inventory,
    one: &Arc<Stock>,
) -> Result<(), kube::Error> {
    let named = ListParams::default().fields(&format!("status.stockName={}", unit::name(one)));
    let orders = kube::Api::<Order>::all(inventories.client.clone()).list(&named).await?;
    let here = full_name(inventory);
    let has_it = |order: &Order| {
        let at = order.status.as_ref().and_then(|status| status.inventory.as_deref());
        at == Some(here.as_str()) && request::stage(order) != request::Stage::Finished
    };
    if orders.items.iter().any(has_it) {
        return Ok(());
    }
    write::delete(&inventories.client, &inventories.caches.stocks, one.as_ref(), true).await
}

/// Units of an inventory that is gone though it had some, since somebody took its finalizer off: what nobody holds goes.
pub(super) async fn without_inventory(inventories: &Inventories, key: &Key) -> Result<Outcome, Failure> {
    let name = format!("{}/{}", key.namespace.as_deref().unwrap_or_default(), key.name);
    let units = inventories.caches.stocks.by_index(BY_INVENTORY, &name);
    if units.is_empty() {
        return Ok(Outcome::Done);
    }
    // One that can't be read is in no cache, and is there.
    let inventory = write::api::<Inventory>(&inventories.client, key.namespace.as_deref().unwrap_or_default());
    let there = inventory.get_metadata_opt(&key.name).await.map_err(write::failure)?;
    if there.is_some() {
        return Ok(Outcome::After(std::time::Duration::from_mins(1)));
    }
    let mut held = false;
    for one in units.iter().filter(|one| one.metadata.deletion_timestamp.is_none()) {
        let is_free = unit::holder(one).is_none();
        let removed = if is_free {
            write::delete(&inventories.client, &inventories.caches.stocks, one.as_ref(), true).await
        } else {
            held = true;
            orphaned(inventories, &Return { unit: Arc::clone(one), reset: None }).await
        };
        removed.map_err(write::failure)?;
    }
    // The deletion of an order that names the inventory wakes this up; that is a second look.
    Ok(if held { Outcome::After(std::time::Duration::from_mins(1)) } else { Outcome::Done })
}
