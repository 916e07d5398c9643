//! Orders filled from a shelf: how long they take, what is written for each, and what memory the units take.
//!
//! The units are not produced here: they are written as the controllers write them, so that what is measured is what orders
//! take, and the inventory is paused, so that nothing else goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::{History, Log};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use korder_api::{Inventory, Order, Stock, names};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::NAMESPACE;
use crate::installation::Installation;
use crate::process::{Memory, Process};
use crate::spread::Spread;
use crate::writes::{Counts, Meter};

/// So many orders come each second, and so many in all.
pub(crate) const RATE: u64 = 50;
const STEADY: usize = 1000;
/// Orders that come all at once.
pub(crate) const BURSTS: [usize; 2] = [300, 3000];
/// Units of which the memory is measured.
pub(crate) const UNITS: [usize; 2] = [1000, 10_000];
const INVENTORY: &str = "shelf";
/// How many requests are under way at a time.
const AT_ONCE: usize = 64;
const DEADLINE: Duration = Duration::from_mins(10);

/// What was measured.
pub(crate) struct Stocks {
    /// Orders that come at [`RATE`]: from sending each until it is seen filled.
    pub(crate) steady: Spread,
    /// What the controllers wrote for all of them.
    pub(crate) writes: Counts,
    /// Orders that come at once.
    pub(crate) bursts: Vec<Burst>,
    /// As many orders with the same writes, and no controllers.
    pub(crate) bare: Bare,
    /// Memory before, and with so many units.
    pub(crate) memory: Vec<(usize, Memory)>,
}

/// Orders that come at once.
pub(crate) struct Burst {
    pub(crate) orders: usize,
    /// From sending the first until all are made.
    pub(crate) made: Duration,
    /// From sending the first until all are filled.
    pub(crate) filled: Duration,
    /// From sending each until it is filled.
    pub(crate) latency: Spread,
    /// The processor time that the controllers took.
    pub(crate) cpu: Duration,
}

/// What the API server takes by itself: orders that are made, each followed by the writes that fill it, without waiting for anybody.
pub(crate) struct Bare {
    pub(crate) orders: usize,
    /// From sending the first until all are written.
    pub(crate) filled: Duration,
}

/// Measures it.
pub(crate) async fn measure() -> anyhow::Result<Stocks> {
    let installation = Installation::new()?;
    installation.up(&["--nodes=1"]).await?;
    let bench = Bench { client: installation.client().await?, writer: installation.client_as_controllers().await? };
    let meter = Meter::install(&bench.client).await?;
    let controllers = installation.controllers().await?;
    bench.inventory().await?;
    let mut there = 0;

    // First of all: what is freed later is not given back to the system.
    let mut memory = vec![(0, controllers.memory()?)];
    for count in UNITS {
        bench.add_units(there, count - there).await?;
        there = count;
        meter.settled().await?;
        memory.push((count, controllers.memory()?));
    }
    bench.clear().await?;

    bench.add_units(there, STEADY).await?;
    there += STEADY;
    let before = meter.settled().await?;
    let steady = bench.steady().await?;
    let writes = meter.settled().await?.since(before);

    let mut bursts = Vec::new();
    for orders in BURSTS {
        bench.add_units(there, orders).await?;
        there += orders;
        meter.settled().await?;
        bursts.push(bench.burst(orders, &controllers).await?);
    }
    bench.clear().await?;
    let orders = BURSTS[BURSTS.len() - 1];
    bench.make_units(there, orders).await?;
    meter.settled().await?;
    controllers.pause()?;
    let bare = bench.bare(there, orders).await?;
    Ok(Stocks { steady, writes, bursts, bare, memory })
}

struct Bench {
    client: Client,
    /// With the rights of the controllers: nobody else makes units.
    writer: Client,
}

impl Bench {
    async fn inventory(&self) -> anyhow::Result<()> {
        let pod = json!({"spec": {"containers": [{"name": "make", "image": "registry.k8s.io/pause:3.10.1"}]}});
        let item =
            json!({"operation": {"job": {"template": pod}}, "outputs": [{"name": "url", "from": {"result": "url"}}]});
        let spec = json!({"replicas": 0, "paused": true, "item": item});
        let inventory = Inventory::new(INVENTORY, serde_json::from_value(spec)?);
        let api: Api<Inventory> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.create(&PostParams::default(), &inventory).await.context("cannot make an inventory")?;
        let has_sku = |log: &Log<Inventory>| log.get(INVENTORY)?.status.as_ref()?.sku.clone();
        let history = History::start(api).await?;
        history.until_within(DEADLINE, "the inventory is looked at", has_sku).await.map(drop)
    }

    /// Puts units on the shelf, and waits until they are counted.
    async fn add_units(&self, first: usize, count: usize) -> anyhow::Result<()> {
        self.make_units(first, count).await?;
        let there = Api::<Stock>::namespaced(self.client.clone(), NAMESPACE).list(&ListParams::default()).await?;
        let is_ready = |unit: &&Stock| unit.status.as_ref().is_some_and(|status| status.claim_ref.is_none());
        let ready = there.iter().filter(is_ready).count();
        let stocked = |log: &Log<Inventory>| {
            let counted = log.get(INVENTORY)?.status.as_ref()?.ready;
            (usize::try_from(counted).ok()? == ready).then_some(())
        };
        let history = History::start(Api::namespaced(self.client.clone(), NAMESPACE)).await?;
        history.until_within(DEADLINE, format_args!("{ready} units are ready"), stocked).await
    }

    /// Puts units on the shelf.
    async fn make_units(&self, first: usize, count: usize) -> anyhow::Result<()> {
        let inventories: Api<Inventory> = Api::namespaced(self.client.clone(), NAMESPACE);
        let inventory = inventories.get(INVENTORY).await?;
        let sku = inventory.status.and_then(|status| status.sku).context("the inventory has no identity")?;
        let stocks: Api<Stock> = Api::namespaced(self.writer.clone(), NAMESPACE);
        let add = async |number: usize| {
            let unit: Stock = serde_json::from_value(json!({
                "apiVersion": names::API_VERSION, "kind": "Stock",
                "metadata": {"name": format!("{INVENTORY}-{number}"), "labels": {names::LABEL_INVENTORY: INVENTORY}},
                "spec": {"inventoryName": INVENTORY, "sku": sku, "item": inventory.spec.item},
            }))?;
            let mut unit = stocks.create(&PostParams::default(), &unit).await.context("cannot make a unit")?;
            let ready = json!({"phase": "Ready", "readyTime": unit.metadata.creation_timestamp, "outputs": {"url": "https://example.com"}});
            unit.status = Some(serde_json::from_value(ready)?);
            let name = unit.name_any();
            // The controllers may have begun to make it.
            loop {
                match stocks.replace_status(&name, &PostParams::default(), &unit).await {
                    Ok(_) => return anyhow::Ok(()),
                    Err(kube::Error::Api(status)) if status.code == 409 => {
                        unit.metadata.resource_version = stocks.get(&name).await?.metadata.resource_version;
                    }
                    Err(error) => return Err(error).context("cannot put a unit on the shelf"),
                }
            }
        };
        stream::iter(first + 1..=first + count).map(add).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// Orders at an even pace.
    async fn steady(&self) -> anyhow::Result<Spread> {
        let orders: Api<Order> = Api::namespaced(self.client.clone(), NAMESPACE);
        let history = History::start(orders.clone()).await?;
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(RATE)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sending = Vec::new();
        for number in 0..STEADY {
            ticks.tick().await;
            sending.push(tokio::spawn(place(orders.clone(), format!("steady-{number}"))));
        }
        let mut sent = BTreeMap::new();
        for one in sending {
            let (name, at) = one.await??;
            sent.insert(name, at);
        }
        Spread::of(self.filled(&history, &sent).await?.into_iter().map(|(_, latency)| latency))
    }

    /// Orders as fast as they can be made.
    async fn burst(&self, count: usize, controllers: &Process) -> anyhow::Result<Burst> {
        let orders: Api<Order> = Api::namespaced(self.client.clone(), NAMESPACE);
        let history = History::start(orders.clone()).await?;
        let cpu = controllers.cpu()?;
        let began = Instant::now();
        let placed = stream::iter(0..count).map(|number| place(orders.clone(), format!("burst-{count}-{number}")));
        let sent: BTreeMap<String, Instant> = placed.buffer_unordered(AT_ONCE).try_collect().await?;
        let made = began.elapsed();
        let filled = self.filled(&history, &sent).await?;
        let last = filled.iter().map(|(seen, _)| *seen).max().context("nothing was filled")?;
        let latency = Spread::of(filled.into_iter().map(|(_, latency)| latency))?;
        Ok(Burst { orders: count, made, filled: last - began, latency, cpu: controllers.cpu_since(cpu)? })
    }

    /// The writes of a burst without the controllers, with as many under way; somebody watches, as there.
    async fn bare(&self, first: usize, count: usize) -> anyhow::Result<Bare> {
        let orders: Api<Order> = Api::namespaced(self.client.clone(), NAMESPACE);
        let stocks: Api<Stock> = Api::namespaced(self.writer.clone(), NAMESPACE);
        let writer: Api<Order> = Api::namespaced(self.writer.clone(), NAMESPACE);
        let history = History::start(orders.clone()).await?;
        let fill = async |number: usize| {
            let (name, unit) = (format!("bare-{number}"), format!("{INVENTORY}-{}", first + number + 1));
            let order = orders.create(&PostParams::default(), &order(&name)?).await.context("cannot place an order")?;
            let claim = json!({"status": {"phase": "Claimed", "claimRef": {"namespace": NAMESPACE, "name": name, "uid": name}}});
            stocks
                .patch_status(&unit, &PatchParams::default(), &Patch::Merge(claim))
                .await
                .context("cannot claim a unit")?;
            let filled = json!({"filled": "1/1", "stockName": unit, "filledTime": "2026-01-01T00:00:00Z"});
            let order = Order { status: Some(serde_json::from_value(filled)?), ..order };
            writer.replace_status(&name, &PostParams::default(), &order).await.context("cannot fill an order")?;
            anyhow::Ok(())
        };
        let began = Instant::now();
        stream::iter(0..count).map(fill).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        drop(history);
        Ok(Bare { orders: count, filled: began.elapsed() })
    }

    /// When each order was seen filled, and how long after it was sent.
    async fn filled(
        &self,
        history: &History<Order>,
        sent: &BTreeMap<String, Instant>,
    ) -> anyhow::Result<Vec<(Instant, Duration)>> {
        let is_filled = |order: &Order| order.status.as_ref().is_some_and(|status| status.filled_time.is_some());
        let all = |log: &Log<Order>| {
            let filled = log.objects().filter(|order| is_filled(order) && sent.contains_key(&order.name_any()));
            (filled.count() == sent.len()).then_some(())
        };
        history.until_within(DEADLINE, "all orders are filled", all).await?;
        let log = history.log();
        let mut seen: BTreeMap<String, Instant> = BTreeMap::new();
        for event in log.events().iter().filter(|event| is_filled(&event.object)) {
            seen.entry(event.object.name_any()).or_insert(event.seen);
        }
        ensure!(sent.keys().all(|name| seen.contains_key(name)), "not all orders were seen to be filled");
        Ok(sent.iter().map(|(name, sent)| (seen[name], seen[name] - *sent)).collect())
    }

    /// Removes all orders and units.
    async fn clear(&self) -> anyhow::Result<()> {
        let (orders, stocks) = (
            Api::<Order>::namespaced(self.client.clone(), NAMESPACE),
            Api::<Stock>::namespaced(self.writer.clone(), NAMESPACE),
        );
        orders.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        let names: Vec<String> = stocks.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect();
        let remove = async |name: String| match stocks.delete(&name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(drop).context("cannot remove a unit"),
        };
        stream::iter(names).map(remove).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        let none = |log: &Log<Stock>| log.objects().next().is_none().then_some(());
        History::start(stocks).await?.until_within(DEADLINE, "all units are gone", none).await
    }
}

fn order(name: &str) -> anyhow::Result<Order> {
    Ok(Order::new(name, serde_json::from_value(json!({"inventoryRef": {"name": INVENTORY}}))?))
}

/// Places an order; its name, and when it was sent.
async fn place(orders: Api<Order>, name: String) -> anyhow::Result<(String, Instant)> {
    let order = order(&name)?;
    let sent = Instant::now();
    orders.create(&PostParams::default(), &order).await.context("cannot place an order")?;
    Ok((name, sent))
}
