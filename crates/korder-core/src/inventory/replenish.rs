//! What is missing is made, and what is too much or no good goes.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use korder_api::{Inventory, Stock, StockPhase, StockSpec, names};

use super::request::{self, Stage};
use super::serving::Left;
use super::supply::{Shelf, Spoilt, Wanted};
use super::{BATCH, Keeping, Memory, Plan, status, unit};

impl<'a> Keeping<'a> {
    /// Makes what is missing, and throws away what is too much or no good.
    pub(super) fn replenish(mut self, shelf: &Shelf<'a>, left: &Left<'a>, deleted: bool, memory: &mut Memory) -> Plan {
        let (inventory, sku, now) = (self.inventory(), self.sku, self.now);
        let level = memory.level(inventory);
        let units = match (&level, inventory.spec.replicas) {
            _ if deleted => 0,
            (Some(level), _) => level.units,
            (None, fixed) => fixed.map_or(0, |fixed| u32::try_from(fixed).unwrap_or(0)),
        };
        let paused = inventory.spec.paused == Some(true);
        let failures = status::failures(inventory, shelf, sku, now);
        let wanted =
            Wanted { level: units_of(units), backlog: left.backlog, paused, failures: (failures.count, failures.last) };
        let (ready, former) = (left.current.len(), left.former.len());
        let mut leaving: Vec<(&Arc<Stock>, Spoilt)> = Vec::new();
        if deleted {
            let nobodys = left_over(shelf).chain(self.in_the_making());
            leaving.extend(nobodys.map(|one| (one, Spoilt::Surplus)));
        } else if !paused {
            leaving.extend(shelf.spoilt.iter().copied());
            // A copy that somebody has is not in the way of anything, and serves whoever comes next.
            let shared =
                self.is_copy() && self.observed.requests.iter().any(|order| request::stage(order) == Stage::Filled);
            let surplus = if shared { 0 } else { wanted.surplus(inventory, shelf, ready) };
            let surplus = memory.scrap(inventory, surplus, now);
            leaving.extend(left.current.iter().rev().take(surplus).map(|one| (*one, Spoilt::Surplus)));
            let superseded = wanted.superseded(inventory, ready, former);
            leaving.extend(left.former.iter().rev().take(superseded).map(|one| (*one, Spoilt::Obsolete)));
        }
        // What the user has changed is done as fast as may be; what goes since time passed, is not.
        let has_time = |why| why == Spoilt::Expired || why == Spoilt::Surplus && inventory.spec.demand.is_some();
        let releases = &mut memory.releases;
        let may_go = |&(one, why): &(&Arc<Stock>, Spoilt)| {
            let uid = one.metadata.uid.as_deref().unwrap_or_default();
            deleted || !has_time(why) || releases.may_go(uid, self.observed.units.len(), now)
        };
        let wanting = leaving.len();
        let leaving: Vec<_> = leaving.into_iter().filter(may_go).take(BATCH).collect();
        if leaving.len() < wanting.min(BATCH) {
            self.again.add(memory.releases.next());
        }
        for (one, why) in leaving {
            if why == Spoilt::ProbeFailed {
                memory.condemned.add(one, now);
            }
            if self.is_copy() {
                self.plan.withdraw.push((Arc::clone(one), why));
            } else {
                self.plan.retire.push((Arc::clone(one), why));
            }
        }
        self.plan.outgoing = shelf.outgoing.iter().map(|one| Arc::clone(one)).collect();
        self.forget_failures(shelf, deleted);
        if !deleted {
            let count = wanted.to_make(inventory, shelf, ready, now).min(BATCH);
            let numbers = memory.next_numbers(inventory, self.observed.units, count);
            self.plan.create = numbers.into_iter().map(|number| make(inventory, sku, number)).collect();
            self.again.add(wanted.next_attempt().filter(|next| *next > now));
            for one in shelf.current.iter().chain(&shelf.former) {
                self.again.add(unit::expires(one, &inventory.spec));
            }
            // A level falls as time passes, and a surplus has to last before it goes.
            if inventory.spec.demand.as_ref().is_some_and(|demand| least(demand) < units || ready > units_of(units)) {
                self.again.add(now.checked_add(memory.pace()).ok());
            }
        }
        self.plan.is_empty = deleted && self.observed.units.is_empty();
        self.plan.is_unneeded = !deleted && units == 0 && self.is_unneeded(memory);
        let suspect = self.checks.suspect;
        let all = self.observed.units;
        let summary = status::Summary {
            inventory,
            shelf,
            left,
            level,
            units: all,
            wanted: units,
            failures,
            deleted,
            sku,
            suspect,
        };
        let status = summary.status(memory, now);
        self.plan.status = (inventory.status.as_ref() != Some(&status)).then_some(status);
        self.plan.again = self.again.0;
        self.plan
    }

    /// Whether the inventory was made for an order, and nobody has ordered or had anything for as long as it is to be kept.
    fn is_unneeded(&mut self, memory: &Memory) -> bool {
        let inventory = self.inventory();
        let marks = inventory.metadata.annotations.as_ref();
        let made_for_orders = marks.is_some_and(|marks| marks.contains_key(names::ANNOTATION_MADE_FOR_ORDERS));
        let unused = self.observed.units.is_empty() && self.observed.requests.is_empty();
        let idle = inventory.spec.idle_after.as_ref().map_or(std::time::Duration::ZERO, korder_api::Duration::get);
        let born = inventory.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let last = memory.last_order().into_iter().chain(born).max();
        let until = last.and_then(|last| last.checked_add(idle).ok()).filter(|_| made_for_orders && unused);
        self.again.add(until.filter(|until| *until > self.now));
        until.is_some_and(|until| until <= self.now)
    }

    /// All units that are being made, or made like new.
    fn in_the_making(&self) -> impl Iterator<Item = &'a Arc<Stock>> + use<'a> {
        let phases = [StockPhase::Producing, StockPhase::Resetting];
        self.observed.units.iter().filter(move |one| phases.contains(&unit::phase(one)))
    }

    /// Of the units that could not be made only the last is kept, and only for a while.
    fn forget_failures(&mut self, shelf: &Shelf<'a>, deleted: bool) {
        let retention = self.inventory().spec.failed_retention.as_ref();
        let retention = retention.map_or(std::time::Duration::from_hours(1), korder_api::Duration::get);
        let mut failed: Vec<_> = shelf.failed.iter().filter(|one| unit::is_torn_down(one)).collect();
        failed.sort_by_key(|one| unit::number(self.inventory(), one));
        let last = failed.last().and_then(|one| unit::number(self.inventory(), one));
        for one in failed {
            let until = unit::failure(one).and_then(|(since, _)| since.checked_add(retention).ok());
            let is_kept = !deleted && unit::number(self.inventory(), one) == last;
            if is_kept && until.is_some_and(|until| until > self.now) {
                self.again.add(until);
            } else {
                self.plan.retire.push((Arc::clone(one), Spoilt::Failed));
            }
        }
    }
}

fn units_of(level: u32) -> usize {
    usize::try_from(level).unwrap_or(usize::MAX)
}

fn least(demand: &korder_api::inventory::Demand) -> u32 {
    demand.min_replicas.map_or(0, |least| u32::try_from(least).unwrap_or(0))
}

/// All units that nobody holds.
fn left_over<'s, 'a>(shelf: &'s Shelf<'a>) -> impl Iterator<Item = &'a Arc<Stock>> + use<'s, 'a> {
    let spoilt = shelf.spoilt.iter().map(|(one, _)| *one);
    shelf.current.iter().chain(&shelf.former).copied().chain(spoilt)
}

fn make(inventory: &Inventory, sku: &str, number: i64) -> Stock {
    let name = inventory.metadata.name.as_deref().unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(format!("{name}-{number}")),
        namespace: inventory.metadata.namespace.clone(),
        labels: Some([(names::LABEL_INVENTORY.to_owned(), name.to_owned())].into()),
        // No owner: who deletes an inventory does not take away what somebody holds.
        finalizers: Some(vec![names::FINALIZER_TEARDOWN.to_owned()]),
        ..ObjectMeta::default()
    };
    let item = Arc::new(inventory.spec.item.clone());
    let spec = StockSpec { inventory_name: name.to_owned(), sku: sku.to_owned(), item };
    Stock { metadata, spec, status: None }
}
