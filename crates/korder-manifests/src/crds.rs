//! The kinds.

use std::sync::LazyLock;

use korder_api::{Inventory, Order, Quota, Stock, Ticket};
use kube::CustomResourceExt;
use kube::core::DynamicObject;
use serde_json::json;

use crate::{labels, object};

/// The definitions of the five kinds.
///
/// The first call makes the schemas, which takes some tenths of a second in an unoptimized build; a program that is to
/// start fast calls it beside other work.
pub fn crds() -> Vec<DynamicObject> {
    static CRDS: LazyLock<Vec<DynamicObject>> = LazyLock::new(make);
    CRDS.clone()
}

fn make() -> Vec<DynamicObject> {
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
