//! What a real API server answers to lists: versions, pages, and what selectors find.

use kooper_sim::run;
use serde_json::{Value, json};

use crate::http::{Http, PODS, SHOPS, idle_pod as pod, named, on_any_server, shop, version};

const NONE: Value = Value::Null;

#[test]
fn lists_state_their_version() {
    on_any_server(|http| async move {
        http.expect(201, "POST", SHOPS, shop("a")).await;
        let old = version(&http.get(SHOPS).await);
        http.expect(201, "POST", SHOPS, shop("b")).await;
        let count = async |query: &str| http.get(&format!("{SHOPS}?{query}")).await["items"].as_array().unwrap().len();
        assert_eq!(count("resourceVersion=0").await, 2);
        assert_eq!(count(&format!("resourceVersion={old}&resourceVersionMatch=Exact")).await, 1);
        assert_eq!(count(&format!("resourceVersion={old}&resourceVersionMatch=NotOlderThan")).await, 2);
        assert_eq!(count(&format!("resourceVersion={old}")).await, 2);
        assert_eq!(count(&format!("resourceVersion={old}&limit=500")).await, 1);

        let future = http.expect(504, "GET", &format!("{SHOPS}?resourceVersion=1000000000"), NONE).await;
        assert_eq!(future["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
        http.expect(504, "GET", &format!("{SHOPS}/a?resourceVersion=1000000000"), NONE).await;
        for query in [
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersionMatch=Exact",
            "resourceVersion=1&resourceVersionMatch=Nearly",
            "sendInitialEvents=true",
            "watch=true&sendInitialEvents=true",
            "watch=true&resourceVersionMatch=NotOlderThan",
        ] {
            http.expect(422, "GET", &format!("{SHOPS}?{query}"), NONE).await;
        }
        http.expect(500, "GET", &format!("{SHOPS}?watch=true&resourceVersion=x"), NONE).await;
        for query in [
            "continue=nonsense",
            "labelSelector=a%20in%20b",
            "fieldSelector=spec.size%3D1",
            "resourceVersion=x",
            "limit=few",
            "watch=true&labelSelector=%2Fa",
        ] {
            http.expect(400, "GET", &format!("{SHOPS}?{query}"), NONE).await;
        }
    });
}

#[test]
fn pages_show_one_moment() {
    on_any_server(|http| async move {
        for name in ["a", "c", "e", "g"] {
            http.expect(201, "POST", SHOPS, shop(name)).await;
        }
        let first = http.get(&format!("{SHOPS}?limit=2")).await;
        assert_eq!(first["metadata"]["remainingItemCount"], 2);
        http.expect(200, "DELETE", &named(SHOPS, "e"), NONE).await;
        http.expect(201, "POST", SHOPS, shop("f")).await;
        http.expect(200, "PATCH", &named(SHOPS, "g"), json!({"spec": {"town": "Bonn"}})).await;
        let next = format!("{SHOPS}?limit=2&continue={}", first["metadata"]["continue"].as_str().unwrap());
        let second = http.get(&next).await;
        assert_eq!(version(&second), version(&first));
        let items: Vec<(&Value, &Value)> = second["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (&item["metadata"]["name"], &item["spec"]["town"]))
            .collect();
        assert_eq!(items, [(&json!("e"), &json!("Ulm")), (&json!("g"), &json!("Ulm"))]);
        assert_eq!(second["metadata"]["continue"], "");
        http.expect(400, "GET", &format!("{next}&resourceVersion=5"), NONE).await;
    });
}

#[test]
fn what_is_forgotten_cannot_be_listed() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        for name in ["a", "c", "e"] {
            http.expect(201, "POST", SHOPS, shop(name)).await;
        }
        let first = http.get(&format!("{SHOPS}?limit=2")).await;
        let next = format!("{SHOPS}?limit=2&continue={}", first["metadata"]["continue"].as_str().unwrap());
        http.expect(201, "POST", SHOPS, shop("f")).await;
        sim.compact();
        let expired = http.expect(410, "GET", &next, NONE).await;
        assert_eq!(expired["reason"], "Expired");
        let now = format!("{SHOPS}?continue={}", expired["metadata"]["continue"].as_str().unwrap());
        let names: Vec<Value> = http.get(&now).await["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].clone())
            .collect();
        assert_eq!(names, ["e", "f"]);
        let exactly = format!("{SHOPS}?resourceVersion={}&resourceVersionMatch=Exact", version(&first));
        http.expect(410, "GET", &exactly, NONE).await;
    });
}

#[test]
fn selectors_and_forms_of_lists() {
    on_any_server(|http| async move {
        let mut labelled = shop("a");
        labelled["metadata"]["labels"] = json!({"size": "small"});
        http.expect(201, "POST", SHOPS, labelled).await;
        http.expect(201, "POST", SHOPS, shop("b")).await;
        let names = async |query: &str| {
            let list = http.get(&format!("{SHOPS}?{query}")).await;
            let names = list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone());
            Value::from(names.collect::<Vec<Value>>())
        };
        assert_eq!(names("labelSelector=size%20in%20(small,large)").await, json!(["a"]));
        assert_eq!(names("labelSelector=size%20notin%20(small)").await, json!(["b"]));
        assert_eq!(names("fieldSelector=metadata.name!%3Da,spec.town%3DUlm").await, json!(["b"]));

        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let (_, list) = http.send_as("GET", SHOPS, "", partial, NONE).await;
        assert_eq!(
            (&list["kind"], &list["items"][0]["kind"]),
            (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata"))
        );
        assert_eq!(list["items"][0]["spec"], NONE);

        http.expect(201, "POST", PODS, pod("p")).await;
        assert_eq!(http.get(PODS).await["items"][0]["kind"], NONE, "built-in kinds' items have no type");
        assert_eq!(http.get(SHOPS).await["items"][0]["kind"], "Shop");

        let deleted = http.expect(200, "DELETE", &format!("{SHOPS}?labelSelector=size"), NONE).await;
        assert_eq!(deleted["items"][0]["metadata"]["name"], "a");
        assert_eq!(names("").await, json!(["b"]));
    });
}
