//! The figures as a page.

use std::time::Duration;

use crate::claims::{AT_ONCE, Claims, PODS, Placing, TICKETS};
use crate::machine::Machine;
use crate::shelf::Filling;
use crate::spread::Spread;
use crate::startup::Startup;
use crate::writes::{Counts, Part};

/// What the figures are held to.
mod goal {
    use std::time::Duration;

    pub(super) const UP: Duration = Duration::from_secs(6);
    pub(super) const RESUME: Duration = Duration::from_secs(5);
    pub(super) const CLAIM_P50: Duration = Duration::from_millis(50);
    pub(super) const CLAIM_P99: Duration = Duration::from_millis(200);
    pub(super) const CLAIM_WRITES: u64 = 5;
    pub(super) const REFILL_WRITES: u64 = 3;
}

/// Where the part begins that is written by hand.
const FINDINGS: &str = "## Findings";

/// Everything that was measured.
pub(crate) struct Report {
    /// On which machine.
    pub(crate) machine: Machine,
    /// On which version of Kubernetes.
    pub(crate) kubernetes: String,
    /// `korder up`.
    pub(crate) startup: Startup,
    /// Claims.
    pub(crate) claims: Claims,
    /// Orders becoming tickets.
    pub(crate) fillings: Vec<Filling>,
    /// The most memory that the controllers' process has had, in MiB.
    pub(crate) controller_peak_mib: u64,
}

impl Report {
    /// The page, with the findings of the page as it was before.
    pub(crate) fn to_markdown(&self, before: &str) -> String {
        let findings = before.find(FINDINGS).map_or(FINDINGS, |begin| &before[begin..]);
        let sections =
            [self.introduction(), self.startup(), self.fillings(), self.claims(), self.writes(), self.memory()];
        format!("{}\n\n{}\n", sections.join("\n\n"), findings.trim_end())
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

    fn startup(&self) -> String {
        let Startup { empty, resumed } = &self.startup;
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

    fn fillings(&self) -> String {
        let mut rows = Vec::new();
        let mut before: Option<Duration> = None;
        for Filling { tickets, order, pods } in &self.fillings {
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

    fn claims(&self) -> String {
        let Claims { bare, bare_at_once, one, at_once, at_once_on_one_node, one_unrefilled, at_once_unrefilled } =
            &self.claims;
        let row = |what: &str, claim: &Placing, bare: &Placing| {
            let [p50, p99] = [50.0, 99.0].map(|percent| claim.latency.percentile(percent));
            let [bare50, bare99] = [50.0, 99.0].map(|percent| bare.latency.percentile(percent));
            format!(
                "| {what} | {} | {} | {} | {} | {} |\n",
                verdict(&millis(p50), p50 <= goal::CLAIM_P50),
                verdict(&millis(p99), p99 <= goal::CLAIM_P99),
                millis(bare50),
                millis(bare99),
                ratio(p50, bare50),
            )
        };
        let rows = [
            row("one at a time", one, bare),
            row("the same, no refill", one_unrefilled, bare),
            row(&format!("{AT_ONCE} at a time"), at_once, bare_at_once),
            row("the same, no refill", at_once_unrefilled, bare_at_once),
            row("the same, all tickets on one node", at_once_on_one_node, bare_at_once),
        ];
        format!(
            "## From the creation of a pod to its being bound\n\n\
             | | claim, p50 | claim, p99 | bare pod, p50 | bare pod, p99 | p50 to p50 |\n\
             | --- | --- | --- | --- | --- | --- |\n{}\n\
             The goals are {} and {}. {PODS} pods each, from sending the creation until a watch shows the pod bound; the \
             next ones come when the order has its {TICKETS} tickets again. A bare pod is the same pod without korder, \
             on nodes that have room.",
            rows.concat(),
            millis(goal::CLAIM_P50),
            millis(goal::CLAIM_P99),
        )
    }

    fn writes(&self) -> String {
        let Claims { one, at_once: several, one_unrefilled, .. } = &self.claims;
        let (claim, with_refill) = (one_unrefilled.writes, one.writes);
        let refill = with_refill.since(claim);
        let row = |what: &str, of: &dyn Fn(Counts) -> u64| {
            format!("| {what} | {} | {} | {} |\n", each(of(claim)), each(of(refill)), each(of(several.writes)))
        };
        let mut kinds = String::new();
        for (place, (kind, _)) in claim.by_kind().enumerate() {
            let of = move |counts: Counts| counts.by_kind().nth(place).map_or(0, |(_, count)| count);
            if [claim, with_refill, several.writes].into_iter().any(|counts| of(counts) > 0) {
                kinds += &row(&kind.to_string(), &of);
            }
        }
        let part = |part: Part| move |counts: Counts| counts.of(part);
        format!(
            "## Writes to the API for each claim\n\n\
             | | claim | refill | both, {AT_ONCE} claims at a time |\n| --- | --- | --- | --- |\n{}{}{}{kinds}\n\
             The goals are {} for a claim and {} for a refill: {} and {}. Counted by the API server, for the controllers' \
             service account, over {PODS} claims; conflicts and refusals count. The first column is an order that does \
             not refill; the second is what an order that does takes more.",
            row("**the work itself**", &part(Part::Work)),
            row("events", &part(Part::Events)),
            row("status of the order", &part(Part::OrderStatus)),
            goal::CLAIM_WRITES,
            goal::REFILL_WRITES,
            met(claim.of(Part::Work) <= goal::CLAIM_WRITES * MEASURED),
            met(refill.of(Part::Work) <= goal::REFILL_WRITES * MEASURED),
        )
    }

    fn memory(&self) -> String {
        format!(
            "## Memory\n\nThe controllers' process, at its peak in all of the above: {} MiB.",
            self.controller_peak_mib
        )
    }
}

/// [`PODS`] as the counters are.
const MEASURED: u64 = PODS as u64;

/// A figure, and whether the goal for it is met.
fn verdict(figure: &str, is_met: bool) -> String {
    format!("{figure}, {}", met(is_met))
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}

/// Shortest, middle and longest, as three columns.
fn range(spread: &Spread) -> String {
    [spread.min(), spread.median(), spread.max()].map(seconds).join(" | ")
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn millis(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1000.0)
}

fn ratio(of: Duration, to: Duration) -> String {
    format!("{:.1}", of.as_secs_f64() / to.as_secs_f64())
}

/// A count of all measured pods, for each of them.
fn each(count: u64) -> String {
    format!("{}.{:02}", count / MEASURED, count % MEASURED * 100 / MEASURED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_shown_for_each_pod() {
        assert_eq!(
            (each(0), each(MEASURED * 5), each(MEASURED + MEASURED / 4)),
            ("0.00".into(), "5.00".into(), "1.25".into())
        );
    }

    #[test]
    fn figures_have_their_units() {
        let duration = Duration::from_micros(51_600);
        assert_eq!((seconds(duration), millis(duration)), ("0.05 s".into(), "52 ms".into()));
        assert_eq!(ratio(Duration::from_secs(3), Duration::from_secs(2)), "1.5");
    }
}
