//! How long a pod that claims a ticket takes until it is bound, step by step, and what korder writes for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::objects::{self, OnNodesOf as _};
use e2e::{History, Log};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use korder_api::Order;
use korder_api::order::RefreshPolicy;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt as _};

use crate::NAMESPACE;
use crate::shelf::{PLACE, Shelf, remove_pods};
use crate::spread::Spread;
use crate::steps::{self, STEPS};
use crate::writes::{Counts, Meter};

/// How many pods are created at a time.
pub(crate) const AT_ONCE: [usize; 3] = [1, 8, 64];
/// Pods that are measured in each way.
pub(crate) const PODS: usize = 192;
/// Pods before those, which are not measured; more where more are created at a time.
const WARM_UP: usize = 16;
/// Tickets that the order keeps ready.
pub(crate) const TICKETS: usize = 64;
const ORDER: &str = "claimed";
/// The label of the pods that claim, whose value is the order.
pub(crate) const CLAIMANT: &str = "bench.korder.dev/claimant-of";

/// Pods that have claimed tickets.
pub(crate) struct Claiming {
    /// From sending the creation of a pod until it is seen to be bound.
    pub(crate) latency: Spread,
    /// How long each of [`STEPS`] took.
    pub(crate) steps: [Spread; STEPS.len()],
    /// What korder's controllers wrote for all of them.
    pub(crate) writes: Counts,
}

/// What is measured for pods that are created so many at a time.
pub(crate) struct Round {
    /// So many.
    pub(crate) at_once: usize,
    /// Pods without korder, from sending the creation until bound.
    pub(crate) bare: Spread,
    /// Claims of an order whose tickets are on many nodes.
    pub(crate) on_many_nodes: Claiming,
    /// Claims of one whose tickets are all on one node, so that the hand-overs have to go together.
    pub(crate) on_one_node: Claiming,
}

/// All that is measured of claims; where nothing else is said, of an order that refills.
pub(crate) struct Claims {
    /// For each of [`AT_ONCE`].
    pub(crate) rounds: Vec<Round>,
    /// Claims one after the other of an order that does not refill.
    pub(crate) unrefilled: Claiming,
}

/// Measures them.
pub(crate) async fn measure(client: &Client) -> anyhow::Result<Claims> {
    let meter = Meter::install(client).await?;
    let refilled = objects::order(ORDER, i32::try_from(TICKETS)?, PLACE);
    let on_one_node = refilled.clone().on_node("node-1");
    let mut rounds = Vec::new();
    for at_once in AT_ONCE {
        let bench = Bench { client, meter: &meter, at_once };
        rounds.push(Round {
            at_once,
            bare: bench.bare().await?,
            on_many_nodes: bench.claiming(&refilled).await?,
            on_one_node: bench.claiming(&on_one_node).await?,
        });
    }
    let mut unrefilled = objects::order(ORDER, i32::try_from(WARM_UP + PODS)?, PLACE);
    unrefilled.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    let unrefilled = Bench { client, meter: &meter, at_once: 1 }.claiming(&unrefilled).await?;
    Ok(Claims { rounds, unrefilled })
}

/// What is measured with.
struct Bench<'a> {
    client: &'a Client,
    meter: &'a Meter,
    at_once: usize,
}

/// Pods that are bound.
struct Placed {
    pods: History<Pod>,
    sent: BTreeMap<String, Instant>,
    writes: Counts,
}

impl Bench<'_> {
    /// Pods on nodes that have room.
    async fn bare(&self) -> anyhow::Result<Spread> {
        let placed = self.place(|name| objects::pod(name, PLACE), async || Ok(())).await?;
        let latency = Spread::of(latencies(&placed.pods.log(), &placed.sent)?)?;
        remove_pods(self.client).await?;
        Ok(latency)
    }

    /// Pods that claim tickets of an order, each round once the order is as it wants to be.
    async fn claiming(&self, order: &Order) -> anyhow::Result<Claiming> {
        let stock = Shelf::fill(self.client, order).await?;
        let placed = self.place(|name| claimant(name, ORDER), async || stock.settled().await).await?;
        let claiming = {
            let pods = placed.pods.log();
            Claiming {
                latency: Spread::of(latencies(&pods, &placed.sent)?)?,
                steps: steps::of(&pods, &stock.tickets.log(), &placed.sent)?,
                writes: placed.writes,
            }
        };
        stock.clear().await?;
        remove_pods(self.client).await?;
        Ok(claiming)
    }

    /// Creates [`PODS`] pods in rounds, and lets all `settle` between them.
    async fn place(
        &self,
        make: impl Fn(&str) -> Pod,
        settle: impl AsyncFn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Placed> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pods = History::start(api.clone()).await?;
        let warm_up = WARM_UP.max(self.at_once);
        let numbers: Vec<usize> = (0..warm_up + PODS).collect();
        let (warm_up, measured) = numbers.split_at(warm_up);
        for round in warm_up.chunks(self.at_once) {
            run_round(&api, &pods, round, &make).await?;
            settle().await?;
        }
        let before = self.meter.settled().await?;
        let mut sent = BTreeMap::new();
        for round in measured.chunks(self.at_once) {
            sent.extend(run_round(&api, &pods, round, &make).await?);
            settle().await?;
        }
        let writes = self.meter.settled().await?.since(before);
        Ok(Placed { pods, sent, writes })
    }
}

/// Claims so many tickets of an order one after the other, without waiting for anything between them; how long each took.
pub(crate) async fn claim_in_turn(client: &Client, order: &str, count: usize) -> anyhow::Result<Spread> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pods = History::selected(api.clone(), ListParams::default().labels(&format!("{CLAIMANT}={order}"))).await?;
    let mut sent = BTreeMap::new();
    for number in 0..count {
        sent.extend(run_round(&api, &pods, &[number], |name| claimant(name, order)).await?);
    }
    let latencies = latencies(&pods.log(), &sent)?;
    Spread::of(latencies)
}

fn claimant(name: &str, order: &str) -> Pod {
    let mut pod = objects::claimant(name, order, PLACE);
    pod.metadata.labels = Some([(CLAIMANT.to_owned(), order.to_owned())].into());
    pod
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
    let names: BTreeSet<&str> = sent.iter().map(|(name, _)| name.as_str()).collect();
    let all_bound = |log: &Log<Pod>| {
        let bound = log.objects().filter(|pod| is_bound(pod) && names.contains(pod.name_any().as_str()));
        (bound.count() == names.len()).then_some(())
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
