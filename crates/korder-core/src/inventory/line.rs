//! Who holds what, who is in line, and what is said to those that are not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use korder_api::{Inventory, Order, Stock};

use super::request::{self, Stage};
use super::supply::Shelf;
use super::{Keeping, Memory, full_name, unit, variant};
use crate::reasons;

impl<'a> Keeping<'a> {
    /// The units that each order holds, by its uid. Those of orders that are over are given back.
    pub(super) fn holders(&mut self, shelf: &Shelf<'a>) -> BTreeMap<&'a str, Vec<&'a Arc<Stock>>> {
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
    pub(super) fn line(
        &mut self,
        held: &BTreeMap<&'a str, Vec<&'a Arc<Stock>>>,
        deleted: bool,
        memory: &mut Memory,
    ) -> Vec<&'a Arc<Order>> {
        let (inventory, now) = (self.inventory(), self.now);
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
                    } else if let Some(why) = variant::not_admitted(inventory, namespace, labels.as_ref()) {
                        Some((reasons::NOT_ALLOWED, why))
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
