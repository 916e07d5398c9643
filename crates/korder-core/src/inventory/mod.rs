//! An inventory: who in line gets which unit, what is made, and what goes.
//!
//! One look at everything gives all steps that can be made at once. Each step is a write that must find what was looked
//! at, so that a look that was out of date does no harm, and what was cut short is read off the objects: a unit that names an order
//! as its holder is that order's, whether or not the order says so yet.

mod checks;
mod memory;
pub mod news;
mod releases;
pub mod request;
mod returned;
mod status;
mod supply;
pub mod unit;
pub mod unmatched;
pub mod variant;
pub mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use korder_api::item::ItemType;
use korder_api::{Inventory, InventoryStatus, Order, OrderStatus, Stock, StockPhase, StockSpec, names};

pub use memory::Memory;
pub use returned::Return;
pub use supply::Spoilt;

use crate::admits::Admits;
use crate::reasons;
use crate::selector::Labels;
use crate::stock::line::{self, Waiting};
use crate::stock::{probe, sku};
use checks::Checks;
use request::Stage;
use supply::{Shelf, Wanted};

/// How many units one plan makes, and how many it removes, at most; the next goes on. Few, since orders that come meanwhile
/// wait for it.
const BATCH: usize = 50;

/// What is there of an inventory.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// Its units.
    pub units: &'a [Arc<Stock>],
    /// The orders that it serves, and those that were filled by it.
    pub requests: &'a [Arc<Order>],
    /// Orders that hold a unit of it, and wait for another inventory now.
    pub elsewhere: &'a [Arc<Order>],
    /// The labels of a namespace.
    pub labels: &'a dyn Fn(&str) -> Option<Labels>,
}

/// What to do for an inventory. All of it may be done at once.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Orders that get units.
    pub serve: Vec<Serve>,
    /// Orders that are told something.
    pub tell: Vec<(Arc<Order>, OrderStatus)>,
    /// Orders whose time is over: what was delivered to them is revoked, and their units are given back.
    pub end: Vec<(Arc<Order>, Vec<Return>)>,
    /// Units that an order may not have, or has no more.
    pub given_back: Vec<(Arc<Order>, Return)>,
    /// Filled orders whose unit is not there any more, as far as is known.
    pub lost: Vec<(Arc<Order>, String)>,
    /// Units whose order is gone, as far as is known.
    pub orphaned: Vec<Return>,
    /// Units to be checked before they are given out.
    pub ask: Vec<Arc<Stock>>,
    /// Units that go, each only if it has not changed since.
    pub retire: Vec<(Arc<Stock>, Spoilt)>,
    /// Copies that nobody else is to get.
    pub withdraw: Vec<(Arc<Stock>, Spoilt)>,
    /// Copies that go as soon as no order has them.
    pub outgoing: Vec<Arc<Stock>>,
    /// Units to make.
    pub create: Vec<Stock>,
    /// The status, where it has changed.
    pub status: Option<InventoryStatus>,
    /// Whether the inventory is being deleted and has no units any more.
    pub is_empty: bool,
    /// Whether it was made for orders, and none needs it any more.
    pub is_unneeded: bool,
    /// When to look again though nothing changes.
    pub again: Option<Timestamp>,
}

/// An order that gets units.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The order.
    pub order: Arc<Order>,
    /// Units to claim for it.
    pub claim: Vec<Arc<Stock>>,
    /// Units that are claimed for it already, or a copy that it is given.
    pub has: Vec<Arc<Stock>>,
    /// Whether these are all that it wants.
    pub completes: bool,
    /// Its number in line, should it have to wait.
    pub sequence: i64,
}

/// `NAMESPACE/NAME` of an inventory.
pub fn full_name(inventory: &Inventory) -> String {
    let [namespace, name] =
        [&inventory.metadata.namespace, &inventory.metadata.name].map(|text| text.as_deref().unwrap_or_default());
    format!("{namespace}/{name}")
}

/// Whether an order may have a unit of the item as it was before: it asks for the inventory, not for an item.
fn takes_former(order: &Order) -> bool {
    order.spec.inventory_ref.is_some()
}

/// What to do for an inventory.
pub fn plan(observed: Observed<'_>, memory: &mut Memory, now: Timestamp) -> Plan {
    let inventory = observed.inventory;
    let namespace = inventory.metadata.namespace.as_deref().unwrap_or_default();
    let sku = match sku::of(&inventory.spec.item, namespace) {
        Ok(sku) => sku,
        Err(error) => return status::unusable(inventory, &error.to_string(), now),
    };
    memory.measure(observed.units);
    memory.begin(inventory, observed.requests, now);
    let checks = Checks::of(inventory, observed.units, &mut memory.condemned, now);
    let shelf = Shelf::of(inventory, &sku, observed.units, checks, now);
    let mut keeping = Keeping { observed, sku: &sku, checks, now, plan: Plan::default(), again: Times::default() };
    let held = keeping.holders(&shelf);
    let deleted = inventory.metadata.deletion_timestamp.is_some();
    let in_line = keeping.line(&held, deleted, memory);
    let left = if deleted { Left::default() } else { keeping.serve(&in_line, &shelf, &held, memory) };
    keeping.supply(&shelf, &left, deleted, memory)
}

/// What is left when all in line are served.
#[derive(Default)]
struct Left<'a> {
    current: Vec<&'a Arc<Stock>>,
    former: Vec<&'a Arc<Stock>>,
    /// How many units those in line still want.
    backlog: usize,
    /// How many orders are in line.
    waiting: usize,
}

struct Keeping<'a> {
    observed: Observed<'a>,
    /// Identity of the item as it is now.
    sku: &'a str,
    checks: Checks<'a>,
    now: Timestamp,
    plan: Plan,
    again: Times,
}

/// The first of some moments.
#[derive(Default)]
struct Times(Option<Timestamp>);

impl Times {
    fn add(&mut self, time: Option<Timestamp>) {
        self.0 = self.0.into_iter().chain(time).min();
    }
}

impl<'a> Keeping<'a> {
    fn inventory(&self) -> &'a Inventory {
        self.observed.inventory
    }

    fn is_copy(&self) -> bool {
        self.inventory().spec.item.type_ == Some(ItemType::Copy)
    }

    fn returned(&self, one: &Arc<Stock>) -> Return {
        Return::of(self.inventory(), self.sku, one, self.now)
    }

    /// The units that each order holds, by its uid. Those of orders that are over are given back.
    fn holders(&mut self, shelf: &Shelf<'a>) -> BTreeMap<&'a str, Vec<&'a Arc<Stock>>> {
        let by_uid = |orders: &'a [Arc<Order>]| -> BTreeMap<&str, &Arc<Order>> {
            orders.iter().filter_map(|order| Some((order.metadata.uid.as_deref()?, order))).collect()
        };
        let (orders, elsewhere) = (by_uid(self.observed.requests), by_uid(self.observed.elsewhere));
        let mut held: BTreeMap<&str, Vec<&Arc<Stock>>> = BTreeMap::new();
        for one in &shelf.claimed {
            let Some(claim) = unit::holder(one) else { continue };
            if let Some(order) = elsewhere.get(claim.uid.as_str()) {
                let returned = self.returned(one);
                self.plan.given_back.push((Arc::clone(order), returned));
                continue;
            }
            match orders.get(claim.uid.as_str()) {
                Some(order) if !may_hold(order, one, &full_name(self.inventory())) => {
                    let returned = self.returned(one);
                    self.plan.given_back.push((Arc::clone(order), returned));
                }
                Some(_) => held.entry(&claim.uid).or_default().push(one),
                None => {
                    let returned = self.returned(one);
                    self.plan.orphaned.push(returned);
                }
            }
        }
        held
    }

    /// The orders in line, and on the way there what is to be said to those that are not.
    fn line(
        &mut self,
        held: &BTreeMap<&'a str, Vec<&'a Arc<Stock>>>,
        deleted: bool,
        memory: &mut Memory,
    ) -> Vec<&'a Arc<Order>> {
        let (inventory, now) = (self.inventory(), self.now);
        let own = inventory.metadata.namespace.as_deref().unwrap_or_default();
        let admits = Admits::by(inventory.spec.allowed_namespaces.as_ref());
        let names: BTreeSet<&str> = self.observed.units.iter().map(|one| unit::name(one)).collect();
        let mut line = Vec::new();
        for order in self.observed.requests {
            let uid = order.metadata.uid.as_deref().unwrap_or_default();
            let has = || held.get(uid).into_iter().flatten().map(|&one| Arc::clone(one)).collect::<Vec<_>>();
            match request::stage(order) {
                Stage::Finished => {}
                Stage::Filled => {
                    let ends = request::holds_until(order);
                    if ends.is_none_or(|ends| ends > now) {
                        self.again.add(ends);
                    } else if memory.releases.may_go(uid, self.observed.units.len(), now) {
                        let returned = has().iter().map(|one| self.returned(one)).collect();
                        self.plan.end.push((Arc::clone(order), returned));
                        continue;
                    } else {
                        self.again.add(memory.releases.next());
                    }
                    let named = order.status.iter().flat_map(|status| status.stock_name.iter().chain(&status.stocks));
                    let lost = named.into_iter().find(|name| !names.contains(name.as_str()));
                    if let Some(lost) = lost.filter(|_| request::reason(order) != Some(reasons::STOCK_LOST)) {
                        self.plan.lost.push((Arc::clone(order), lost.clone()));
                    }
                }
                Stage::Waiting if order.metadata.deletion_timestamp.is_some() => {}
                Stage::Waiting => {
                    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
                    let deadline = request::deadline(order);
                    if deadline.is_some_and(|deadline| deadline <= now) {
                        let waited = order.spec.progress_deadline_seconds.unwrap_or_default();
                        let message = format!("not filled within {waited} seconds (progressDeadlineSeconds)");
                        self.tell(order, request::failed(order, reasons::DEADLINE_EXCEEDED, message, now));
                        continue;
                    }
                    let labels = (self.observed.labels)(namespace);
                    let refusal = if deleted {
                        let message = format!("inventory `{}` is being deleted", full_name(inventory));
                        Some((reasons::INVENTORY_GONE, message))
                    } else if !admits.admits(own, namespace, labels.as_ref()) {
                        let message = format!(
                            "inventory `{}` serves no orders of namespace `{namespace}` (its `allowedNamespaces`)",
                            full_name(inventory)
                        );
                        Some((reasons::NOT_ALLOWED, message))
                    } else {
                        needs_deliver(order, inventory)
                    };
                    if let Some((reason, message)) = refusal {
                        // What it holds already serves nobody with it.
                        for one in has() {
                            let returned = self.returned(&one);
                            self.plan.given_back.push((Arc::clone(order), returned));
                        }
                        self.tell(order, request::stalled(order, reason, message, now));
                        continue;
                    }
                    self.again.add(deadline);
                    let rests = memory.rests_until(order, now);
                    self.again.add(rests);
                    if rests.is_none() {
                        line.push(order);
                    }
                }
            }
        }
        line
    }

    fn tell(&mut self, order: &Arc<Order>, status: OrderStatus) {
        if order.status.as_ref() != Some(&status) {
            self.plan.tell.push((Arc::clone(order), status));
        }
    }

    /// Gives what is ready to those in line.
    fn serve(
        &mut self,
        orders: &[&'a Arc<Order>],
        shelf: &Shelf<'a>,
        held: &BTreeMap<&'a str, Vec<&'a Arc<Stock>>>,
        memory: &mut Memory,
    ) -> Left<'a> {
        let by_uid: BTreeMap<&str, &Arc<Order>> =
            orders.iter().map(|&order| (order.metadata.uid.as_deref().unwrap_or_default(), order)).collect();
        let holds = |uid: &str| held.get(uid).map_or(0, Vec::len);
        let line = line::in_line(orders.iter().map(|order| waiting(order, holds, self.is_copy())).collect());
        let mut left = Left { current: shelf.current.clone(), former: shelf.former.clone(), backlog: 0, waiting: 0 };
        // First to expire goes first, and the ends are cheaper to take from than the beginnings.
        left.current.reverse();
        left.former.reverse();
        let here = full_name(self.inventory());
        let mut came = Vec::new();
        let mut blocked = false;
        for place in line {
            let order = by_uid[place.uid];
            let mut has: Vec<Arc<Stock>> =
                held.get(place.uid).into_iter().flatten().map(|&one| Arc::clone(one)).collect();
            let mut claim = Vec::new();
            let mut missing = place.needs;
            if self.is_copy() {
                let fresh =
                    |units: &[&'a Arc<Stock>]| units.iter().rev().copied().find(|one| self.checks.is_fresh(one));
                let copy = fresh(&left.current).or_else(|| fresh(&left.former).filter(|_| takes_former(order)));
                if let Some(copy) = copy.filter(|_| !blocked && missing > 0) {
                    has.push(Arc::clone(copy));
                    missing = 0;
                }
            } else {
                while !blocked && missing > 0 {
                    let next = self.take(&mut left.current);
                    let next = next.or_else(|| takes_former(order).then(|| self.take(&mut left.former)).flatten());
                    let Some(next) = next else { break };
                    claim.push(Arc::clone(next));
                    missing -= 1;
                }
            }
            // Nobody is passed: who comes after one that still needs something gets nothing.
            blocked |= missing > 0;
            let is_new = order.status.as_ref().is_none_or(|status| status.queue_sequence.is_none());
            if is_new {
                came.push((order.as_ref(), missing == 0));
            }
            left.backlog += missing;
            left.waiting += usize::from(missing > 0);
            let is_told = has.len() == told(order) && request::waits_at(order, &here);
            if missing == 0 || !claim.is_empty() || is_new || !is_told {
                let sequence = if is_new { memory.next_in_line() } else { 0 };
                self.plan.serve.push(Serve { order: Arc::clone(order), claim, has, completes: missing == 0, sequence });
            }
        }
        memory.take_in(self.inventory(), &came, self.observed.requests, self.now);
        let any_takes_former = by_uid.values().any(|order| takes_former(order));
        let former = left.former.iter().rev().filter(|_| any_takes_former);
        self.ask(left.current.iter().rev().chain(former).copied().collect(), left.backlog);
        left
    }

    /// The next unit that may be given out as it is.
    fn take(&self, units: &mut Vec<&'a Arc<Stock>>) -> Option<&'a Arc<Stock>> {
        let next = units.iter().rposition(|one| self.checks.is_fresh(one))?;
        Some(units.remove(next))
    }

    /// Asks for checks of units that are left while orders wait: of as many as these want.
    fn ask(&mut self, left: Vec<&'a Arc<Stock>>, wanted: usize) {
        let stale = left.into_iter().filter(|one| !self.checks.is_fresh(one));
        let from = stale.filter_map(|one| Some((one, self.checks.may_be_asked_from(one)?)));
        let (now, later): (Vec<_>, Vec<_>) = from.partition(|(_, from)| *from <= self.now);
        let asked = now.iter().take(wanted.min(BATCH)).filter(|(one, _)| !probe::is_requested(one));
        self.plan.ask.extend(asked.map(|(one, _)| Arc::clone(one)));
        if wanted > now.len() {
            for (_, from) in &later {
                self.again.add(Some(*from));
            }
        }
    }

    /// Makes what is missing, and throws away what is too much or no good.
    fn supply(mut self, shelf: &Shelf<'a>, left: &Left<'a>, deleted: bool, memory: &mut Memory) -> Plan {
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

/// How many units an order says that it has.
fn told(order: &Order) -> usize {
    let filled = order.status.as_ref().and_then(|status| status.filled.as_deref());
    filled.and_then(|filled| filled.split('/').next()?.parse().ok()).unwrap_or(0)
}

fn waiting(order: &Order, holds: impl Fn(&str) -> usize, is_copy: bool) -> Waiting<'_> {
    let uid = order.metadata.uid.as_deref().unwrap_or_default();
    let holds = holds(uid);
    let wants = request::wants(order);
    Waiting {
        namespace: order.metadata.namespace.as_deref().unwrap_or_default(),
        uid,
        priority: order.spec.queue_priority.unwrap_or(0),
        sequence: order.status.as_ref().and_then(|status| status.queue_sequence),
        created: request::created(order),
        version: order.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()),
        needs: if is_copy { wants.min(1) } else { wants.saturating_sub(holds) },
        holds_some: holds > 0,
    }
}

/// Whether an order may have this unit: it waits for it, or was filled with it.
fn may_hold(order: &Order, one: &Stock, inventory: &str) -> bool {
    let status = order.status.as_ref();
    match request::stage(order) {
        Stage::Finished => false,
        Stage::Waiting => true,
        Stage::Filled => status.is_some_and(|status| {
            let named = status.stock_name.iter().chain(&status.stocks).any(|name| name == unit::name(one));
            // Of many units not all are named.
            status.inventory.as_deref() == Some(inventory) && (named || status.stocks.len() == request::MAX_NAMES)
        }),
    }
}

/// A password goes to another namespace only into a Secret that its order names.
fn needs_deliver(order: &Order, inventory: &Inventory) -> Option<(&'static str, String)> {
    let is_sensitive = inventory.spec.item.outputs.iter().any(korder_api::item::Output::is_sensitive);
    let delivers = order.spec.deliver.as_ref();
    if is_sensitive && delivers.is_some_and(|deliver| deliver.config_map_name.is_some()) {
        let message = "the unit has sensitive outputs, which no ConfigMap may hold: use `deliver.secretName`";
        return Some((reasons::SENSITIVE_NEEDS_DELIVER, message.to_owned()));
    }
    let elsewhere = order.metadata.namespace != inventory.metadata.namespace;
    (is_sensitive && elsewhere && delivers.is_none()).then(|| {
        let message = "the unit has sensitive outputs in another namespace: give `deliver.secretName`, and they are \
                       written into a Secret of that name here";
        (reasons::SENSITIVE_NEEDS_DELIVER, message.to_owned())
    })
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

#[cfg(test)]
mod tests;
