//! What the controllers take where there are many tickets, and how it grows with their number.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::objects;
use e2e::{History, Log};
use korder_api::Order;
use kube::api::PostParams;
use tokio::time::sleep;

use crate::claims::claim_in_turn;
use crate::installation::Installation;
use crate::process::Memory;
use crate::shelf::{PLACE, orders};
use crate::spread::Spread;
use crate::writes::Meter;

/// Numbers of tickets, the first of which the others are compared with.
pub(crate) const SIZES: [i32; 2] = [1000, 10_000];
/// Claims of which the processor time is measured.
pub(crate) const CLAIMS: usize = 50;
/// For how long the controllers are watched while nothing happens.
pub(crate) const IDLE: Duration = Duration::from_mins(1);
/// Bound of filling.
const DEADLINE: Duration = Duration::from_mins(30);
const ORDER: &str = "shelf";

/// What the controllers take with so many tickets.
pub(crate) struct Scale {
    /// So many.
    pub(crate) tickets: i32,
    /// From the creation of the order until it says that all are ready.
    pub(crate) filled: Duration,
    /// Processor time until then.
    pub(crate) filling: Duration,
    /// Memory before the order was made.
    pub(crate) before: Memory,
    /// Memory once nothing happens any more.
    pub(crate) after: Memory,
    /// Processor time for [`IDLE`] in which nothing happens.
    pub(crate) idle: Duration,
    /// From the sending of a pod until it is bound, one after the other.
    pub(crate) latency: Spread,
    /// Processor time for all [`CLAIMS`], refill and all.
    pub(crate) claiming: Duration,
}

/// Measures all sizes, each on a cluster of its own.
pub(crate) async fn measure() -> anyhow::Result<Vec<Scale>> {
    let mut scales = Vec::new();
    for tickets in SIZES {
        scales.push(one(tickets).await.with_context(|| format!("with {tickets} tickets"))?);
    }
    Ok(scales)
}

async fn one(tickets: i32) -> anyhow::Result<Scale> {
    let installation = Installation::of_many_nodes().await?;
    let client = installation.client().await?;
    let meter = Meter::install(&client).await?;
    let controllers = installation.controllers().await?;
    meter.settled().await?;
    let (before, began, cpu_before) = (controllers.memory()?, Instant::now(), controllers.cpu()?);

    // Of the orders alone: to follow so many tickets takes time that the cluster needs.
    let history = History::start(orders(&client)).await?;
    let order = objects::order(ORDER, tickets, PLACE);
    orders(&client).create(&PostParams::default(), &order).await.context("cannot make an order")?;
    let full = |log: &Log<Order>| {
        let ready = log.get(ORDER).and_then(|order| Some(order.status.as_ref()?.ready));
        (ready == Some(tickets)).then_some(())
    };
    history.until_within(DEADLINE, format_args!("{tickets} tickets are ready"), full).await?;
    let (filled, filling) = (began.elapsed(), controllers.cpu_since(cpu_before)?);

    meter.settled().await?;
    let (after, cpu_before) = (controllers.memory()?, controllers.cpu()?);
    sleep(IDLE).await;
    let (idle, cpu_before) = (controllers.cpu_since(cpu_before)?, controllers.cpu()?);

    let latency = claim_in_turn(&client, ORDER, CLAIMS).await?;
    meter.settled().await?;
    let claiming = controllers.cpu_since(cpu_before)?;
    Ok(Scale { tickets, filled, filling, before, after, idle, latency, claiming })
}
