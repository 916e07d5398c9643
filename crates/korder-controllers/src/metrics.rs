//! What the controllers count, for Prometheus. Each is described in `docs/metrics.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::SignedDuration;
use korder_api::{StockPhase, TicketPhase};
use korder_core::inventory::{Spoilt, unit};
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
    orders_filled: Family<AtOnce, Counter>,
    order_waits: Histogram,
    stock_units: Family<Phase, Gauge>,
    production: Family<Result, Histogram>,
    resets: Family<Result, Counter>,
    probes: Family<Result, Counter>,
    scrapped: Family<Reason, Counter>,
    idle: Counter<f64, AtomicU64>,
    levels: Family<Kind, Gauge>,
    conflicts: Counter,
    leads: Gauge,
    clock_skew: Gauge<f64, AtomicU64>,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AtOnce {
    at_once: &'static str,
}

impl AtOnce {
    const fn of(at_once: bool) -> Self {
        Self { at_once: if at_once { "true" } else { "false" } }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let tickets = Family::default();
        let claims = Family::default();
        let waits = Histogram::new(WAITS);
        let steps = Family::<Step, Histogram>::new_with_constructor(|| Histogram::new(STEPS));
        let lost = Family::default();
        let orders_filled = Family::<AtOnce, Counter>::default();
        // What can be told of stock is there from the beginning, so that rates don't start with a gap.
        for at_once in [true, false] {
            drop(orders_filled.get_or_create(&AtOnce::of(at_once)));
        }
        let order_waits = Histogram::new(WAITS);
        let stock_units = Family::default();
        let production = Family::<Result, Histogram>::new_with_constructor(|| Histogram::new(WAITS));
        for result in ["ready", "failed"] {
            drop(production.get_or_create(&Result { result }));
        }
        let resets = Family::<Result, Counter>::default();
        for result in ["ready", "failed"] {
            drop(resets.get_or_create(&Result { result }));
        }
        let probes = Family::<Result, Counter>::default();
        for result in ["good", "failed"] {
            drop(probes.get_or_create(&Result { result }));
        }
        let scrapped = Family::<Reason, Counter>::default();
        for reason in Spoilt::ALL.map(Spoilt::as_str) {
            drop(scrapped.get_or_create(&Reason { reason }));
        }
        let idle = Counter::default();
        let levels = Family::default();
        let conflicts = Counter::default();
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
        registry.register("orders_filled", "Orders for stock that have all their units", orders_filled.clone());
        registry.register(
            "order_wait_seconds",
            "From the placing of an order for stock until it was filled",
            order_waits.clone(),
        );
        registry.register("stock_units", "Units of stock that are there, by phase", stock_units.clone());
        registry.register(
            "production_seconds",
            "From the beginning of a unit until it was ready, or failed",
            production.clone(),
        );
        registry.register(
            "stock_resets",
            "Units that were given back and made like new, or could not be",
            resets.clone(),
        );
        registry.register("stock_probes", "Verdicts on units of stock that were written, by result", probes.clone());
        registry.register("stock_scrapped", "Units that were thrown away and never used, by reason", scrapped.clone());
        registry.register(
            "stock_idle_seconds",
            "How long units have lain on the shelf until they left it",
            idle.clone(),
        );
        registry.register(
            "inventory_level",
            "Units over all inventories: wanted, ready, and waited for",
            levels.clone(),
        );
        registry.register("claim_conflicts", "Claims of units that somebody was faster with", conflicts.clone());
        registry.register("leads", "Whether this process is the one that acts", leads.clone());
        let clock_skew = Gauge::default();
        registry.register(
            "clock_skew_seconds",
            "By how much this machine's clock is ahead of the API server's",
            clock_skew.clone(),
        );
        Self {
            registry: Arc::new(registry),
            tickets,
            claims,
            waits,
            steps,
            lost,
            orders_filled,
            order_waits,
            stock_units,
            production,
            resets,
            probes,
            scrapped,
            idle,
            levels,
            conflicts,
            leads,
            clock_skew,
        }
    }
}

impl Metrics {
    /// All of them in the text format, the tickets counted now. `leads` tells whether the controllers run in this process,
    /// `clock_skew` by how much its machine's clock is ahead of the API server's.
    pub fn render(&self, caches: &Caches, leads: bool, clock_skew: SignedDuration) -> String {
        use TicketPhase::{Claimed, Expired, Lost, Pending, Ready, Used};
        for phase in [Pending, Ready, Claimed, Used, Expired, Lost].map(TicketPhase::as_str) {
            let count = caches.tickets.by_index(BY_PHASE, phase).len();
            self.tickets.get_or_create(&Phase { phase }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.count_stock(caches);
        self.leads.set(leads.into());
        self.clock_skew.set(clock_skew.as_secs_f64());
        let mut text = String::new();
        // Writing to a string does not fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }

    fn count_stock(&self, caches: &Caches) {
        use StockPhase::{Claimed, Failed, Producing, Ready, Resetting, Retiring};
        let mut units = BTreeMap::new();
        for one in caches.stocks.list() {
            *units.entry(unit::phase(&one).as_str()).or_insert(0) += 1;
        }
        for phase in [Producing, Ready, Claimed, Resetting, Retiring, Failed].map(StockPhase::as_str) {
            self.stock_units.get_or_create(&Phase { phase }).set(units.get(phase).copied().unwrap_or(0));
        }
        let mut levels = [("wanted", 0), ("ready", 0), ("waiting", 0)];
        for status in caches.inventories.list().iter().filter_map(|one| one.status.as_ref()) {
            let counts = [status.level.unwrap_or(0), status.ready, status.waiting];
            levels.iter_mut().zip(counts).for_each(|((_, sum), count)| *sum += i64::from(count));
        }
        for (kind, sum) in levels {
            self.levels.get_or_create(&Kind { kind }).set(sum);
        }
    }

    pub(crate) fn order_is_filled(&self, at_once: bool, waited: SignedDuration) {
        self.orders_filled.get_or_create(&AtOnce::of(at_once)).inc();
        self.order_waits.observe(waited.as_secs_f64());
    }

    pub(crate) fn production_is_over(&self, result: &'static str, took: SignedDuration) {
        self.production.get_or_create(&Result { result }).observe(took.as_secs_f64());
    }

    pub(crate) fn reset_is_over(&self, result: &'static str) {
        self.resets.get_or_create(&Result { result }).inc();
    }

    pub(crate) fn probe_is_over(&self, result: &'static str) {
        self.probes.get_or_create(&Result { result }).inc();
    }

    pub(crate) fn unit_is_scrapped(&self, reason: &'static str) {
        self.scrapped.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn unit_leaves_the_shelf(&self, lay: SignedDuration) {
        self.idle.inc_by(lay.as_secs_f64().max(0.0));
    }

    pub(crate) fn claim_has_conflicted(&self) {
        self.conflicts.inc();
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
