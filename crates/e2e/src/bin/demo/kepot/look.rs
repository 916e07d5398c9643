//! What the checks of this chapter ask of the cluster.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use korder_api::{Inventory, InventoryStatus, Order, OrderStatus, Stock, StockPhase};
use kube::Client;
use kube::api::{Api, ListParams};

use crate::objects::{NAMESPACE, eventually_within};

/// A job takes 20 seconds, and real containers have to start.
pub(super) const LONG: Duration = Duration::from_mins(2);
/// A level falls when nobody has come for a minute, and what is too much goes when it was that for another.
pub(super) const LONGER: Duration = Duration::from_mins(4);

pub(super) async fn order(client: &Client, name: &str) -> anyhow::Result<OrderStatus> {
    let order = Api::<Order>::namespaced(client.clone(), NAMESPACE).get(name).await?;
    order.status.context("the order has no status")
}

pub(super) async fn inventory(client: &Client, name: &str) -> anyhow::Result<InventoryStatus> {
    let inventory = Api::<Inventory>::namespaced(client.clone(), NAMESPACE).get(name).await?;
    inventory.status.context("the inventory has no status")
}

/// The units of an inventory in a phase, by name.
pub(super) async fn units(client: &Client, inventory: &str, phase: StockPhase) -> anyhow::Result<Vec<String>> {
    let labels = format!("korder.dev/inventory={inventory}");
    let units =
        Api::<Stock>::namespaced(client.clone(), NAMESPACE).list(&ListParams::default().labels(&labels)).await?;
    let is = |one: &&Stock| {
        one.metadata.deletion_timestamp.is_none() && one.status.as_ref().and_then(|status| status.phase) == Some(phase)
    };
    Ok(units.items.iter().filter(is).map(kube::ResourceExt::name_any).collect())
}

/// Waits until an order has its unit; its status then.
pub(super) async fn filled(client: &Client, name: &str) -> anyhow::Result<OrderStatus> {
    eventually_within(LONG, &format!("order `{name}` is filled"), async || {
        let status = order(client, name).await?;
        ensure!(status.filled_time.is_some(), "{:?}", status.conditions);
        Ok(status)
    })
    .await
}

/// Waits until so many units are ready at least; how many are.
pub(super) async fn ready(client: &Client, name: &str, count: i32) -> anyhow::Result<i32> {
    eventually_within(LONG, &format!("{count} of `{name}` are ready"), async || {
        let status = inventory(client, name).await?;
        ensure!(status.ready >= count, "{} are", status.ready);
        Ok(status.ready)
    })
    .await
}
