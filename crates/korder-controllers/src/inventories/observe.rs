//! What is there of an inventory.

use std::collections::BTreeMap;
use std::sync::Arc;

use korder_api::{Inventory, Order, Stock};
use korder_core::inventory::request::{Stage, stage};
use korder_core::inventory::{full_name, unit, variant};

use crate::caches::{
    BY_INVENTORY, BY_TARGET, BY_UID, Caches, Serving, asks_for_inventory, asks_for_sku, sku_value, stands_at,
};

/// What is there of an inventory.
pub(super) struct Seen {
    pub(super) units: Vec<Arc<Stock>>,
    pub(super) requests: Vec<Arc<Order>>,
    /// Those that have a unit and wait for another inventory now.
    pub(super) elsewhere: Vec<Arc<Order>>,
}

/// Its units, and the orders that it serves, or that are named by one of its units.
pub(super) fn observe(caches: &Caches, inventory: &Inventory) -> Seen {
    let name = full_name(inventory);
    let units = caches.stocks.by_index(BY_INVENTORY, &name);
    let namespace = inventory.metadata.namespace.as_deref();
    // Who wants a variant asks for the inventory that it is one of.
    let named = match variant::base_of(inventory) {
        Some(base) => format!("{}/{base}", namespace.unwrap_or_default()),
        None => name.clone(),
    };
    let skus = sku_value(namespace, &inventory.spec.item);
    let targets =
        [asks_for_inventory(&named), stands_at(&name)].into_iter().chain(skus.iter().map(|sku| asks_for_sku(sku)));
    let mut requests: BTreeMap<String, Arc<Order>> = BTreeMap::new();
    let asking = targets.flat_map(|target| caches.orders.by_index(BY_TARGET, &target));
    // Who waits may have been served by another one before, when the item was another one.
    let served_here = |order: &Arc<Order>| {
        let serves = || matches!(caches.serving(order), Serving::By(one) if one.metadata.uid == inventory.metadata.uid);
        stage(order) != Stage::Waiting || serves()
    };
    let holders = units.iter().filter_map(|one| unit::holder(one));
    let holders = holders.flat_map(|claim| caches.orders.by_index(BY_UID, &claim.uid));
    let (here, away): (Vec<_>, Vec<_>) = holders.partition(served_here);
    for order in asking.filter(served_here).chain(here) {
        requests.insert(order.metadata.uid.clone().unwrap_or_default(), order);
    }
    Seen { units, requests: requests.into_values().collect(), elsewhere: away }
}
