//! The figures as a page.

mod claims;
mod figures;
mod scale;
mod stock;

use std::time::Duration;

use crate::claims::Claims;
use crate::machine::Machine;
use crate::scale::Scale;
use crate::shelf::Filling;
use crate::spread::Spread;
use crate::startup::Startup;
use crate::stock::Stocks;
use figures::{range, ratio, seconds, verdict};

/// What the figures are held to.
mod goal {
    use std::time::Duration;

    pub(super) const UP: Duration = Duration::from_secs(6);
    pub(super) const RESUME: Duration = Duration::from_secs(5);
}

/// Where the part begins that is written by hand.
const FINDINGS: &str = "## Findings";

/// What was measured; nothing of the parts that were left out.
pub(crate) struct Report {
    /// On which machine.
    pub(crate) machine: Machine,
    /// On which version of Kubernetes.
    pub(crate) kubernetes: String,
    /// `korder up`.
    pub(crate) startup: Option<Startup>,
    /// Orders becoming tickets.
    pub(crate) fillings: Option<Vec<Filling>>,
    /// Claims.
    pub(crate) claims: Option<Claims>,
    /// Many tickets.
    pub(crate) scales: Option<Vec<Scale>>,
    /// Orders for stock.
    pub(crate) stocks: Option<Stocks>,
}

impl Report {
    /// The page, with the findings of the page as it was before.
    pub(crate) fn to_markdown(&self, before: &str) -> String {
        let findings = before.find(FINDINGS).map_or(FINDINGS, |begin| &before[begin..]);
        format!("{}\n\n{}\n", self.tables(), findings.trim_end())
    }

    /// The page without the findings.
    pub(crate) fn tables(&self) -> String {
        let mut sections = vec![self.introduction()];
        sections.extend(self.startup.as_ref().map(startup));
        sections.extend(self.fillings.as_deref().map(fillings));
        sections.extend(self.claims.iter().flat_map(Claims::sections));
        sections.extend(self.scales.as_deref().map(scale::section));
        sections.extend(self.stocks.as_ref().map(stock::section));
        sections.join("\n\n")
    }

    fn introduction(&self) -> String {
        let Machine { cores, processor, memory_gib, kernel, load } = &self.machine;
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        format!(
            "# Benchmarks\n\n\
             Written by `make bench`: all is measured anew each time but the findings at the end, which are written by \
             hand. One machine runs everything, the control plane, the simulated nodes, korder and what measures it.\n\n\
             | | |\n| --- | --- |\n\
             | machine | {cores} cores ({processor}), {memory_gib} GiB of memory, {kernel} |\n\
             | load before | {load} |\n\
             | Kubernetes | {} |\n\
             | korder | {}, {profile} build |",
            self.kubernetes,
            env!("CARGO_PKG_VERSION"),
        )
    }
}

fn startup(Startup { empty, resumed }: &Startup) -> String {
    let row = |what: &str, spread: &Spread, goal: Duration| {
        let goal = verdict(&seconds(goal), spread.median() <= goal);
        format!("| {what} | {} | {goal} |\n", range(spread))
    };
    format!(
        "## `korder up` until all is ready\n\n\
         | | min | median | max | goal |\n| --- | --- | --- | --- | --- |\n{}{}\n\
         {} runs; three simulated nodes; the programs are built and in the page cache.",
        row("from an empty directory", empty, goal::UP),
        row("resumed after `korder down`", resumed, goal::RESUME),
        empty.count(),
    )
}

fn fillings(fillings: &[Filling]) -> String {
    let mut rows = Vec::new();
    let mut before: Option<Duration> = None;
    for Filling { tickets, order, pods } in fillings {
        let growth = before.map_or_else(|| "—".to_owned(), |before| ratio(order.median(), before));
        let to_pods = ratio(order.median(), pods.median());
        let (order_range, pods) = (range(order), seconds(pods.median()));
        let runs = order.count();
        rows.push(format!("| {tickets} | {order_range} | {runs} | {growth} | {pods} | {to_pods} |\n"));
        before = Some(order.median());
    }
    format!(
        "## From an order to its tickets being ready\n\n\
         | tickets | min | median | max | runs | to a tenth as many | bare pods | order to bare pods |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n{}\n\
         Bare pods are as many pods of the same size without korder, created sixteen at a time, from the first \
         creation until all run (median): what the cluster takes by itself.",
        rows.concat()
    )
}
