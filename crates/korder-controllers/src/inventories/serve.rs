//! Gives units to an order.
//!
//! First the unit is claimed for it, by the one write that decides; then what it brings is delivered; then the order is told. Cut
//! short anywhere, the next look finds a unit that names the order, and goes on.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kooper::{Cache, Context, Key};
use korder_api::item::ItemType;
use korder_api::{Inventory, Order, OrderStatus, Stock, StockPhase};
use korder_core::inventory::{Serve, full_name, request, unit};
use korder_core::stock::on_the_shelf_since;
use serde_json::json;

use super::{Inventories, deliver};
use crate::write::{self, Part};

/// What came of serving an order.
pub(super) enum Served {
    /// It was told how far it is.
    Told,
    /// It can't be served for a reason of its own, which it was told, and is left alone for a while.
    Refused,
}

/// Serves an order.
pub(super) async fn serve(
    inventories: &Inventories,
    cx: &Context,
    inventory: &Inventory,
    serve: &Serve,
) -> Result<Served, kube::Error> {
    let Serve { order, claim, has, completes, sequence } = serve;
    let name = full_name(inventory);
    if *completes && let Some(refusal) = deliver::refusal(inventories, order).await? {
        let status = request::stalled(order, refusal.reason, refusal.message, cx.now());
        tell(inventories, order, status).await?;
        return Ok(Served::Refused);
    }
    let mut units = has.clone();
    for one in claim {
        // The writes of one order come one after the other: where one fails, no other unit is touched for it.
        units.push(claimed(inventories, one, order).await?);
    }
    let names: Vec<&str> = units.iter().map(|one| unit::name(one)).collect();
    if !completes {
        let is_copy = inventory.spec.item.type_ == Some(ItemType::Copy);
        let what = if is_copy { "its copy" } else { "a unit" };
        let why = format!("waits for {what} of inventory `{name}`");
        let status = request::waiting(order, &name, *sequence, &names, &why, cx.now());
        tell(inventories, order, status).await?;
        return Ok(Served::Told);
    }
    if let Some(refusal) = deliver::deliver(inventories, inventory, order, &units).await? {
        // The unit stays claimed for the order, which may yet be delivered to.
        let status = request::stalled(order, refusal.reason, refusal.message, cx.now());
        tell(inventories, order, status).await?;
        return Ok(Served::Refused);
    }
    let outputs = units.first().and_then(|one| one.status.as_ref()).map(|status| status.outputs.clone());
    let status = request::filled(order, &name, &names, &outputs.unwrap_or_default(), cx.now());
    tell(inventories, order, status).await?;
    let at_once = order.status.as_ref().is_none_or(|before| before.queue_sequence.is_none());
    let waited = request::created(order).map(|since| cx.now().duration_since(since)).unwrap_or_default();
    inventories.metrics.order_is_filled(at_once, waited);
    for since in claim.iter().filter_map(|one| on_the_shelf_since(one)) {
        inventories.metrics.unit_leaves_the_shelf(cx.now().duration_since(since));
    }
    Ok(Served::Told)
}

/// Writes an order's status, if it has changed, on the version that was looked at.
pub(super) async fn tell(
    inventories: &Inventories,
    order: &Arc<Order>,
    status: OrderStatus,
) -> Result<(), kube::Error> {
    if order.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let written = Order { status: Some(status), ..Order::clone(order) };
    write::status(&inventories.client, &inventories.caches.orders, &written).await
}

/// Claims a unit for an order, if it is still the version that was looked at.
async fn claimed(inventories: &Inventories, one: &Arc<Stock>, order: &Order) -> Result<Arc<Stock>, kube::Error> {
    let Inventories { client, caches, .. } = inventories;
    let [namespace, name, uid] = [&order.metadata.namespace, &order.metadata.name, &order.metadata.uid]
        .map(|text| text.as_deref().unwrap_or_default());
    let claim = json!({"namespace": namespace, "name": name, "uid": uid});
    let operations = json!([
        {"op": "add", "path": "/status/phase", "value": StockPhase::Claimed},
        {"op": "add", "path": "/status/claimRef", "value": claim},
    ]);
    let key = Key::of(one.as_ref());
    let of_us = |one: &Stock| unit::holder(one).is_some_and(|claim| claim.uid == uid);
    match write::patch(client, &caches.stocks, one.as_ref(), Part::Status, operations).await {
        Ok(()) => {}
        Err(error) => {
            // It may have been written, and the answer lost: nothing else is touched before that is known.
            refresh(&caches.stocks, client, &key).await?;
            if !caches.stocks.get(&key).is_some_and(|one| of_us(&one)) {
                inventories.metrics.claim_has_conflicted();
                return Err(error);
            }
        }
    }
    caches
        .stocks
        .get(&key)
        .filter(|one| of_us(one))
        .ok_or_else(|| kube::Error::Service("the unit was taken away while it was claimed".into()))
}

/// Asks that a unit is checked, which is to be given out.
pub(super) async fn ask(inventories: &Inventories, cx: &Context, one: &Arc<Stock>) -> Result<(), kube::Error> {
    let operations = json!([{"op": "add", "path": "/status/probeRequestedTime", "value": Time(cx.now())}]);
    write::patch(&inventories.client, &inventories.caches.stocks, one.as_ref(), Part::Status, operations).await
}

/// Reads a unit as it is now.
async fn refresh(stocks: &Cache<Stock>, client: &kube::Client, key: &Key) -> Result<(), kube::Error> {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let uid = stocks.get(key).and_then(|one| one.metadata.uid.clone()).unwrap_or_default();
    match write::api::<Stock>(client, namespace).get_opt(&key.name).await? {
        Some(live) => stocks.wrote(live),
        None => stocks.deleted(key, &uid),
    }
    Ok(())
}
