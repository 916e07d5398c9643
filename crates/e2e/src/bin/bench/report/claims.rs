//! The tables of claims.

use super::figures::{head, met, millis, ratio, row, verdict};
use crate::claims::{AT_ONCE, Claiming, Claims, PODS, Round, TICKETS};
use crate::installation::NODES;
use crate::spread::Spread;
use crate::steps::STEPS;
use crate::writes::{Counts, Part};

/// What the figures are held to.
mod goal {
    use std::time::Duration;

    pub(super) const P50: Duration = Duration::from_millis(50);
    pub(super) const P99: Duration = Duration::from_millis(200);
    pub(super) const WRITES: u64 = 5;
    pub(super) const REFILL_WRITES: u64 = 3;
}

/// [`PODS`] as the counters are.
const MEASURED: u64 = PODS as u64;

impl Claims {
    /// All that was measured of claims.
    pub(super) fn sections(&self) -> Vec<String> {
        vec![self.latency(), self.steps(), self.writes()]
    }

    /// Each way of claiming, with what it is called.
    fn ways(&self) -> impl Iterator<Item = (String, &Round, &Claiming)> {
        self.rounds.iter().flat_map(|round| {
            let on = |nodes: usize| format!("{} at a time, {nodes} {}", round.at_once, noun(nodes));
            [(on(NODES), round, &round.on_many_nodes), (on(1), round, &round.on_one_node)]
        })
    }

    fn latency(&self) -> String {
        let line = |(what, round, claim): (String, &Round, &Claiming)| {
            let of = |spread: &Spread| [50.0, 99.0].map(|percent| spread.percentile(percent));
            let ([p50, p99], [bare50, bare99]) = (of(&claim.latency), of(&round.bare));
            row([
                what,
                verdict(&millis(p50), p50 <= goal::P50),
                verdict(&millis(p99), p99 <= goal::P99),
                millis(bare50),
                millis(bare99),
                ratio(p50, bare50),
            ])
        };
        let headings = ["", "claim, p50", "claim, p99", "bare pod, p50", "bare pod, p99", "p50 to p50"];
        format!(
            "## From the creation of a pod to its being bound\n\n{}{}\n\
             The goals are {} and {}. {PODS} pods each, from sending the creation until a watch shows the pod bound; the \
             next ones come when the order has its {TICKETS} tickets again, which are spread over {NODES} simulated nodes or \
             all on one of them. A bare pod is the same pod without korder, on {NODES} nodes that have room.",
            head(&headings.map(str::to_owned)),
            self.ways().map(line).collect::<String>(),
            millis(goal::P50),
            millis(goal::P99),
        )
    }

    fn steps(&self) -> String {
        let line = |(what, _, claim): (String, &Round, &Claiming)| {
            let step = |spread: &Spread| {
                let [p50, p99] = [50.0, 99.0].map(|percent| spread.percentile(percent));
                format!("{} · {}", millis(p50), millis(p99))
            };
            row([what].into_iter().chain(claim.steps.iter().map(step)))
        };
        let headings: Vec<String> = [""].iter().chain(&STEPS).map(|&heading| heading.to_owned()).collect();
        format!(
            "## Where the time goes\n\n{}{}\n\
             How long each step took from the one before it, p50 · p99, by when watches have shown them: the pod is *made*, \
             from sending its creation; a ticket is *claimed* for it; it is *nominated* to the ticket's node; the ticket's \
             *guardian* is *gone*; the pod is *ungated*; it is *bound*.",
            head(&headings),
            self.ways().map(line).collect::<String>(),
        )
    }

    fn writes(&self) -> String {
        let claim = self.unrefilled.writes;
        let one_at_a_time = self.rounds.first().map_or(claim, |round| round.on_many_nodes.writes);
        let refill = one_at_a_time.since(claim);
        let mut columns: Vec<(String, Counts)> = vec![("claim".to_owned(), claim), ("refill".to_owned(), refill)];
        columns.extend(self.ways().map(|(what, _, claiming)| (what, claiming.writes)));
        let line = |what: &str, of: &dyn Fn(Counts) -> u64| {
            row([what.to_owned()].into_iter().chain(columns.iter().map(|(_, counts)| each(of(*counts)))))
        };
        let part = |part: Part| move |counts: Counts| counts.of(part);
        let mut lines = line("**the work itself**", &part(Part::Work));
        lines += &line("events", &part(Part::Events));
        lines += &line("status of the order", &part(Part::OrderStatus));
        for (place, (kind, _)) in claim.by_kind().enumerate() {
            let of = move |counts: Counts| counts.by_kind().nth(place).map_or(0, |(_, count)| count);
            if columns.iter().any(|(_, counts)| of(*counts) > 0) {
                lines += &line(&kind.to_string(), &of);
            }
        }
        let headings: Vec<String> =
            std::iter::once(String::new()).chain(columns.iter().map(|(what, _)| what.clone())).collect();
        format!(
            "## Writes to the API for each claim\n\n{}{lines}\n\
             The goals are {} for a claim and {} for a refill: {} and {}. Counted by the API server, for the controllers' \
             service account, over {PODS} claims; conflicts and refusals count. The first column is an order that does \
             not refill, {} at a time; the second is what an order that does takes more; the others are both together.",
            head(&headings),
            goal::WRITES,
            goal::REFILL_WRITES,
            met(claim.of(Part::Work) <= goal::WRITES * MEASURED),
            met(refill.of(Part::Work) <= goal::REFILL_WRITES * MEASURED),
            AT_ONCE[0],
        )
    }
}

fn noun(nodes: usize) -> &'static str {
    if nodes == 1 { "node" } else { "nodes" }
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
}
