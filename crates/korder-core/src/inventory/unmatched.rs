//! An order for stock that has no inventory.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use korder_api::inventory::Demand;
use korder_api::item::ItemType;
use korder_api::order::IfNoInventory;
use korder_api::{Inventory, InventorySpec, Item, Order, OrderStatus, names};

use super::request;
use crate::conditions::{self, Progress, Say};
use crate::reasons;
use crate::stock::sku;

/// The greatest level of an inventory that was made for orders.
const MAX_REPLICAS: i32 = 10;
/// How long it keeps anything without an order.
const IDLE_AFTER: &str = "1h";
/// How many digits of an item's identity stand in the name of its inventory: two items share one by chance with 2⁻⁶⁰.
const DIGITS: usize = 15;

/// What to do for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Tell it that.
    Tell(Box<OrderStatus>),
    /// Make it this inventory.
    Make(Box<Inventory>),
}

fn tell(status: OrderStatus) -> Step {
    Step::Tell(Box::new(status))
}

/// What an order is told that stands in no line and has waited too long.
pub fn overdue(order: &Order, now: Timestamp) -> Option<OrderStatus> {
    let seconds = order.spec.progress_deadline_seconds?;
    request::deadline(order).filter(|deadline| *deadline <= now)?;
    let message = format!("not filled within {seconds} seconds (progressDeadlineSeconds)");
    Some(request::failed(order, reasons::DEADLINE_EXCEEDED, message, now))
}

/// What to do for an order for which there is no inventory.
pub fn step(order: &Order, now: Timestamp) -> Step {
    if let Some(failed) = overdue(order, now) {
        return tell(failed);
    }
    if let Some(named) = &order.spec.inventory_ref {
        let had_one = order.status.as_ref().is_some_and(|status| status.inventory.is_some());
        let reason = if had_one { reasons::INVENTORY_GONE } else { reasons::NO_INVENTORY };
        let namespace = named.namespace.as_deref().or(order.metadata.namespace.as_deref()).unwrap_or_default();
        let message = format!("there is no inventory `{namespace}/{}`", named.name);
        return tell(request::stalled(order, reason, message, now));
    }
    let Some(item) = &order.spec.item else { return tell(order.status.clone().unwrap_or_default()) };
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let sku = match sku::of(item, namespace) {
        Ok(sku) => sku,
        Err(error) => {
            let message = format!("the item has no canonical form: {error}");
            return tell(request::stalled(order, reasons::INVALID_ITEM, message, now));
        }
    };
    match order.spec.if_no_inventory.unwrap_or_default() {
        IfNoInventory::Create => Step::Make(Box::new(make(item, namespace, &sku))),
        IfNoInventory::Wait => tell(waits(order, now)),
        IfNoInventory::Reject => {
            let message = format!("no inventory in namespace `{namespace}` has this item (ifNoInventory: Reject)");
            tell(request::failed(order, reasons::NO_INVENTORY, message, now))
        }
    }
}

fn waits(order: &Order, now: Timestamp) -> OrderStatus {
    let mut status = OrderStatus {
        observed_generation: order.metadata.generation,
        filled: Some(format!("0/{}", request::wants(order))),
        ..order.status.clone().unwrap_or_default()
    };
    let ready = Say {
        type_: conditions::READY,
        holds: false,
        reason: reasons::NO_INVENTORY,
        message: "waits for an inventory of this item (ifNoInventory: Wait)".to_owned(),
    };
    conditions::summarize(&mut status.conditions, ready, Progress::Reconciling, order.metadata.generation, now);
    status
}

/// The inventory that is made for an item: nothing on its shelf until there is a demand, and none of it kept without.
fn make(item: &Item, namespace: &str, sku: &str) -> Inventory {
    let digits = sku.rsplit('-').next().unwrap_or(sku);
    let metadata = ObjectMeta {
        name: Some(format!("item-{}", digits.get(..DIGITS).unwrap_or(digits))),
        namespace: Some(namespace.to_owned()),
        annotations: Some([(names::ANNOTATION_MADE_FOR_ORDERS.to_owned(), "true".to_owned())].into()),
        ..ObjectMeta::default()
    };
    let max_replicas = if item.type_ == Some(ItemType::Copy) { 1 } else { MAX_REPLICAS };
    let demand = Demand { min_replicas: None, max_replicas, service_level_percent: None, costs: None };
    let spec =
        InventorySpec { demand: Some(demand), idle_after: IDLE_AFTER.parse().ok(), ..InventorySpec::of(item.clone()) };
    Inventory { metadata, spec, status: None }
}
