//! What arguments become, and which make no sense.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use serde_json::json;

use super::completion::{Choice, choice};
use super::wait::{Stage, stage};
use super::*;

fn parsed(arguments: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(["kubectl-create-order"].into_iter().chain(arguments.split_whitespace()))
}

/// The spec of the order that arguments describe, which is one that the API's types can read.
#[track_caller]
fn spec(arguments: &str) -> Value {
    let order = order::order(&parsed(arguments).unwrap()).unwrap();
    assert_eq!(order["apiVersion"], "core.korder.dev/v1alpha1");
    assert_eq!(order["kind"], "Order");
    let known: Order = serde_json::from_value(order.clone()).unwrap();
    assert_eq!(serde_json::to_value(&known.spec).unwrap(), order["spec"]);
    order["spec"].clone()
}

#[track_caller]
fn is_refused(arguments: &str, kind: ErrorKind, told: &str) {
    let error = parsed(arguments).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(told), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn the_arguments_are_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn capacity() {
    assert_eq!(
        spec("web --cpu 500m --memory 1Gi --replicas 3 --for 24h"),
        json!({
            "replicas": 3,
            "template": { "spec": { "duration": "24h", "resources": { "requests": { "cpu": "500m", "memory": "1Gi" } } } },
        })
    );
    let all = "web --cpu 2 --for 1h --node-selector zone=a --node-selector size= --priority-class high --refresh-policy Always";
    assert_eq!(
        spec(all),
        json!({
            "strategy": { "refreshPolicy": "Always" },
            "template": { "spec": {
                "duration": "1h", "resources": { "requests": { "cpu": "2" } },
                "nodeSelector": { "zone": "a", "size": "" }, "priorityClassName": "high",
            } },
        })
    );
}

#[test]
fn stock_of_an_inventory() {
    assert_eq!(
        spec("my-db --inventory shop/databases --deliver-secret my-db --hold-for 8h --priority -5 --replicas 2"),
        json!({
            "inventoryRef": { "namespace": "shop", "name": "databases" }, "deliver": { "secretName": "my-db" }, "holdFor": "8h",
            "queuePriority": -5, "replicas": 2,
        })
    );
    assert_eq!(
        spec("x --inventory databases --input SIZE=big --deliver-configmap x --for 8h"),
        json!({
            "inventoryRef": { "name": "databases", "inputs": { "SIZE": "big" } }, "deliver": { "configMapName": "x" },
            "holdFor": "8h",
        })
    );
}

#[test]
fn stock_of_an_item_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let item = "inputs: {GIT_SHA: a, B: b}\noperation: {job: {template: {spec: {containers: []}}}}\n";
    file.write_all(item.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    assert_eq!(
        spec(&format!("build --item-file {path} --input GIT_SHA=4f1c2a --if-no-inventory Reject")),
        json!({
            "item": {
                "inputs": { "GIT_SHA": "4f1c2a", "B": "b" },
                "operation": { "job": { "template": { "spec": { "containers": [] } } } },
            },
            "ifNoInventory": "Reject",
        })
    );
    file.write_all(b"more: [").unwrap();
    let error = order::order(&parsed(&format!("build --item-file {path}")).unwrap()).unwrap_err();
    assert!(format!("{error:#}").contains("neither YAML nor JSON"), "{error:#}");
    let empty = tempfile::NamedTempFile::new().unwrap();
    let error = order::order(&parsed(&format!("build --item-file {}", empty.path().display())).unwrap()).unwrap_err();
    assert!(format!("{error:#}").contains("it has no `operation`"), "{error:#}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    use ErrorKind::{ArgumentConflict, InvalidValue, MissingRequiredArgument, ValueValidation};
    is_refused("web", MissingRequiredArgument, "--cpu");
    is_refused("--cpu 1 --for 1h", MissingRequiredArgument, "<NAME>");
    is_refused("web --cpu 1", MissingRequiredArgument, "--for");
    is_refused("web --for 1h", MissingRequiredArgument, "--inventory");
    is_refused("web --cpu lots --for 1h", ValueValidation, "lots");
    is_refused("web --cpu 1 --for 24hours", ValueValidation, "24hours");
    is_refused("web --cpu 1 --for 1h --inventory i", ArgumentConflict, "--inventory");
    is_refused("web --cpu 1 --for 1h --deliver-secret s", ArgumentConflict, "--deliver-secret");
    is_refused("x --inventory i --item-file f", ArgumentConflict, "--item-file");
    is_refused("x --inventory i --deliver-secret s --deliver-configmap c", ArgumentConflict, "--deliver-configmap");
    is_refused("x --inventory i --input SIZE", ValueValidation, "KEY=VALUE");
    is_refused("x --inventory i --node-selector a=b", ArgumentConflict, "--node-selector");
    is_refused("x --inventory i --if-no-inventory Wait", ArgumentConflict, "--if-no-inventory");
    is_refused("x --item-file f --if-no-inventory Perhaps", ValueValidation, "Perhaps");
    is_refused("x --inventory i --wait --dry-run=server", ArgumentConflict, "--wait");
    is_refused("x --inventory i --dry-run=here", InvalidValue, "here");
    is_refused("x --inventory i -o wide", InvalidValue, "wide");
}

#[test]
fn the_namespace_stands_in_the_order_where_it_is_named() {
    let metadata = |arguments| order::order(&parsed(arguments).unwrap()).unwrap()["metadata"].clone();
    assert_eq!(metadata("x --inventory i"), json!({ "name": "x" }));
    assert_eq!(metadata("x --inventory i -n shop"), json!({ "name": "x", "namespace": "shop" }));
}

#[test]
fn dry_run_is_as_that_of_kubectl() {
    let dry_run = |arguments: &str| parsed(arguments).unwrap().dry_run;
    assert_eq!(dry_run("x --inventory i --dry-run"), Some(DryRun::Client));
    assert_eq!(dry_run("--inventory i --dry-run=server x"), Some(DryRun::Server));
    assert_eq!(dry_run("x --inventory i --dry-run=none"), Some(DryRun::None));
}

fn with_status(spec: &Value, status: &Value) -> Order {
    let metadata = json!({ "name": "x", "generation": 2 });
    let order = json!({
        "apiVersion": "core.korder.dev/v1alpha1", "kind": "Order", "metadata": metadata, "spec": spec, "status": status,
    });
    serde_json::from_value(order).unwrap()
}

fn condition(type_: &str, status: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": "Because", "message": "so", "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

#[test]
fn an_order_is_filled_when_it_has_what_it_asks_for() {
    let request = json!({ "inventoryRef": { "name": "i" } });
    let supply = json!({ "template": { "spec": { "duration": "1h", "resources": { "requests": { "cpu": "1" } } } } });
    let told = "Because: so".to_owned();
    let ready = |ready: &str| json!({ "observedGeneration": 2, "conditions": [condition("Ready", ready)] });
    assert!(matches!(stage(&with_status(&request, &Value::Null)), Stage::Waiting(_)));
    assert_eq!(stage(&with_status(&request, &ready("False"))), Stage::Waiting(told.clone()));
    assert_eq!(stage(&with_status(&supply, &ready("False"))), Stage::Waiting(told.clone()));
    assert_eq!(stage(&with_status(&supply, &ready("True"))), Stage::Filled(told.clone()));
    let mut filled = ready("True");
    filled["filledTime"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(stage(&with_status(&request, &filled)), Stage::Filled(told.clone()));
    for type_ in ["Failed", "Stalled"] {
        let mut failed = ready("False");
        failed["conditions"].as_array_mut().unwrap().push(condition(type_, "True"));
        assert_eq!(stage(&with_status(&request, &failed)), Stage::Failed(told.clone()), "{type_}");
    }
    let mut old = ready("True");
    old["observedGeneration"] = json!(1);
    assert_eq!(stage(&with_status(&supply, &old)), Stage::Waiting(told), "of the spec before");
}

#[test]
fn a_shell_is_told_what_can_come_next() {
    let choices = |line: &str| choice(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let words = |line: &str| match choices(line) {
        Choice::Words(words) => {
            words.iter().map(|word| word.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(words("--deliver"), ["--deliver-secret", "--deliver-configmap"]);
    assert_eq!(words("web --cpu 1 -o "), ["yaml", "json", "name"]);
    assert_eq!(words("web --output=j"), ["--output=json"]);
    assert_eq!(words("--dry"), ["--dry-run="]);
    assert_eq!(words("--dry-run="), ["--dry-run=none", "--dry-run=client", "--dry-run=server"]);
    assert_eq!(words(""), Vec::<String>::new());
    assert_eq!(choices("x --item-file "), Choice::File);
    assert_eq!(choices("x --inventory "), Choice::Inventory(String::new()));
    assert_eq!(choices("x --inventory="), Choice::Inventory("--inventory=".to_owned()));
}
