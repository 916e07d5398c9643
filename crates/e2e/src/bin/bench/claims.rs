//! How long a pod that claims a ticket takes until it is bound, and what korder writes for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::objects::{self, OnNodesOf as _};
use e2e::{History, Log};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use korder_api::Order;
use korder_api::order::RefreshPolicy;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};

use crate::NAMESPACE;
use crate::shelf::{PLACE, Shelf, remove_pods};
use crate::spread::Spread;
use crate::writes::{Counts, Meter};

/// Tickets that the order keeps ready.
pub(crate) const TICKETS: i32 = 20;
/// Pods that are measured in each way.
pub(crate) const PODS: usize = 200;
/// Pods before those, which are not measured.
const WARM_UP: usize = 20;
/// How many at a time, where it is not one.
pub(crate) const AT_ONCE: usize = 10;
const ORDER: &str = "claimed";

/// Pods of one kind, created one or several at a time.
pub(crate) struct Placing {
    /// From sending the creation of a pod until it is seen to be bound.
    pub(crate) latency: Spread,
    /// What korder's controllers wrote for all of them.
    pub(crate) writes: Counts,
}

/// All that is measured of claims; where nothing else is said, of an order that refills and has tickets on many nodes.
pub(crate) struct Claims {
    /// Pods without korder, one after the other.
    pub(crate) bare: Placing,
    /// Pods without korder, [`AT_ONCE`].
    pub(crate) bare_at_once: Placing,
    /// Claims one after the other.
    pub(crate) one: Placing,
    /// Claims [`AT_ONCE`].
    pub(crate) at_once: Placing,
    /// The same where all tickets are on one node, so that the hand-overs have to go together.
    pub(crate) at_once_on_one_node: Placing,
    /// Claims one after the other of an order that does not refill.
    pub(crate) one_unrefilled: Placing,
    /// Claims [`AT_ONCE`] of an order that does not refill.
    pub(crate) at_once_unrefilled: Placing,
}

/// Measures them.
pub(crate) async fn measure(client: &Client) -> anyhow::Result<Claims> {
    let bench = Bench { client: client.clone(), meter: Meter::install(client).await? };
    let refilled = || objects::order(ORDER, TICKETS, PLACE);
    let mut unrefilled = objects::order(ORDER, i32::try_from(WARM_UP + PODS)?, PLACE);
    unrefilled.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    Ok(Claims {
        bare: bench.bare(1).await?,
        bare_at_once: bench.bare(AT_ONCE).await?,
        one: bench.claims(&refilled(), 1).await?,
        at_once: bench.claims(&refilled(), AT_ONCE).await?,
        at_once_on_one_node: bench.claims(&refilled().on_node("node-1"), AT_ONCE).await?,
        one_unrefilled: bench.claims(&unrefilled, 1).await?,
        at_once_unrefilled: bench.claims(&unrefilled, AT_ONCE).await?,
    })
}

/// What is measured with.
struct Bench {
    client: Client,
    meter: Meter,
}

impl Bench {
    /// Pods on nodes that have room.
    async fn bare(&self, at_once: usize) -> anyhow::Result<Placing> {
        let placing = self.place(at_once, |name| objects::pod(name, PLACE), async || Ok(())).await?;
        remove_pods(&self.client).await?;
        Ok(placing)
    }

    /// Pods that claim tickets of an order, each round once the order is as it wants to be.
    async fn claims(&self, order: &Order, at_once: usize) -> anyhow::Result<Placing> {
        let stock = Shelf::fill(&self.client, order).await?;
        let placing = self.place(at_once, claimant, async || stock.settled().await).await?;
        stock.clear().await?;
        remove_pods(&self.client).await?;
        Ok(placing)
    }

    /// Creates [`PODS`] pods in rounds of `at_once`, and lets all `settle` between them.
    async fn place(
        &self,
        at_once: usize,
        make: impl Fn(&str) -> Pod,
        settle: impl AsyncFn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Placing> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pods = History::start(api.clone()).await?;
        let numbers: Vec<usize> = (0..WARM_UP + PODS).collect();
        let (warm_up, measured) = numbers.split_at(WARM_UP);
        for round in warm_up.chunks(at_once) {
            run_round(&api, &pods, round, &make).await?;
            settle().await?;
        }
        let before = self.meter.settled().await?;
        let mut sent = BTreeMap::new();
        for round in measured.chunks(at_once) {
            sent.extend(run_round(&api, &pods, round, &make).await?);
            settle().await?;
        }
        let writes = self.meter.settled().await?.since(before);
        let latency = Spread::of(latencies(&pods.log(), &sent)?)?;
        Ok(Placing { latency, writes })
    }
}

fn claimant(name: &str) -> Pod {
    objects::claimant(name, ORDER, PLACE)
}

/// Creates some pods at once and waits until all are bound; their names, and when the creation of each was sent.
async fn run_round(
    api: &Api<Pod>,
    pods: &History<Pod>,
    round: &[usize],
    make: impl Fn(&str) -> Pod,
) -> anyhow::Result<Vec<(String, Instant)>> {
    let create = |number: &usize| {
        let pod = make(&format!("pod-{number}"));
        async move {
            let sent = Instant::now();
            let there = api.create(&PostParams::default(), &pod).await.context("cannot make a pod")?;
            anyhow::Ok((there.name_any(), sent))
        }
    };
    let sent = try_join_all(round.iter().map(create)).await?;
    let all_bound = |log: &Log<Pod>| {
        let bound = |name: &String| log.get(name).is_some_and(|pod| is_bound(pod));
        sent.iter().all(|(name, _)| bound(name)).then_some(())
    };
    pods.until("the pods are bound", all_bound).await?;
    Ok(sent)
}

/// From the sending of each pod until the first event that shows it bound.
fn latencies(log: &Log<Pod>, sent: &BTreeMap<String, Instant>) -> anyhow::Result<Vec<Duration>> {
    let mut bound: BTreeMap<String, Instant> = BTreeMap::new();
    for event in log.events().iter().filter(|event| is_bound(&event.object)) {
        bound.entry(event.object.name_any()).or_insert(event.seen);
    }
    ensure!(sent.keys().all(|name| bound.contains_key(name)), "not all pods were seen to be bound");
    Ok(sent.iter().map(|(name, &sent)| bound[name] - sent).collect())
}

fn is_bound(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}
