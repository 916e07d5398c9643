//! The shelf follows the orders.

use anyhow::{Context as _, ensure};
use korder_api::StockPhase;

use super::look::{self, LONG, LONGER};
use super::{FILE, INVENTORY};
use crate::objects::eventually_within;
use crate::show::Show;
use crate::stage::Cluster;

/// Places an order, as a user would.
async fn place(show: &Show, name: &str) -> anyhow::Result<()> {
    show.run(&format!("kubectl create order {name} --inventory {INVENTORY}")).await
}

pub(super) async fn first_order_waits(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    show.step("A cake takes 20 seconds, and nobody has ordered one yet: the shelf is empty")?;
    show.run(&format!("kubectl apply -f {FILE}")).await?;
    let level = eventually_within(LONG, "the inventory has a level", async || {
        look::inventory(&cluster.client, INVENTORY).await?.level.context("it has none")
    });
    let level = level.await?;
    ensure!(level == 0, "the level is {level}");
    show.run("kubectl get kinv").await?;
    show.holds("nothing is kept ready")?;
    show.step("The first order waits for what is made for it")?;
    place(show, "first").await?;
    let waits = eventually_within(LONG, "the order stands in line", async || {
        look::order(&cluster.client, "first").await?.queue_sequence.context("it does not")
    });
    waits.await?;
    show.run("kubectl korder why kord/first").await?;
    let status = look::filled(&cluster.client, "first").await?;
    show.run("kubectl get kord first").await?;
    let waited = status.waited.context("it does not say how long it waited")?;
    ensure!(status.outputs.get("cake").map(String::as_str) == Some("a cake of wheat"), "{:?}", status.outputs);
    show.holds(format!("the first order has waited {waited} for its cake"))?;
    Ok(())
}

pub(super) async fn next_orders_do_not(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    show.step("Somebody might come again: a cake is made before it is ordered")?;
    let ready = look::ready(&cluster.client, INVENTORY, 1).await?;
    show.run("kubectl get kinv,kst").await?;
    show.holds(format!("{ready} on the shelf"))?;
    show.step("The next order gets it at once")?;
    place(show, "second").await?;
    let status = look::filled(&cluster.client, "second").await?;
    show.run("kubectl get kord").await?;
    ensure!(status.queue_sequence.is_none(), "it had to wait: {:?}", status.waited);
    show.holds(format!("the second order has waited {}", status.waited.unwrap_or_default()))?;
    Ok(())
}

pub(super) async fn level_rises(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    show.step("More and more people come, and the shelf fits itself to that")?;
    let before = look::inventory(&cluster.client, INVENTORY).await?.level.unwrap_or(0);
    for guest in 1..=4 {
        place(show, &format!("guest-{guest}")).await?;
    }
    for guest in 1..=4 {
        look::filled(&cluster.client, &format!("guest-{guest}")).await?;
    }
    let after = look::inventory(&cluster.client, INVENTORY).await?;
    show.run("kubectl get kinv").await?;
    let level = after.level.unwrap_or(0);
    ensure!(level > before, "the level was {before} and is {level}");
    show.holds(format!("the level has risen from {before} to {level}: {}", after.reason.unwrap_or_default()))?;
    Ok(())
}

pub(super) async fn level_falls(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    show.step("Nobody comes any more, and nothing is kept for nobody")?;
    let empty = eventually_within(LONGER, "the shelf is empty", async || {
        let status = look::inventory(&cluster.client, INVENTORY).await?;
        let units = look::units(&cluster.client, INVENTORY, StockPhase::Ready).await?;
        ensure!(status.level == Some(0) && units.is_empty(), "level {:?}, {units:?} ready", status.level);
        Ok(status)
    });
    let status = empty.await?;
    show.run("kubectl get kinv,kst").await?;
    show.run("kubectl get events --field-selector involvedObject.kind=Inventory").await?;
    show.holds(format!("the level is 0: {}", status.reason.unwrap_or_default()))?;
    Ok(())
}
