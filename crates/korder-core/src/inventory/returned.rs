//! Units that are given back.

use std::sync::Arc;

use jiff::Timestamp;
use korder_api::inventory::ReclaimPolicy;
use korder_api::item::ItemType;
use korder_api::{Inventory, Stock, StockStatus};

use super::unit;
use crate::stock::reset;

/// A unit that is given back, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Return {
    /// The unit.
    pub unit: Arc<Stock>,
    /// The status by which it is nobody's and is made like new; without one it goes.
    pub reset: Option<Box<StockStatus>>,
}

impl Return {
    /// What becomes of a unit that is given back to its inventory, which keeps this SKU now.
    pub(super) fn of(inventory: &Inventory, sku: &str, one: &Arc<Stock>, now: Timestamp) -> Self {
        let reset = may_be_reset(inventory, sku, one, now).then(|| Box::new(reset::begun(one, now)));
        Self { unit: Arc::clone(one), reset }
    }
}

/// Whether a unit that is given back is made like new. Not one that would go as soon as it is, nor one with a secret that stays
/// the same.
fn may_be_reset(inventory: &Inventory, sku: &str, one: &Stock, now: Timestamp) -> bool {
    let spec = &inventory.spec;
    let expired = unit::expires(one, spec).is_some_and(|end| end <= now);
    spec.reclaim_policy == Some(ReclaimPolicy::Restock)
        && spec.reset.is_some()
        && inventory.metadata.deletion_timestamp.is_none()
        && one.metadata.deletion_timestamp.is_none()
        && one.spec.sku == sku
        && one.spec.item.type_.unwrap_or_default() == ItemType::Fungible
        && reset::can_renew(&one.spec.item)
        && !expired
}
