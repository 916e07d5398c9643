//! What the checks of units come to on the shelf: which of them goes, and which is checked again before it is given out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use korder_api::inventory::Probe;
use korder_api::{Inventory, Stock, StockPhase};

use super::supply::Spoilt;
use super::unit;
use crate::stock::{drift, probe};

/// How many failed checks in a row make a unit bad, where the probe does not say.
const THRESHOLD: i32 = 2;
/// A check this young is never too old: it takes its time to be heard of, and a unit must be given out some time.
const YOUNG: SignedDuration = SignedDuration::from_secs(10);

/// Units that went since they failed their checks, by name, and when that was decided.
///
/// While a broken probe comes to one unit after the other, those that went before count with those that are there, until one
/// is found good.
#[derive(Clone, Debug, Default)]
pub(super) struct Condemned(BTreeMap<String, Timestamp>);

impl Condemned {
    pub(super) fn add(&mut self, one: &Stock, now: Timestamp) {
        self.0.entry(unit::name(one).to_owned()).or_insert(now);
    }

    /// How many have gone since a unit was last found good.
    fn gone(&mut self, units: &[Arc<Stock>]) -> usize {
        let good = units.iter().filter_map(|one| found_good(one)).max();
        self.0.retain(|_, when| good.is_none_or(|good| good <= *when));
        let there = units.iter().filter(|one| unit::phase(one) == StockPhase::Ready).map(|one| unit::name(one));
        let there: BTreeSet<&str> = there.collect();
        self.0.keys().filter(|name| !there.contains(name.as_str())).count()
    }
}

/// When a check last found a unit good.
fn found_good(one: &Stock) -> Option<Timestamp> {
    Some(one.status.as_ref()?.probe_time.as_ref()?.0)
}

/// What the checks of an inventory's units come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks<'a> {
    probe: Option<&'a Probe>,
    /// How many fail, and of how many, where it is rather the probe that is broken.
    pub(super) suspect: Option<(usize, usize)>,
    now: Timestamp,
}

impl<'a> Checks<'a> {
    pub(super) fn of(
        inventory: &'a Inventory,
        units: &[Arc<Stock>],
        condemned: &mut Condemned,
        now: Timestamp,
    ) -> Self {
        let Some(probe) = &inventory.spec.probe else { return Self { probe: None, suspect: None, now } };
        let gone = condemned.gone(units);
        let counts = |one: &&Arc<Stock>| match unit::phase(one) {
            StockPhase::Ready => probe::is_checked(one),
            // Found good of late and given out: it still speaks for the probe.
            StockPhase::Claimed => {
                found_good(one).is_some_and(|good| now.duration_since(good) <= probe::period(probe) * 2)
            }
            _ => false,
        };
        let checked = units.iter().filter(counts).count() + gone;
        let failing = units.iter().filter(counts).filter(|one| probe::failures(one) > 0).count() + gone;
        // One alone has nothing to be compared with.
        let suspect = (checked > 1 && failing * 2 > checked).then_some((failing, checked));
        Self { probe: Some(probe), suspect, now }
    }

    /// Why a unit on the shelf goes, though it is neither too old nor of another item.
    pub(super) fn fault(&self, one: &Stock) -> Option<Spoilt> {
        if drift::is_drifted(one) {
            return Some(Spoilt::Drifted);
        }
        let threshold = self.probe?.failure_threshold.unwrap_or(THRESHOLD);
        (self.suspect.is_none() && probe::failures(one) >= threshold).then_some(Spoilt::ProbeFailed)
    }

    /// Whether a unit was seen to be good lately enough to be given out.
    pub(super) fn is_fresh(&self, one: &Stock) -> bool {
        let Some(fresh) = self.probe.and_then(|probe| probe.fresh_for.as_ref()) else { return true };
        let fresh = SignedDuration::try_from(fresh.get()).unwrap_or(SignedDuration::MAX).max(YOUNG);
        probe::seen_good(one).is_some_and(|seen| self.now.duration_since(seen) <= fresh)
    }

    /// From when on it may be asked that a unit is checked, which is to be given out: not soon after a check that it failed.
    pub(super) fn may_be_asked_from(&self, one: &Stock) -> Option<Timestamp> {
        let probe = self.probe?;
        if probe::failures(one) == 0 && probe::last(one) == probe::seen_good(one) {
            return Some(self.now);
        }
        probe::last(one)?.checked_add(probe::period(probe)).ok()
    }
}
