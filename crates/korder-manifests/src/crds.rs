//! The kinds.

use korder_api::{Inventory, Order, Quota, Stock, Ticket};
use kube::CustomResourceExt;
use kube::core::DynamicObject;
use serde_json::json;

use crate::{labels, object};

/// The definitions of the five kinds.
pub fn crds() -> Vec<DynamicObject> {
    [Order::crd(), Ticket::crd(), Quota::crd(), Inventory::crd(), Stock::crd()]
        .into_iter()
        .map(|mut crd| {
            crd.metadata.labels =
                Some(serde_json::from_value(labels::ours()).expect("our labels are a map of strings"));
            let mut value = json!(crd);
            value["apiVersion"] = json!("apiextensions.k8s.io/v1");
            value["kind"] = json!("CustomResourceDefinition");
            object(value)
        })
        .collect()
}
