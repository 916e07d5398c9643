//! An order and its tickets, and how long it takes until all of them are ready.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::objects::{self, Size};
use e2e::{History, Log};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use korder_api::order::RefreshPolicy;
use korder_api::{Order, Ticket, TicketPhase, names};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt as _};

use crate::NAMESPACE;
use crate::spread::Spread;

/// What each ticket and each pod takes.
pub(crate) const PLACE: Size = Size { cpu: "1", memory: "4Gi" };
/// Numbers of tickets, and how often each is measured.
const SIZES: [(i32, usize); 3] = [(10, 7), (100, 7), (1000, 3)];
/// Bound of filling and of emptying.
const DEADLINE: Duration = Duration::from_mins(10);
/// Requests in flight where the benchmark itself makes many.
const IN_FLIGHT: usize = 16;

/// An order whose tickets have been ready.
pub(crate) struct Shelf {
    client: Client,
    name: String,
    replicas: usize,
    refills: bool,
    /// Every change of its tickets.
    pub(crate) tickets: History<Ticket>,
    /// From the creation of the order until all of its tickets were ready.
    pub(crate) took: Duration,
}

impl Shelf {
    /// Makes an order and waits until all of its tickets are ready.
    pub(crate) async fn fill(client: &Client, order: &Order) -> anyhow::Result<Self> {
        let name = order.name_any();
        let of_order = ListParams::default().labels(&format!("{}={name}", names::LABEL_ORDER));
        let tickets = History::selected(Api::namespaced(client.clone(), NAMESPACE), of_order).await?;
        let replicas = usize::try_from(order.spec.replicas.unwrap_or(1))?;
        let policy = order.spec.strategy.as_ref().and_then(|strategy| strategy.refresh_policy);
        let refills = policy != Some(RefreshPolicy::Never);
        let started = Instant::now();
        orders(client).create(&PostParams::default(), order).await.context("cannot make an order")?;
        let mut shelf = Self { client: client.clone(), name, replicas, refills, tickets, took: Duration::ZERO };
        shelf.full().await?;
        shelf.took = started.elapsed();
        Ok(shelf)
    }

    /// Waits until the order is full again, if it is one that refills.
    pub(crate) async fn settled(&self) -> anyhow::Result<()> {
        if self.refills { self.full().await } else { Ok(()) }
    }

    async fn full(&self) -> anyhow::Result<()> {
        let Self { replicas, tickets, .. } = self;
        let full = |log: &Log<Ticket>| {
            let ready = log.objects().filter(|ticket| ticket.phase() == TicketPhase::Ready).count();
            (ready == *replicas).then_some(())
        };
        tickets.until_within(DEADLINE, format_args!("{replicas} tickets are ready"), full).await
    }

    /// Removes the order, and waits until its tickets and their guardians are gone.
    pub(crate) async fn clear(self) -> anyhow::Result<()> {
        let Self { client, name, tickets, .. } = self;
        let of_order = ListParams::default().labels(&format!("{}={name}", names::LABEL_ORDER));
        let guardians: History<Pod> = History::selected(Api::namespaced(client.clone(), NAMESPACE), of_order).await?;
        orders(&client).delete(&name, &DeleteParams::background()).await.context("cannot remove the order")?;
        tickets
            .until_within(DEADLINE, "the tickets are gone", |log| log.objects().next().is_none().then_some(()))
            .await?;
        guardians
            .until_within(DEADLINE, "the guardians are gone", |log| log.objects().next().is_none().then_some(()))
            .await
    }
}

pub(crate) fn orders(client: &Client) -> Api<Order> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Times for one number of tickets.
pub(crate) struct Filling {
    /// How many tickets.
    pub(crate) tickets: i32,
    /// From the creation of the order until all are ready.
    pub(crate) order: Spread,
    /// From the creation of the first of as many bare pods until all run.
    pub(crate) pods: Spread,
}

/// Measures all numbers of tickets.
pub(crate) async fn measure(client: &Client) -> anyhow::Result<Vec<Filling>> {
    let mut fillings = Vec::new();
    for (tickets, runs) in SIZES {
        let (mut order, mut pods) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let shelf = Shelf::fill(client, &objects::order("shelf", tickets, PLACE)).await?;
            order.push(shelf.took);
            shelf.clear().await?;
            pods.push(run_pods(client, tickets).await?);
        }
        fillings.push(Filling { tickets, order: Spread::of(order)?, pods: Spread::of(pods)? });
    }
    Ok(fillings)
}

/// Makes so many bare pods as fast as the API server takes them, waits until all run, and removes them.
async fn run_pods(client: &Client, count: i32) -> anyhow::Result<Duration> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pods = History::start(api.clone()).await?;
    let started = Instant::now();
    let creations = (0..count).map(|number| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &objects::pod(&format!("bare-{number}"), PLACE)).await }
    });
    stream::iter(creations).buffer_unordered(IN_FLIGHT).try_for_each(async |_| Ok(())).await?;
    let wanted = usize::try_from(count)?;
    let running = |log: &Log<Pod>| (log.objects().filter(|pod| is_running(pod)).count() == wanted).then_some(());
    pods.until_within(DEADLINE, format_args!("{count} pods run"), running).await?;
    let took = started.elapsed();
    remove_pods(client).await?;
    Ok(took)
}

/// Removes all pods, and waits until they are gone.
pub(crate) async fn remove_pods(client: &Client) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pods = History::start(api.clone()).await?;
    api.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default()).await?;
    pods.until_within(DEADLINE, "the pods are gone", |log| log.objects().next().is_none().then_some(())).await
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}
