//! What the schema's rules refuse, and with which words.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use kube_cel::Validator;
use serde_json::{Value, json};

use super::*;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(Inventory::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

/// The spec of an inventory of one unit of the item, changed by a merge of `change`.
fn spec(item: &Value, change: &Value) -> Value {
    let mut spec = json!({ "item": item, "replicas": 1 });
    for (field, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(spec.as_object_mut().unwrap().remove(field)),
            value => spec[field] = value.clone(),
        }
    }
    spec
}

#[track_caller]
fn accepted(item: &Value, change: &Value) {
    let spec = spec(item, change);
    if let Err(errors) =
        Validator::new().validate(&SCHEMA, &json!({ "metadata": { "name": "shelf" }, "spec": spec }), None)
    {
        panic!("{spec} is refused: {errors}");
    }
    serde_json::from_value::<InventorySpec>(spec).unwrap();
}

#[track_caller]
fn refused(item: &Value, change: &Value, word: &str) {
    let spec = spec(item, change);
    let errors = Validator::new()
        .validate(&SCHEMA, &json!({ "metadata": { "name": "shelf" }, "spec": spec }), None)
        .unwrap_err();
    assert!(errors.to_string().contains(word), "{spec}: {errors}");
}

fn package() -> Value {
    json!({ "operation": { "package": { "name": "etcd", "version": "3.5.1" } } })
}

fn job() -> Value {
    json!({ "template": { "spec": { "containers": [{ "name": "build", "image": "builder" }] } } })
}

fn of_job() -> Value {
    json!({ "operation": { "job": job() } })
}

fn of_manifests(name: &str) -> Value {
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "b" } });
    json!({ "operation": { "manifests": [object] } })
}

fn with(mut item: Value, field: &str, value: Value) -> Value {
    item[field] = value;
    item
}

#[test]
fn an_operation_is_one_of_three() {
    for item in [package(), of_job(), of_manifests("$(stock.name)-settings")] {
        accepted(&item, &json!({}));
    }
    refused(&json!({ "operation": {} }), &json!({}), "exactly one of `job`, `package` and `manifests`");
    let mut two = package();
    two["operation"]["job"] = job();
    refused(&two, &json!({}), "exactly one of `job`, `package` and `manifests`");
}

#[test]
fn units_made_of_manifests_do_not_collide() {
    refused(&of_manifests("settings"), &json!({}), "must contain `$(stock.name)`");
    let mut generated = of_manifests("$(stock.name)");
    generated["operation"]["manifests"][0]["metadata"]["generateName"] = json!("x-");
    refused(&generated, &json!({}), "`metadata.generateName` is refused");
    refused(&with(of_manifests("$(stock.name)"), "type", json!("Copy")), &json!({}), "use type `Fungible`");
}

#[test]
fn outputs_come_from_where_the_operation_has_them() {
    let output = |from: Value| json!([{ "name": "url", "from": from }]);
    let object = json!({ "kind": "Secret", "name": "$(stock.name)" });
    accepted(&with(of_job(), "outputs", output(json!({ "result": "url" }))), &json!({}));
    accepted(&with(package(), "outputs", output(json!({ "object": object, "secretKey": "p" }))), &json!({}));
    let from_result = with(package(), "outputs", output(json!({ "result": "url" })));
    refused(&from_result, &json!({}), "the outputs of a job are taken `from.result`");
    let two = json!({ "object": object, "secretKey": "p", "fieldPath": ".x" });
    refused(&with(package(), "outputs", output(two)), &json!({}), "exactly one of `fieldPath` and `secretKey`");
    let open = json!([{ "name": "p", "from": { "object": object, "secretKey": "p" }, "sensitive": false }]);
    refused(&with(package(), "outputs", open), &json!({}), "is sensitive");
    let field =
        |kind: &str| output(json!({ "object": { "kind": kind, "name": "$(stock.name)" }, "fieldPath": ".data.p" }));
    accepted(&with(package(), "outputs", field("ConfigMap")), &json!({}));
    refused(&with(package(), "outputs", field("Secret")), &json!({}), "take it from its `secretKey`");
}

#[test]
fn a_job_needs_no_readiness() {
    let ready = json!([{ "kind": "Pod", "name": "$(stock.name)", "expression": "true" }]);
    accepted(&with(package(), "readyWhen", ready.clone()), &json!({}));
    refused(&with(of_job(), "readyWhen", ready), &json!({}), "`readyWhen`");
}

#[test]
fn the_level_is_fixed_or_fitted() {
    let demand = |demand: Value| json!({ "replicas": null, "demand": demand });
    accepted(&package(), &demand(json!({ "maxReplicas": 5, "serviceLevelPercent": 95 })));
    refused(&package(), &json!({ "replicas": null }), "exactly one of `replicas`");
    refused(&package(), &json!({ "demand": { "maxReplicas": 5 } }), "exactly one of `replicas`");
    refused(&package(), &demand(json!({ "minReplicas": 6, "maxReplicas": 5 })), "must not exceed");
    let both = json!({ "maxReplicas": 5, "serviceLevelPercent": 95, "costs": { "shortage": 1, "holding": 1 } });
    refused(&package(), &demand(both), "not both");
    refused(&with(of_job(), "type", json!("Copy")), &json!({ "replicas": 2 }), "at most 1");
}

#[test]
fn restocking_and_resetting_need_each_other() {
    accepted(&package(), &json!({ "reclaimPolicy": "Restock", "reset": job() }));
    refused(&package(), &json!({ "reclaimPolicy": "Restock" }), "needs `reset`");
    refused(&package(), &json!({ "reset": job() }), "needs `reclaimPolicy: Restock`");
}

#[test]
fn a_probe_is_a_job_or_an_expression() {
    accepted(&package(), &json!({ "probe": { "expression": "true", "periodSeconds": 60 } }));
    let both = json!({ "probe": { "expression": "true", "job": job(), "periodSeconds": 60 } });
    refused(&package(), &both, "exactly one of `job` and `expression`");
}

#[test]
fn what_orders_may_set_is_limited() {
    accepted(
        &package(),
        &json!({ "inputs": { "SIZE": { "enum": ["s", "m"] }, "ID": { "pattern": "x", "maxLength": 9 } } }),
    );
    refused(&package(), &json!({ "inputs": { "SIZE": {} } }), "exactly one of `enum` and `pattern`");
    refused(&package(), &json!({ "inputs": { "ID": { "pattern": "x" } } }), "`pattern` needs `maxLength`");
}
