//! An inventory: who in line gets which unit, what is made, and what goes.
//!
//! One look at everything gives all steps that can be made at once. Each step is a write that must find what was looked
//! at, so that a look that was out of date does no harm, and what was cut short is read off the objects: a unit that names an order
//! as its holder is that order's, whether or not the order says so yet.

mod checks;
mod line;
mod memory;
pub mod news;
mod releases;
mod replenish;
pub mod request;
mod returned;
mod serving;
mod status;
mod supply;
pub mod unit;
pub mod unmatched;
pub mod variant;
pub mod why;

use std::sync::Arc;

use jiff::Timestamp;
use korder_api::item::ItemType;
use korder_api::{Inventory, InventoryStatus, Order, OrderStatus, Stock};

pub use memory::Memory;
pub use returned::Return;
pub use supply::Spoilt;

use crate::selector::Labels;
use crate::stock::sku;
use checks::Checks;
use serving::Left;
use supply::Shelf;

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
    keeping.replenish(&shelf, &left, deleted, memory)
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

    fn tell(&mut self, order: &Arc<Order>, status: OrderStatus) {
        if order.status.as_ref() != Some(&status) {
            self.plan.tell.push((Arc::clone(order), status));
        }
    }
}

#[cfg(test)]
mod tests;
