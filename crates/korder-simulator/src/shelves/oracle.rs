//! What must hold of every history of shelves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use kooper_sim::{Sim, Write};
use korder_api::item::ItemType;
use korder_api::{Inventory, InventoryStatus, Order, Stock, StockPhase, names};
use korder_core::inventory::request::{self, Stage};
use korder_core::inventory::{full_name, unit};
use korder_core::reasons;
use serde_json::Value;

use crate::world::is_controllers;

/// How long before the end nothing may be written any more but what a timer calls for.
const QUIET: SignedDuration = SignedDuration::from_secs(30);

/// Judges the whole history and the end state; what was violated, in words.
pub(super) fn judge(sim: &Sim) -> Vec<String> {
    let history = sim.history();
    let mut wrong = owners(&history);
    wrong.extend(overwritten(&history));
    wrong.extend(restless(sim, &history));
    wrong.extend(leftovers(sim));
    wrong
}

/// How often things happened.
pub(super) fn events(sim: &Sim) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let mut count = |what: &'static str| *counts.entry(what).or_default() += 1;
    for write in sim.history() {
        let (before, after) = (state::<Stock>(write.before.as_ref()), state::<Stock>(write.after.as_ref()));
        if write.is_of("stocks.core.korder.dev") {
            match (before.as_ref().map(unit::phase), after.as_ref().map(unit::phase)) {
                (None, Some(_)) => count("units begun"),
                (Some(before), Some(StockPhase::Ready)) if before != StockPhase::Ready => count("units ready"),
                (Some(before), Some(StockPhase::Claimed)) if before != StockPhase::Claimed => count("units claimed"),
                (Some(before), Some(StockPhase::Failed)) if before != StockPhase::Failed => count("units failed"),
                (Some(StockPhase::Claimed), Some(StockPhase::Resetting)) => count("units given back"),
                (Some(_), None) => count("units gone"),
                _ => {}
            }
        }
        if write.is_of("orders.core.korder.dev") {
            let (before, after) = (state::<Order>(write.before.as_ref()), state::<Order>(write.after.as_ref()));
            let [before, after] =
                [before, after].map(|order| order.map(|order| (request::stage(&order), reason(&order))));
            if let (Some((was, _)), Some((is, why))) = (before, after)
                && was != is
            {
                match (is, why.as_str()) {
                    (Stage::Filled, _) => count("orders filled"),
                    (Stage::Finished, reasons::RELEASED) => count("orders released"),
                    (Stage::Finished, _) => count("orders failed"),
                    (Stage::Waiting, _) => {}
                }
            }
        }
    }
    counts
}

fn state<K: serde::de::DeserializeOwned>(object: Option<&Arc<kooper_sim::Object>>) -> Option<K> {
    object?.parse().ok()
}

fn reason(order: &Order) -> String {
    request::reason(order).unwrap_or_default().to_owned()
}

/// No unit passes from one order to another without having been nobody's, and no order is filled with a unit that is not
/// its own at that moment.
fn owners(history: &[Arc<Write>]) -> Vec<String> {
    let mut wrong = vec![];
    let mut holders: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for write in history {
        if write.is_of("stocks.core.korder.dev") {
            let before =
                state::<Stock>(write.before.as_ref()).and_then(|one| unit::holder(&one).map(|claim| claim.uid.clone()));
            let after = state::<Stock>(write.after.as_ref());
            let holder = after.as_ref().and_then(|one| unit::holder(one)).map(|claim| claim.uid.clone());
            if let (Some(before), Some(holder)) = (&before, &holder)
                && before != holder
            {
                wrong.push(format!("write {}: unit `{}` passes from one order to another", write.revision, write.name));
            }
            match after {
                Some(one) => {
                    let is_copy = one.spec.item.type_ == Some(ItemType::Copy);
                    holders.insert(write.name.clone(), (holder.unwrap_or_default(), is_copy));
                }
                None => drop(holders.remove(&write.name)),
            }
        }
        if !write.is_of("orders.core.korder.dev") {
            continue;
        }
        let was = state::<Order>(write.before.as_ref()).map(|order| request::stage(&order));
        let Some(order) = state::<Order>(write.after.as_ref()) else { continue };
        if request::stage(&order) != Stage::Filled || was == Some(Stage::Filled) {
            continue;
        }
        let status = order.status.clone().unwrap_or_default();
        let named: BTreeSet<&String> = status.stock_name.iter().chain(&status.stocks).collect();
        for name in &named {
            // A unit may have been deleted between its claim and the order's being told, which is a loss, and told later.
            if let Some((holder, is_copy)) = holders.get(*name)
                && !is_copy
                && Some(holder) != order.metadata.uid.as_ref()
            {
                wrong.push(format!("write {}: order `{}` has unit `{name}` of another", write.revision, write.name));
            }
        }
    }
    wrong
}

/// Nothing is written over that the controllers did not make.
fn overwritten(history: &[Arc<Write>]) -> Vec<String> {
    let touched = history.iter().filter(|write| write.is_of("configmaps") && is_controllers(&write.actor));
    let foreign = touched.filter(|write| {
        let before = write.before.as_ref().map(|object| object.value().clone());
        before.is_some_and(|before| before["data"]["mine"].is_string())
    });
    foreign
        .map(|write| format!("write {}: ConfigMap `{}` was not the controllers'", write.revision, write.name))
        .collect()
}

/// Whether a write says no more of an inventory than what its demand has come to, which falls as time passes.
fn tells_demand(write: &Write) -> bool {
    let but_demand = |inventory: Option<Inventory>| {
        let status = inventory.and_then(|inventory| inventory.status)?;
        Some(InventoryStatus { level: None, reason: None, ..status })
    };
    write.is_of("inventories.core.korder.dev")
        && but_demand(state(write.before.as_ref())) == but_demand(state(write.after.as_ref()))
}

/// The controllers write nothing more when all is settled, but for levels that fall in their time.
fn restless(sim: &Sim, history: &[Arc<Write>]) -> Vec<String> {
    let end = sim.clock().now();
    let late = |write: &&Arc<Write>| {
        write.time > end - QUIET
            && is_controllers(&write.actor)
            && !write.is_of("events.events.k8s.io")
            && !tells_demand(write)
    };
    let tell = |write: &Arc<Write>| {
        format!("write {}: still writing to {} `{}` at the end", write.revision, write.kind, write.name)
    };
    history.iter().filter(late).map(tell).collect()
}

fn all<K: serde::de::DeserializeOwned>(sim: &Sim, resource: &str) -> Vec<K> {
    sim.objects(resource).iter().filter_map(|object| object.parse().ok()).collect()
}

/// In the end nothing is half done, too much, too little, or nobody's.
fn leftovers(sim: &Sim) -> Vec<String> {
    let inventories: Vec<Inventory> = all(sim, "inventories.core.korder.dev");
    let orders: Vec<Order> = all(sim, "orders.core.korder.dev");
    let units: Vec<Stock> = all(sim, "stocks.core.korder.dev");
    let mut wrong = vec![];
    let uids: BTreeSet<&str> = orders.iter().filter_map(|order| order.metadata.uid.as_deref()).collect();
    for one in &units {
        let name = unit::name(one);
        let has_inventory =
            inventories.iter().any(|there| there.metadata.name.as_deref() == Some(&one.spec.inventory_name));
        let held = unit::holder(one).is_some_and(|claim| uids.contains(claim.uid.as_str()));
        let fault = match unit::phase(one) {
            _ if !has_inventory => Some("has no inventory"),
            StockPhase::Claimed if !held => Some("is held by nobody"),
            StockPhase::Producing => Some("is still being made"),
            StockPhase::Resetting => Some("is still being made like new"),
            StockPhase::Retiring if one.metadata.deletion_timestamp.is_some() => Some("is still being torn down"),
            _ => None,
        };
        wrong.extend(fault.map(|fault| format!("unit `{name}` {fault}")));
    }
    for inventory in &inventories {
        wrong.extend(unsettled(inventory, &units));
    }
    for order in &orders {
        let name = order.metadata.name.as_deref().unwrap_or_default();
        let status = order.status.as_ref();
        let at = status.and_then(|status| status.inventory.as_deref());
        let mine = units.iter().filter(|one| unit::holder(one).map(|claim| &claim.uid) == order.metadata.uid.as_ref());
        let mine = mine.count();
        let why = reason(order);
        let fault = match request::stage(order) {
            Stage::Waiting if why == reasons::WAITING_FOR_STOCK => {
                let limited =
                    inventories.iter().any(|there| at == Some(&full_name(there)) && there.spec.max_units.is_some());
                (!limited).then_some("still waits")
            }
            Stage::Waiting => why.is_empty().then_some("waits and was not told why"),
            Stage::Finished if mine > 0 => Some("is over and still has units"),
            Stage::Filled if why == reasons::FILLED => {
                let copy = units.iter().any(|one| {
                    one.spec.item.type_ == Some(ItemType::Copy)
                        && status.and_then(|status| status.stock_name.as_deref()) == Some(unit::name(one))
                });
                (!copy && mine != request::wants(order)).then_some("is filled and has another number of units")
            }
            _ => None,
        };
        wrong.extend(fault.map(|fault| format!("order `{name}` {fault} ({why}, {mine} units)")));
    }
    wrong.extend(orphans(sim, &units));
    wrong
}

/// An inventory whose shelf is not as its status says it is to be.
fn unsettled(inventory: &Inventory, units: &[Stock]) -> Option<String> {
    let name = inventory.metadata.name.as_deref().unwrap_or_default();
    let status = inventory.status.as_ref()?;
    let of = units.iter().filter(|one| one.spec.inventory_name == name);
    let ready = of.filter(|one| unit::phase(one) == StockPhase::Ready).count();
    let told = usize::try_from(status.ready).unwrap_or(usize::MAX);
    if ready != told {
        return Some(format!("inventory `{name}` tells of {told} ready units and has {ready}"));
    }
    let level = usize::try_from(status.level.unwrap_or(0)).unwrap_or(0);
    // A copy stays as long as an order has it.
    let is_copy = inventory.spec.item.type_ == Some(ItemType::Copy);
    let limited = inventory.spec.max_units.is_some() || status.failures.is_some() || is_copy;
    (ready != level && !limited && inventory.metadata.deletion_timestamp.is_none())
        .then(|| format!("inventory `{name}` has {ready} ready units and a level of {level}"))
}

/// Jobs and pods of units that are gone.
fn orphans(sim: &Sim, units: &[Stock]) -> Vec<String> {
    let uids: BTreeSet<&str> = units.iter().filter_map(|one| one.metadata.uid.as_deref()).collect();
    let made = ["jobs.batch", "pods"].iter().flat_map(|resource| sim.objects(resource));
    let of = |object: &Value| object["metadata"]["labels"][names::LABEL_STOCK_UID].as_str().map(str::to_owned);
    made.filter(|object| of(object.value()).is_some_and(|uid| !uids.contains(uid.as_str())))
        .map(|object| {
            format!(
                "`{}` is left of a unit that is gone",
                object.value()["metadata"]["name"].as_str().unwrap_or_default()
            )
        })
        .collect()
}
