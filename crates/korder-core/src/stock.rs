//! Stock: units of an item that lie on a shelf until an order takes them.

pub mod drift;
pub mod expression;
mod failure;
pub mod job;
pub mod kstatus;
pub mod line;
pub mod manifests;
pub mod output;
pub mod probe;
pub mod production;
pub mod reset;
mod run;
pub mod sku;
mod status;
pub mod variables;

#[cfg(test)]
pub(crate) mod fixtures;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use korder_api::{Stock, StockPhase, names};
use kube::Resource as _;

pub use failure::Failure;

use crate::conditions::READY;

/// The unit's name.
pub fn name(stock: &Stock) -> &str {
    stock.metadata.name.as_deref().unwrap_or_default()
}

/// The phase that stands in the unit's status.
pub fn phase(stock: &Stock) -> StockPhase {
    stock.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

/// Since when the unit lies on the shelf, this time; of one that was claimed, since when it lay there.
pub fn on_the_shelf_since(stock: &Stock) -> Option<Timestamp> {
    let ready = status::condition(stock, READY).filter(|ready| ready.status == "True");
    ready.map(|ready| ready.last_transition_time.0)
}

/// The labels of everything that a unit consists of or is made by.
pub fn labels(stock: &Stock) -> BTreeMap<String, String> {
    BTreeMap::from(
        [
            ("app.kubernetes.io/managed-by", "korder"),
            (names::LABEL_INVENTORY, stock.spec.inventory_name.as_str()),
            (names::LABEL_STOCK, name(stock)),
            (names::LABEL_STOCK_UID, stock.metadata.uid.as_deref().unwrap_or_default()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    )
}

/// The reference by which an object goes with the unit that it belongs to. It does not keep the unit from going first.
pub fn owner_reference(stock: &Stock) -> Option<OwnerReference> {
    Some(OwnerReference { block_owner_deletion: Some(false), ..stock.controller_owner_ref(&())? })
}
