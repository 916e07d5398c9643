use serde_json::json;

use super::*;
use crate::fixtures::at;
use crate::stock::fixtures;

fn of(manifests: &Value) -> Stock {
    fixtures::stock(json!({"inputs": {"SIZE": "1Gi"}, "operation": {"manifests": manifests}}))
}

fn config(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "$(stock.name)-config"}});
    change(&mut object);
    object
}

fn rendered_of(manifests: &Value) -> Result<Vec<Map<String, Value>>, Failure> {
    rendered(&of(manifests), &mut |length| "r".repeat(length))
}

#[test]
fn objects_are_the_units_in_their_order() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "$(stock.name)", "namespace": "shop"},
        "stringData": {"password": "$(random.4)"}});
    let config = config(|object| object["metadata"]["labels"] = json!({"app": "db", "korder.dev/stock-uid": "forged"}));
    let objects = rendered_of(&json!([secret, config])).unwrap();
    insta::assert_json_snapshot!(objects);
}

#[test]
fn an_object_that_can_not_be_one_of_a_unit_is_refused() {
    for (object, word) in [
        (config(|object| object["metadata"]["namespace"] = json!("kube-system")), "namespace `kube-system`"),
        (config(|object| object["metadata"]["generateName"] = json!("x")), "generateName"),
        (config(|object| object["metadata"] = json!({})), "metadata.name"),
        (config(|object| object["metadata"]["name"] = json!("$(stock.name)/../x")), "metadata.name"),
        (config(|object| object["data"] = json!({"a": "$(random.4)"})), "stringData"),
        (config(|object| object["metadata"]["labels"] = json!("x")), "labels"),
    ] {
        let failure = rendered_of(&json!([object])).unwrap_err();
        assert_eq!(failure.reason, reasons::INVALID_ITEM);
        assert!(failure.message.contains(word), "{}", failure.message);
    }
    let twice = rendered_of(&json!([config(|_| ()), config(|object| object["apiVersion"] = json!("v2"))])).unwrap_err();
    assert!(twice.message.contains("same kind and name"), "{}", twice.message);
    assert!(rendered_of(&json!([config(|_| ()), config(|object| object["kind"] = json!("Secret"))])).is_ok());
}

#[test]
fn all_objects_are_named_before_any_is_made() {
    let stock = of(&json!([config(|_| ())]));
    let status = begun(&stock, &rendered(&stock, &mut |_| String::new()).unwrap(), at(0));
    assert_eq!(status.objects, [named("ConfigMap", "inv-1-config")]);
}

fn named(kind: &str, name: &str) -> StockObject {
    StockObject { api_version: "v1".into(), kind: kind.into(), name: name.into(), uid: None, generation: None }
}

fn live(kind: &str, name: &str, mut value: Value) -> Live {
    value["apiVersion"] = json!("v1");
    value["kind"] = json!(kind);
    value["metadata"]["uid"] = json!(format!("{name}-uid"));
    value["metadata"]["generation"] = json!(3);
    Live { object: named(kind, name), value: Some(value) }
}

fn item(change: &Value) -> Stock {
    let mut item = json!({"operation": {"manifests": [config(|_| ())]}});
    item.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    fixtures::stock(item)
}

#[test]
fn a_unit_is_ready_when_its_objects_are() {
    let stock = item(&json!({}));
    let pod = |phase| live("Pod", "inv-1", json!({"status": {"phase": phase}}));
    let of = |objects: &[Live]| progress(&stock, objects, &[]);
    let config = live("ConfigMap", "inv-1-config", json!({}));
    assert_eq!(of(&[config.clone(), pod("Succeeded")]), Ok(Progress::Ready(Outputs::default())));
    assert_eq!(of(&[config.clone(), pod("Pending")]), Ok(Progress::Waiting("Pod `inv-1`: it is not ready".into())));
    assert_eq!(of(&[pod("Failed")]).unwrap_err().reason, reasons::PRODUCTION_FAILED);
    let gone = Live { value: None, ..config.clone() };
    assert_eq!(of(&[gone]).unwrap_err().reason, reasons::OBJECT_GONE);
    let going = live("ConfigMap", "inv-1-config", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    assert_eq!(of(&[going]).unwrap_err().reason, reasons::OBJECT_GONE);
}

#[test]
fn what_the_user_says_of_readiness_counts_instead() {
    let stock = |expression: &str, name: &str| {
        item(&json!({"readyWhen": [{"kind": "Pod", "name": name, "expression": expression}]}))
    };
    let pod = live("Pod", "inv-1", json!({"status": {"phase": "Pending"}}));
    let of = |expression, name| progress(&stock(expression, name), std::slice::from_ref(&pod), &[]);
    assert_eq!(of("object.status.phase == 'Pending'", "$(stock.name)"), Ok(Progress::Ready(Outputs::default())));
    let waits = of("object.status.phase == 'Running'", "$(stock.name)").unwrap();
    assert_eq!(waits, Progress::Waiting("Pod `inv-1`: `object.status.phase == 'Running'` does not hold".into()));
    assert!(matches!(of("object.status.ip == ''", "inv-1"), Ok(Progress::Waiting(_))));
    assert_eq!(of("object.", "inv-1").unwrap_err().reason, reasons::INVALID_ITEM);
    assert_eq!(of("true", "other").unwrap_err().reason, reasons::INVALID_ITEM);
}

#[test]
fn outputs_come_from_the_units_objects_and_from_what_operators_make_beside_them() {
    let output = |kind: &str, name: &str, from: &str, at: &str| json!({"name": format!("{kind}-{at}"), "from": {"object": {"kind": kind, "name": name}, from: at}});
    let stock = item(&json!({"outputs": [
        output("Service", "$(stock.name)", "fieldPath", ".spec.port"),
        output("Secret", "$(stock.name)-conn", "secretKey", "password"),
    ]}));
    let service = live("Service", "inv-1", json!({"spec": {"port": 80}}));
    let others = others(&stock, &[named("Service", "inv-1")]).unwrap();
    assert_eq!(others, [named("Secret", "inv-1-conn")]);
    let none = Live { object: others[0].clone(), value: None };
    let waits = progress(&stock, std::slice::from_ref(&service), &[none]).unwrap();
    assert_eq!(
        waits,
        Progress::Waiting("output `Secret-password`: Secret `$(stock.name)-conn` is not there yet".into())
    );
    let secret = live("Secret", "inv-1-conn", json!({"data": {"password": "eA=="}}));
    let Progress::Ready(outputs) = progress(&stock, std::slice::from_ref(&service), &[secret]).unwrap() else {
        panic!()
    };
    assert_eq!(
        (outputs.plain["Service-.spec.port"].as_str(), outputs.sensitive["Secret-password"].as_str()),
        ("80", "x")
    );

    let status = ready(&stock, &[service], &outputs, Some("inv-1-outputs".into()), at(9));
    assert_eq!(status.objects[0].uid.as_deref(), Some("inv-1-uid"));
    assert_eq!(status.objects[0].generation, Some(3));
    assert!(!serde_json::to_string(&status).unwrap().contains("password"), "what is sensitive is in no status");

    let stranger = item(&json!({"outputs": [output("Node", "n", "fieldPath", ".a")]}));
    assert_eq!(super::others(&stranger, &[]).unwrap_err().reason, reasons::INVALID_ITEM);
}

#[test]
fn what_was_made_is_known_by_its_uid_even_if_it_is_gone() {
    let made = live("ConfigMap", "a", json!({}));
    let gone = Live { object: StockObject { uid: Some("u".into()), ..named("ConfigMap", "b") }, value: None };
    let never = Live { object: named("ConfigMap", "c"), value: None };
    let uids: Vec<_> = known(&[made, gone, never]).into_iter().map(|object| object.uid).collect();
    assert_eq!(uids, [Some("a-uid".to_owned()), Some("u".to_owned()), None]);
}

#[test]
fn looks_become_rare() {
    let stock = of(&json!([]));
    let after = |secs| look_again(&stock, at(secs)).as_secs();
    assert_eq!([after(-5), after(0), after(20), after(600)], [1, 1, 5, 10]);
}
