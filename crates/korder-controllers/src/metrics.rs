//! What the controllers count, for Prometheus. Each is described in `docs/metrics.md`.

use std::sync::Arc;

use jiff::SignedDuration;
use korder_api::TicketPhase;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::caches::{BY_PHASE, Caches};

/// From a hand-over on a quiet cluster to its deadline, in seconds.
const STEPS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// From a ticket that was on the shelf to one that had to be bought, in seconds.
const WAITS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

/// The counts of one process. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    tickets: Family<Phase, Gauge>,
    claims: Family<Outcome, Counter>,
    waits: Histogram,
    steps: Family<Step, Histogram>,
    lost: Family<Cause, Counter>,
    leads: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let tickets = Family::default();
        let claims = Family::default();
        let waits = Histogram::new(WAITS);
        let steps = Family::<Step, Histogram>::new_with_constructor(|| Histogram::new(STEPS));
        let lost = Family::default();
        let leads = Gauge::default();
        let mut registry = Registry::with_prefix("korder");
        registry.register("tickets", "Tickets that are there, by phase", tickets.clone());
        registry.register("claims", "Claims that are over, by outcome", claims.clone());
        registry.register(
            "pod_wait_seconds",
            "From the making of a pod until it was bound with a ticket",
            waits.clone(),
        );
        registry.register("hand_over_seconds", "From the claim until a step of the hand-over was done", steps.clone());
        registry.register("tickets_lost", "Places that were lost, by cause", lost.clone());
        registry.register("leads", "Whether this process is the one that acts", leads.clone());
        Self { registry: Arc::new(registry), tickets, claims, waits, steps, lost, leads }
    }
}

impl Metrics {
    /// All of them in the text format, the tickets counted now. `leads` tells whether the controllers run in this process.
    pub fn render(&self, caches: &Caches, leads: bool) -> String {
        use TicketPhase::{Claimed, Expired, Lost, Pending, Ready, Used};
        for phase in [Pending, Ready, Claimed, Used, Expired, Lost].map(TicketPhase::as_str) {
            let count = caches.tickets.by_index(BY_PHASE, phase).len();
            self.tickets.get_or_create(&Phase { phase }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.leads.set(leads.into());
        let mut text = String::new();
        // Writing to a string does not fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }

    pub(crate) fn claim_is_over(&self, outcome: &'static str) {
        self.claims.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn pod_has_waited(&self, time: SignedDuration) {
        self.waits.observe(time.as_secs_f64());
    }

    pub(crate) fn step_is_done(&self, step: &'static str, since_claim: SignedDuration) {
        self.steps.get_or_create(&Step { step }).observe(since_claim.as_secs_f64());
    }

    pub(crate) fn place_is_lost(&self, cause: &'static str) {
        self.lost.get_or_create(&Cause { cause }).inc();
    }
}
