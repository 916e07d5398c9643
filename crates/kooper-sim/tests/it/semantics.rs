//! What a real API server answers, line by line; lists have a module of their own.

use kooper_sim::run;
use serde_json::{Value, json};

use crate::http::{Http, PODS, SHOPS, idle_pod as pod, named, on_any_server, shop, shops_definition, version};

const NONE: Value = Value::Null;

fn reason_of_cause(answer: &Value) -> (&Value, &Value) {
    let cause = &answer["details"]["causes"][0];
    (&cause["reason"], &cause["field"])
}

#[test]
fn a_kind_is_served_once_it_is_defined() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let mut stalls = shops_definition();
        stalls["spec"]["names"] = json!({"plural": "stalls", "kind": "Stall"});
        http.expect(422, "POST", definitions, stalls.clone()).await;
        stalls["metadata"]["name"] = json!("stalls.example.com");
        let path = "/apis/example.com/v1/namespaces/default/stalls";
        http.expect(201, "POST", &format!("{definitions}?dryRun=All"), stalls.clone()).await;
        http.expect(404, "GET", path, NONE).await;
        let made = http.expect(201, "POST", definitions, stalls).await;
        let conditions = made["status"]["conditions"].as_array().unwrap();
        assert!(conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True"));
        let mut stall = shop("a");
        stall["kind"] = json!("Stall");
        http.expect(201, "POST", path, stall).await;
        http.expect(200, "PATCH", &named(path, "a/status"), json!({"status": {"open": true}})).await;
        http.get(&format!("{path}?fieldSelector=spec.town%3DUlm")).await;
        let same = http.expect(200, "PATCH", &named(definitions, "stalls.example.com"), json!({})).await;
        assert_eq!(same, made);
    });
}

#[test]
fn versions_are_one_sequence_across_resources() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        let first = version(&http.expect(201, "POST", SHOPS, shop("a")).await);
        let second = version(&http.expect(201, "POST", PODS, pod("p")).await);
        let third = version(&http.expect(201, "POST", SHOPS, shop("b")).await);
        assert_eq!((second, third), (first + 1, first + 2));
        assert_eq!(version(&http.get(SHOPS).await), third);
        assert_eq!(version(&http.get(PODS).await), third);
        http.expect(200, "DELETE", &named(SHOPS, "a"), NONE).await;
        let last = sim.history().pop().unwrap();
        assert!(last.is_of("shops.example.com") && last.after.is_none() && last.before.is_some());
        let revisions: Vec<u64> = sim.history().iter().map(|write| write.revision).collect();
        assert_eq!(revisions, (1..=third + 1).collect::<Vec<u64>>());
    });
}

#[test]
fn create_sets_what_the_server_sets() {
    on_any_server(|http| async move {
        let mut wanted = shop("a");
        wanted["metadata"]["uid"] = json!("mine");
        wanted["metadata"]["generation"] = json!(7);
        wanted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        wanted["status"] = json!({"open": true});
        let made = http.expect(201, "POST", SHOPS, wanted).await;
        assert_eq!(made["metadata"]["namespace"], http.namespace.as_str());
        assert_eq!(made["metadata"]["generation"], 1);
        assert_eq!(made["metadata"]["creationTimestamp"].as_str().unwrap().len(), "2026-01-01T00:00:00Z".len());
        assert_eq!(made["metadata"]["deletionTimestamp"], NONE);
        assert_eq!(made["metadata"]["uid"].as_str().unwrap().len(), 36);
        assert_ne!(made["metadata"]["uid"], "mine");
        assert_eq!(made["status"], NONE, "the status has a subresource");
    });
}

#[test]
fn generated_names_differ() {
    on_any_server(|http| async move {
        let mut wanted = shop("");
        wanted["metadata"] = json!({"generateName": "shop-"});
        let first = http.expect(201, "POST", SHOPS, wanted.clone()).await;
        let second = http.expect(201, "POST", SHOPS, wanted).await;
        let name = first["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("shop-") && name.len() == 10, "{name}");
        assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
        assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    });
}

#[test]
fn create_refuses() {
    on_any_server(|http| async move {
        http.expect(201, "POST", SHOPS, shop("a")).await;
        let again = http.expect(409, "POST", SHOPS, shop("a")).await;
        assert_eq!((&again["reason"], &again["details"]["kind"]), (&json!("AlreadyExists"), &json!("shops")));

        let mut versioned = shop("b");
        versioned["metadata"]["resourceVersion"] = json!("1");
        http.expect(500, "POST", SHOPS, versioned).await;

        let mut wrong_kind = shop("b");
        wrong_kind["kind"] = json!("Stall");
        let answer = http.expect(422, "POST", SHOPS, wrong_kind).await;
        assert_eq!(reason_of_cause(&answer), (&json!("FieldValueInvalid"), &json!("kind")));

        let mut nameless = shop("");
        nameless["metadata"] = json!({});
        let answer = http.expect(422, "POST", SHOPS, nameless).await;
        assert_eq!(reason_of_cause(&answer), (&json!("FieldValueRequired"), &json!("metadata.name")));
        assert_eq!(answer["details"]["kind"], "Shop");

        let mut elsewhere = shop("b");
        elsewhere["metadata"]["namespace"] = json!("kube-system");
        http.expect(400, "POST", SHOPS, elsewhere).await;
        let nowhere = http.expect(404, "POST", "/apis/example.com/v1/namespaces/gone/shops", shop("b")).await;
        assert_eq!(nowhere["details"], json!({"kind": "namespaces", "name": "gone"}));

        for (field, value) in [
            ("name", json!("A")),
            ("labels", json!({"a": "b c"})),
            ("labels", json!({"-a": "b"})),
            ("ownerReferences", json!([{"apiVersion": "v1", "kind": "Pod", "name": "p"}])),
        ] {
            let mut bad = shop("b");
            bad["metadata"][field] = value;
            http.expect(422, "POST", SHOPS, bad).await;
        }
        let mut untyped = shop("b");
        untyped["metadata"]["labels"] = json!("none");
        http.expect(400, "POST", SHOPS, untyped).await;
        http.expect(400, "POST", SHOPS, json!("text")).await;
        let mut large = shop("b");
        large["spec"]["text"] = json!("x".repeat(3 * 1024 * 1024));
        assert_eq!(http.expect(413, "POST", SHOPS, large).await["reason"], "RequestEntityTooLarge");
    });
}

#[test]
fn what_is_not_served_is_plain_text() {
    on_any_server(|http| async move {
        for path in ["/apis/example.com/v1/stalls", "/apis/none.com/v1/shops", "/apis/example.com/v2/shops", "/other"] {
            assert_eq!(http.expect(404, "GET", path, NONE).await, "404 page not found\n", "{path}");
        }
        let configmap = "/api/v1/namespaces/default/configmaps/c/status";
        assert_eq!(http.expect(404, "GET", configmap, NONE).await["details"], json!({}), "it has no status");
    });
}

#[test]
fn missing_objects_are_404() {
    on_any_server(|http| async move {
        for (method, body) in [("GET", NONE), ("PUT", shop("a")), ("PATCH", json!({})), ("DELETE", NONE)] {
            let answer = http.expect(404, method, &named(SHOPS, "a"), body).await;
            let details = json!({"group": "example.com", "kind": "shops", "name": "a"});
            assert_eq!((&answer["reason"], &answer["details"]), (&json!("NotFound"), &details));
        }
    });
}

#[test]
fn dry_runs_move_nothing() {
    on_any_server(|http| async move {
        let made = http.expect(201, "POST", &format!("{SHOPS}?dryRun=All"), shop("a")).await;
        assert!(made["metadata"]["uid"].is_string());
        assert_eq!(made["metadata"]["resourceVersion"], NONE);
        http.expect(404, "GET", &named(SHOPS, "a"), NONE).await;

        let kept = http.expect(201, "POST", SHOPS, shop("b")).await;
        let path = named(SHOPS, "b");
        let patched = http.expect(200, "PATCH", &format!("{path}?dryRun=All"), json!({"spec": {"town": "Bonn"}})).await;
        assert_eq!((&patched["spec"]["town"], &patched["metadata"]["generation"]), (&json!("Bonn"), &json!(2)));
        http.expect(200, "DELETE", &path, json!({"dryRun": ["All"]})).await;
        http.expect(200, "DELETE", &format!("{path}?dryRun=All"), NONE).await;
        assert_eq!(http.get(&path).await, kept);
        http.expect(422, "POST", &format!("{SHOPS}?dryRun=Some"), shop("c")).await;
    });
}

#[test]
fn dry_runs_and_refusals_use_up_no_version() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        http.expect(201, "POST", SHOPS, shop("a")).await;
        let before = sim.revision();
        http.expect(201, "POST", &format!("{SHOPS}?dryRun=All"), shop("b")).await;
        http.expect(200, "PATCH", &format!("{}?dryRun=All", named(SHOPS, "a")), json!({"spec": {"town": "Bonn"}}))
            .await;
        http.expect(200, "DELETE", &format!("{}?dryRun=All", named(SHOPS, "a")), NONE).await;
        http.expect(409, "POST", SHOPS, shop("a")).await;
        assert_eq!((sim.revision(), sim.history().len() as u64), (before, before));
    });
}

#[test]
fn put_needs_the_latest_version() {
    on_any_server(|http| async move {
        let path = named(SHOPS, "a");
        let first = http.expect(201, "POST", SHOPS, shop("a")).await;
        let unversioned = http.expect(422, "PUT", &path, shop("a")).await;
        assert_eq!(reason_of_cause(&unversioned), (&json!("FieldValueInvalid"), &json!("metadata.resourceVersion")));

        let mut change = first.clone();
        change["spec"]["town"] = json!("Bonn");
        let second = http.expect(200, "PUT", &path, change.clone()).await;
        assert!(version(&second) > version(&first));
        let stale = http.expect(409, "PUT", &path, change.clone()).await;
        assert_eq!(stale["reason"], "Conflict");

        let mut other = second.clone();
        other["metadata"]["uid"] = json!("another");
        assert_eq!(http.expect(409, "PUT", &path, other).await["reason"], "Conflict");
        let mut renamed = second;
        renamed["metadata"]["name"] = json!("b");
        http.expect(400, "PUT", &path, renamed).await;
    });
}

#[test]
fn built_in_kinds_take_a_put_without_version_but_leases() {
    on_any_server(|http| async move {
        let config = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"text": text}});
        let configs = "/api/v1/namespaces/default/configmaps";
        http.expect(201, "POST", configs, config("a")).await;
        http.expect(200, "PUT", &named(configs, "c"), config("b")).await;
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}});
        let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
        http.expect(201, "POST", leases, lease.clone()).await;
        http.expect(422, "PUT", &named(leases, "l"), lease).await;
    });
}

#[test]
fn patches_hold_what_they_state() {
    on_any_server(|http| async move {
        let path = named(SHOPS, "a");
        let made = http.expect(201, "POST", SHOPS, shop("a")).await;
        let (uid, old) = (&made["metadata"]["uid"], &made["metadata"]["resourceVersion"]);
        let change = |metadata: Value| json!({"metadata": metadata, "spec": {"town": "Bonn"}});
        http.expect(422, "PATCH", &path, change(json!({"uid": "another"}))).await;
        http.expect(200, "PATCH", &path, change(json!({"uid": uid, "resourceVersion": old}))).await;
        let stale = json!({"metadata": {"resourceVersion": old}, "spec": {"town": "Ulm"}});
        assert_eq!(http.expect(409, "PATCH", &path, stale).await["reason"], "Conflict");

        let test = |town: &str| {
            json!([
                {"op": "test", "path": "/spec/town", "value": town},
                {"op": "replace", "path": "/spec/town", "value": "Köln"},
            ])
        };
        http.expect(422, "PATCH", &path, test("Ulm")).await;
        assert_eq!(http.expect(200, "PATCH", &path, test("Bonn")).await["spec"]["town"], "Köln");
        http.expect(400, "PATCH", &path, json!({"metadata": {"name": "b"}})).await;
        let (code, _) = http.send_as("PATCH", &path, "application/strategic-merge-patch+json", "*/*", json!({})).await;
        assert_eq!(code, 415);
    });
}

#[test]
fn a_uid_in_a_status_patch_of_a_custom_resource_is_no_guard() {
    on_any_server(|http| async move {
        http.expect(201, "POST", SHOPS, shop("a")).await;
        http.expect(201, "POST", PODS, pod("p")).await;
        let patch = json!({"metadata": {"uid": "another"}, "status": {"message": "hi"}});
        http.expect(200, "PATCH", &named(SHOPS, "a/status"), patch.clone()).await;
        http.expect(422, "PATCH", &named(PODS, "p/status"), patch).await;
    });
}

#[test]
fn status_and_spec_are_written_apart() {
    on_any_server(|http| async move {
        let path = named(SHOPS, "a");
        http.expect(201, "POST", SHOPS, shop("a")).await;
        let both = json!({
            "metadata": {"labels": {"a": "b"}}, "spec": {"town": "Bonn"}, "status": {"open": true},
        });
        let status = http.expect(200, "PATCH", &format!("{path}/status"), both.clone()).await;
        assert_eq!(status["status"], json!({"open": true}));
        assert_eq!((&status["spec"]["town"], &status["metadata"]["labels"]), (&json!("Ulm"), &NONE));
        assert_eq!(status["metadata"]["generation"], 1, "a status is no new wish");

        let shut = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"town": "Bonn"}, "status": {"open": false}});
        let main = http.expect(200, "PATCH", &path, shut).await;
        assert_eq!(main["status"], json!({"open": true}));
        assert_eq!((&main["spec"]["town"], &main["metadata"]["generation"]), (&json!("Bonn"), &json!(2)));
        let labels = http.expect(200, "PATCH", &path, json!({"metadata": {"labels": {"a": "c"}}})).await;
        assert_eq!(labels["metadata"]["generation"], 2, "metadata is no new wish");
        assert_eq!(http.get(&format!("{path}/status")).await, labels);
    });
}

#[test]
fn writes_that_change_nothing_move_nothing() {
    on_any_server(|http| async move {
        let made = http.expect(201, "POST", SHOPS, shop("a")).await;
        let path = named(SHOPS, "a");
        let same = [
            http.expect(200, "PUT", &path, made.clone()).await,
            http.expect(200, "PATCH", &path, json!({"spec": {"town": "Ulm"}})).await,
            http.expect(200, "PATCH", &path, json!({"metadata": {"labels": {}, "finalizers": []}})).await,
            http.expect(200, "PATCH", &path, json!({"metadata": {"generation": 9, "creationTimestamp": null}})).await,
            http.expect(200, "PATCH", &path, json!({"status": {"open": true}})).await,
            http.expect(200, "PATCH", &format!("{path}/status"), json!({"spec": {"town": "Bonn"}})).await,
        ];
        assert!(same.iter().all(|answer| *answer == made), "{same:#?}");
        assert_eq!(http.get(&path).await, made);
    });
}

#[test]
fn deletion_preconditions() {
    on_any_server(|http| async move {
        let made = http.expect(201, "POST", SHOPS, shop("a")).await;
        let path = named(SHOPS, "a");
        for wrong in [json!({"uid": "another"}), json!({"resourceVersion": "1"})] {
            let answer = http.expect(409, "DELETE", &path, json!({"preconditions": wrong})).await;
            assert_eq!(answer["reason"], "Conflict");
        }
        let right = json!({"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]});
        let gone = http.expect(200, "DELETE", &path, json!({"preconditions": right})).await;
        assert_eq!((&gone["status"], &gone["details"]["uid"]), (&json!("Success"), &made["metadata"]["uid"]));
        http.expect(404, "GET", &path, NONE).await;
    });
}

#[test]
fn finalizers_hold_an_object() {
    on_any_server(|http| async move {
        let path = named(SHOPS, "a");
        let mut wanted = shop("a");
        wanted["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
        http.expect(201, "POST", SHOPS, wanted).await;
        let ending = http.expect(200, "DELETE", &path, NONE).await;
        assert!(ending["metadata"]["deletionTimestamp"].is_string());
        assert_eq!(ending["metadata"]["generation"], 2);
        assert_eq!(http.expect(200, "DELETE", &path, NONE).await, ending, "once is enough");

        http.expect(422, "PATCH", &path, json!({"metadata": {"finalizers": ["example.com/a", "example.com/c"]}})).await;
        let spared = http.expect(200, "PATCH", &path, json!({"metadata": {"deletionTimestamp": null}})).await;
        assert_eq!(spared, ending, "nothing calls a deletion off");
        http.expect(200, "PATCH", &path, json!({"metadata": {"finalizers": ["example.com/b"]}})).await;
        http.expect(200, "PATCH", &path, json!({"metadata": {"finalizers": null}})).await;
        http.expect(404, "GET", &path, NONE).await;
    });
}

#[test]
#[should_panic(expected = "kooper-sim does not simulate reading the subresource `scale`")]
fn what_is_not_simulated_fails_a_run() {
    run(1, |sim| async move {
        Http::new(&sim).send("GET", &named(SHOPS, "a/scale"), NONE).await;
    });
}

#[test]
fn what_is_not_simulated_is_loud() {
    let sim = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(
        async {
            let sim = kooper_sim::Sim::new(1);
            let http = Http::new(&sim);
            http.expect(201, "POST", SHOPS, shop("a")).await;
            let path = named(SHOPS, "a");
            http.expect(501, "DELETE", &path, json!({"propagationPolicy": "Orphan"})).await;
            http.expect(501, "PATCH", &format!("{path}?fieldValidation=Strict"), json!({})).await;
            http.expect(501, "GET", &format!("{path}/scale"), NONE).await;
            let table = "application/json;as=Table;g=meta.k8s.io;v=v1";
            assert_eq!(http.send_as("GET", &path, "", table, NONE).await.0, 501);
            assert_eq!(http.send_as("PATCH", &path, "application/apply-patch+yaml", "*/*", json!({})).await.0, 501);
            sim
        },
    );
    let failures = sim.failures();
    assert_eq!(failures.len(), 5, "{failures:#?}");
    assert!(failures[0].contains("`tester` sent `DELETE"), "{}", failures[0]);
}
