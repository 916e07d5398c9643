//! The tables of orders for stock.

use std::time::Duration;

use super::figures::{head, met, millis, row, seconds, verdict};
use crate::stock::{RATE, Stocks, UNITS};
use crate::writes::Part;

const P50_GOAL: Duration = Duration::from_millis(10);
const P99_GOAL: Duration = Duration::from_millis(50);
/// Writes for each order, besides its creation.
const WRITES_GOAL: f64 = 2.0;
/// Orders filled in a second.
const BURST_GOAL: f64 = 240.0;
/// The most memory that the controllers are to have with the most units.
const MEMORY_GOAL_MIB: u64 = 64;

/// All that was measured of them.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(super) fn section(stocks: &Stocks) -> String {
    let (p50, p99) = (stocks.steady.median(), stocks.steady.percentile(99.0));
    let orders = stocks.steady.count() as f64;
    let writes = (stocks.writes.of(Part::Work) + stocks.writes.of(Part::OrderStatus)) as f64 / orders;
    let titles = |titles: &[&str]| head(&titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>());
    let bare = stocks.bare.orders as f64 / stocks.bare.filled.as_secs_f64();
    let bursts = stocks.bursts.iter().map(|burst| {
        let rate = |time: Duration| burst.orders as f64 / time.as_secs_f64();
        row([
            burst.orders.to_string(),
            format!("{:.0}", rate(burst.made)),
            verdict(&format!("{:.0}", rate(burst.filled)), rate(burst.filled) >= BURST_GOAL),
            seconds(burst.latency.median()),
            seconds(burst.latency.percentile(99.0)),
            format!("{:.0}%", 100.0 * rate(burst.filled) / bare),
            seconds(burst.cpu),
        ])
    });
    let mib = |kib: u64| format!("{:.0} MiB", kib as f64 / 1024.0);
    let memory = stocks
        .memory
        .iter()
        .map(|(units, memory)| row([units.to_string(), mib(memory.resident), mib(memory.allocated), mib(memory.peak)]));
    let resident = stocks.memory.last().map_or(0, |(_, memory)| memory.resident);
    format!(
        "## Orders filled from a full shelf\n\n\
         {RATE} orders a second, {orders:.0} in all, from sending each until it is seen filled: p50 {}, p99 {}. The controllers write \
         {} times for each, besides {:.2} writes of the inventory's status and events.\n\n\
         {}{}\n\
         The goal is {BURST_GOAL} in a second. Without the controllers, the API server takes the same writes for {bare:.0} orders in a second \
         ({} orders, as many requests under way). The processor time is that of the controllers.\n\n\
         {}{}\n\
         The goal for memory with {} units is {MEMORY_GOAL_MIB} MiB: {}.",
        verdict(&millis(p50), p50 <= P50_GOAL),
        verdict(&millis(p99), p99 <= P99_GOAL),
        verdict(&format!("{writes:.2}"), writes <= WRITES_GOAL),
        (stocks.writes.of(Part::Inventory) + stocks.writes.of(Part::Events)) as f64 / orders,
        titles(&[
            "orders at once",
            "made in a second",
            "filled in a second",
            "p50",
            "p99",
            "of bare writes",
            "processor"
        ]),
        bursts.collect::<String>(),
        stocks.bare.orders,
        titles(&["units", "memory", "of it allocated", "at its peak"]),
        memory.collect::<String>(),
        UNITS[UNITS.len() - 1],
        met(resident <= MEMORY_GOAL_MIB << 10),
    )
}
