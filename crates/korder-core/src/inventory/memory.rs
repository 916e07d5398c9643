//! What an inventory's keeper remembers between two looks.
//!
//! None of it decides who gets what: lost in a restart, it is gathered again from the orders and units that are there, and
//! from what the status has of the level.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use korder_api::{Inventory, Order, Stock};

use super::checks::Condemned;
use super::releases::Releases;
use super::request::{self, Stage};
use super::unit;
use crate::level::{self, Arrival, Config, Level, State, Surplus};

/// Over how many orders the share filled at once is taken, and over how many units the time to make one.
const LATEST: usize = 100;
/// What making a unit takes as long as none was made.
const UNKNOWN_LEAD: Duration = Duration::from_mins(1);
/// How long an order is left alone that could not be served for a reason of its own.
const REST: SignedDuration = SignedDuration::from_secs(30);
/// Between two times that the state of the level is written.
const SAVED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// What an inventory's keeper remembers between two looks.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The state of the level, and when that was.
    level: Option<(State, Timestamp)>,
    saved: Option<Timestamp>,
    came_since_saved: bool,
    /// What was let go lately because its time had come.
    pub(super) releases: Releases,
    surplus: Surplus,
    surplus_at: Option<Timestamp>,
    /// Whether each of the latest orders was filled at once.
    outcomes: VecDeque<bool>,
    /// How long each of the latest units took, failed attempts before it included.
    leads: VecDeque<Duration>,
    /// Spent on attempts that failed since the last unit.
    in_vain: Duration,
    /// Units whose time was taken in, as long as they are there.
    measured: BTreeSet<String>,
    /// Orders that were taken in and do not say so themselves yet.
    counted: BTreeSet<String>,
    /// Orders that could not be served, and until when they are left alone.
    resting: BTreeMap<String, Timestamp>,
    /// Units that failed their checks and went.
    pub(super) condemned: Condemned,
    /// The last number given in line.
    sequence: i64,
    /// The last number given to a unit.
    issued: i64,
}

impl Memory {
    /// Takes in what is there at the first look after a start.
    pub(super) fn begin(&mut self, inventory: &Inventory, requests: &[Arc<Order>], now: Timestamp) {
        let known = requests.iter().filter_map(|order| order.status.as_ref()?.queue_sequence).max();
        self.sequence = self.sequence.max(known.unwrap_or(0));
        let Some(config) = Config::of(&inventory.spec) else {
            self.level = None;
            return;
        };
        if self.level.is_some() {
            return;
        }
        let saved = inventory.status.as_ref().and_then(|status| State::decode(status.level_state.as_deref()?).ok());
        let (mut state, mut at) = saved.unwrap_or_else(|| {
            let born = inventory.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
            (State::new(self.mean_lead()), born.min(now))
        });
        let mut since: Vec<(Timestamp, &Order)> = requests
            .iter()
            .filter(|order| was_taken_in(order))
            .filter_map(|order| Some((request::created(order)?, order.as_ref())))
            .filter(|(created, _)| *created > at)
            .collect();
        since.sort_by_key(|(created, order)| (*created, order.metadata.uid.as_deref()));
        for (created, order) in since {
            let arrival = Arrival { units: units(order), at_once: was_at_once(order) };
            state = level::step(state, between(at, created), &[arrival], self.mean_lead(), &config);
            at = created;
            self.note(arrival.at_once);
        }
        self.level = Some((state, at));
    }

    /// Takes in the units that were made, or could not be made, since the last look.
    pub(super) fn measure(&mut self, units: &[Arc<Stock>]) {
        let mut there = BTreeSet::new();
        for one in units {
            let name = unit::name(one);
            let took = match (unit::made_in(one), unit::failure(one)) {
                (Some((begun, ready)), _) => Ok(between(begun, ready)),
                (None, Some((failed, _))) => Err(one
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map_or(Duration::ZERO, |begun| between(begun.0, failed))),
                (None, None) => continue,
            };
            if !self.measured.contains(name) {
                match took {
                    Ok(took) => {
                        push(&mut self.leads, took + std::mem::take(&mut self.in_vain));
                    }
                    Err(took) => self.in_vain += took,
                }
            }
            there.insert(name.to_owned());
        }
        self.measured = there;
    }

    /// Takes in orders that came since the last look, each with whether it was filled at once.
    pub(super) fn take_in(
        &mut self,
        inventory: &Inventory,
        came: &[(&Order, bool)],
        requests: &[Arc<Order>],
        now: Timestamp,
    ) {
        let mut arrivals = Vec::new();
        for (order, at_once) in came {
            let Some(uid) = &order.metadata.uid else { continue };
            if self.counted.insert(uid.clone()) {
                arrivals.push(Arrival { units: units(order), at_once: *at_once });
                self.note(*at_once);
            }
        }
        if !self.counted.is_empty() {
            let unsaid =
                requests.iter().filter(|order| !was_taken_in(order)).filter_map(|order| order.metadata.uid.as_deref());
            let unsaid: BTreeSet<&str> = unsaid.collect();
            self.counted.retain(|uid| unsaid.contains(uid.as_str()));
        }
        let lead = self.mean_lead();
        if let (Some((state, at)), Some(config)) = (self.level.take(), Config::of(&inventory.spec)) {
            self.came_since_saved |= !arrivals.is_empty();
            let state = level::step(state, between(at, now), &arrivals, lead, &config);
            self.level = Some((state, now));
        }
    }

    /// When the last order came, where the level follows them.
    pub(super) fn last_order(&self) -> Option<Timestamp> {
        let (state, at) = self.level.as_ref()?;
        at.checked_sub(state.silence()).ok()
    }

    /// How many units are to be ready, where that follows the orders.
    pub(super) fn level(&self, inventory: &Inventory) -> Option<Level> {
        let (state, _) = self.level.as_ref()?;
        Some(level::level(state, self.mean_lead(), &Config::of(&inventory.spec)?))
    }

    /// Of so many units too many, how many are to go now.
    pub(super) fn scrap(&mut self, inventory: &Inventory, surplus: usize, now: Timestamp) -> usize {
        if inventory.spec.demand.is_none() {
            return surplus;
        }
        let elapsed = self.surplus_at.replace(now).map_or(Duration::ZERO, |before| between(before, now));
        let surplus = u32::try_from(surplus).unwrap_or(u32::MAX);
        let (after, scrap) = self.surplus.step(elapsed, surplus, self.mean_lead());
        self.surplus = after;
        usize::try_from(scrap.min(surplus)).unwrap_or(0)
    }

    /// The state of the level, if it is time to write it.
    pub(super) fn due_to_save(&mut self, now: Timestamp) -> Option<String> {
        let (state, _) = self.level.as_ref()?;
        let due = self.saved.is_none_or(|before| before + SAVED_EVERY <= now || before > now);
        (self.came_since_saved && due).then(|| {
            self.came_since_saved = false;
            self.saved = Some(now);
            state.encode(now)
        })
    }

    /// How often the level has to be looked at again as time passes.
    pub(super) fn pace(&self) -> Duration {
        (self.mean_lead() / 20).clamp(Duration::from_secs(1), Duration::from_mins(1))
    }

    /// Leaves an order alone for a while, which could not be served for a reason of its own.
    pub fn rest(&mut self, order: &Order, now: Timestamp) {
        if let Some(uid) = &order.metadata.uid {
            self.resting.insert(uid.clone(), now + REST);
        }
    }

    /// Until when an order is left alone.
    pub fn rests_until(&mut self, order: &Order, now: Timestamp) -> Option<Timestamp> {
        // A clock that was set back makes nobody rest for longer.
        self.resting.retain(|_, until| *until > now && *until <= now + REST);
        self.resting.get(order.metadata.uid.as_deref()?).copied()
    }

    /// The next number in line.
    pub(super) fn next_in_line(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    /// The numbers of new units: above all that are there or were ever told.
    pub(super) fn next_numbers(&mut self, inventory: &Inventory, there: &[Arc<Stock>], count: usize) -> Vec<i64> {
        let told = inventory.status.as_ref().map_or(0, |status| status.issued);
        let highest = there.iter().filter_map(|one| unit::number(inventory, one)).max().unwrap_or(0);
        let last = told.max(highest);
        let numbers = (last + 1..).take(count).collect();
        self.issued = last + i64::try_from(count).unwrap_or(0);
        numbers
    }

    /// The last number given to a unit.
    pub(super) fn issued(&self) -> i64 {
        self.issued
    }

    /// The share of the latest orders that were filled at once, in percent.
    pub(super) fn fill(&self) -> Option<usize> {
        let at_once = self.outcomes.iter().filter(|at_once| **at_once).count();
        (at_once * 100).checked_div(self.outcomes.len())
    }

    /// The time to make a unit that 95% of them stay below.
    pub(super) fn lead_p95(&self) -> Option<Duration> {
        let mut leads: Vec<Duration> = self.leads.iter().copied().collect();
        leads.sort();
        leads.get((leads.len() * 95).div_ceil(100).checked_sub(1)?).copied()
    }

    fn mean_lead(&self) -> Duration {
        let count = u32::try_from(self.leads.len()).unwrap_or(u32::MAX);
        self.leads.iter().sum::<Duration>().checked_div(count).unwrap_or(UNKNOWN_LEAD)
    }

    fn note(&mut self, at_once: bool) {
        push(&mut self.outcomes, at_once);
    }
}

fn push<T>(latest: &mut VecDeque<T>, one: T) {
    if latest.len() == LATEST {
        latest.pop_front();
    }
    latest.push_back(one);
}

/// Whether an order says that it was looked at: it is in line, or filled.
fn was_taken_in(order: &Order) -> bool {
    request::stage(order) != Stage::Waiting
        || order.status.as_ref().is_some_and(|status| status.queue_sequence.is_some())
}

/// Whether an order got all its units without a place in line.
fn was_at_once(order: &Order) -> bool {
    let status = order.status.as_ref();
    status.is_some_and(|status| status.filled_time.is_some() && status.queue_sequence.is_none())
}

fn units(order: &Order) -> u32 {
    u32::try_from(request::wants(order)).unwrap_or(u32::MAX)
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
