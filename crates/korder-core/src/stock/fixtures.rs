//! Units for the tests of this module.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use korder_api::{Stock, StockPhase, StockSpec, StockStatus, names};
use serde_json::{Value, json};

use super::job::{Job, Worker};
use crate::fixtures::at;

/// Unit `inv-1` of an item.
pub(crate) fn stock(item: Value) -> Stock {
    let item = serde_json::from_value(item).unwrap();
    Stock {
        metadata: ObjectMeta {
            name: Some("inv-1".into()),
            namespace: Some("shop".into()),
            uid: Some("stock-uid".into()),
            creation_timestamp: Some(Time(at(0))),
            generation: Some(1),
            finalizers: Some(vec![names::FINALIZER_TEARDOWN.into()]),
            ..ObjectMeta::default()
        },
        spec: StockSpec { inventory_name: "inv".into(), sku: "v1-x".into(), item },
        status: None,
    }
}

pub(crate) fn in_phase(stock: Stock, phase: StockPhase) -> Stock {
    let status = StockStatus { phase: Some(phase), ..stock.status.unwrap_or_default() };
    Stock { status: Some(status), ..stock }
}

/// The unit, being deleted.
pub(crate) fn deleted(mut stock: Stock) -> Stock {
    stock.metadata.deletion_timestamp = Some(Time(at(0)));
    stock
}

/// The unit's Job, with conditions that hold since the start.
pub(crate) fn job(stock: &Stock, conditions: &[&str]) -> Job {
    let condition = |type_: &&str| json!({"type": type_, "status": "True", "reason": "Told", "message": "so it is", "lastTransitionTime": at(0).to_string()});
    serde_json::from_value(json!({
        "metadata": {
            "name": stock.metadata.name, "namespace": "shop", "uid": "job-uid",
            "ownerReferences": [super::owner_reference(stock)],
        },
        "status": {"conditions": conditions.iter().map(condition).collect::<Vec<_>>()},
    }))
    .unwrap()
}

/// A pod of the unit's Job, and what its container `build` ended with.
pub(crate) fn worker(stock: &Stock, phase: &str, message: &str) -> Worker {
    let ended =
        json!({"terminated": {"exitCode": i32::from(phase == "Failed"), "reason": "Ended", "message": message}});
    let state = if ["Succeeded", "Failed"].contains(&phase) { ended } else { json!({}) };
    serde_json::from_value(json!({
        "metadata": {
            "name": "inv-1-x", "namespace": "shop", "labels": super::labels(stock), "finalizers": [names::FINALIZER_OUTPUT],
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "inv-1", "uid": "job-uid", "controller": true}],
        },
        "status": {"phase": phase, "containerStatuses": [{"name": "build", "state": state}]},
    }))
    .unwrap()
}
