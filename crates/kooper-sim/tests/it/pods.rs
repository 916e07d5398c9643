//! The API server's rules for pods.

use kooper_sim::run;
use serde_json::{Value, json};

use crate::http::{Http, PODS, idle_pod as pod, on_any_server};

const NONE: Value = Value::Null;
const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";

fn path(name: &str) -> String {
    format!("{PODS}/{name}")
}

fn gated(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["schedulingGates"] = json!([{"name": "example.com/gate"}]);
    pod
}

fn binding(name: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}})
}

#[test]
fn new_pods_are_completed() {
    on_any_server(|http| async move {
        let mut wanted = pod("p");
        wanted["status"] = json!({"phase": "Running"});
        wanted["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
        wanted["spec"]["affinity"] = NONE;
        let made = http.expect(201, "POST", PODS, wanted).await;
        assert_eq!((&made["status"]["phase"], &made["status"]["conditions"]), (&json!("Pending"), &NONE));
        let usual = http.expect(201, "POST", PODS, crate::http::pod("usual")).await;
        assert_eq!(usual["spec"]["schedulerName"], "default-scheduler");
        assert_eq!(made["spec"]["terminationGracePeriodSeconds"], 30);
        assert_eq!(made["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
        assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
        assert_eq!((&made["spec"]["priority"], &made["metadata"]["generation"]), (&json!(0), &json!(1)));
        assert!(!made["spec"].as_object().unwrap().contains_key("affinity"), "null is absent");
        let gated = http.expect(201, "POST", PODS, gated("g")).await;
        assert_eq!(gated["status"]["conditions"][0]["reason"], "SchedulingGated");
    });
}

fn class(name: &str, value: i64, default: bool) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
        "value": value, "globalDefault": default, "preemptionPolicy": "Never",
    })
}

#[test]
fn priority_comes_from_the_class() {
    on_any_server(|http| async move {
        http.send("POST", CLASSES, class("kooper-sim-high", 100, false)).await;
        let mut wanted = pod("a");
        wanted["spec"]["priorityClassName"] = json!("kooper-sim-high");
        let made = http.expect(201, "POST", PODS, wanted.clone()).await;
        assert_eq!((&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]), (&json!(100), &json!("Never")));
        wanted["metadata"]["name"] = json!("b");
        wanted["spec"]["priority"] = json!(5);
        http.expect(403, "POST", PODS, wanted.clone()).await;
        wanted["spec"]["priorityClassName"] = json!("none");
        http.expect(403, "POST", PODS, wanted).await;
    });
}

#[test]
fn there_may_be_a_default_class() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        sim.create(class("usual", 7, true)).unwrap();
        let made = http.expect(201, "POST", PODS, pod("p")).await;
        assert_eq!((&made["spec"]["priorityClassName"], &made["spec"]["priority"]), (&json!("usual"), &json!(7)));
    });
}

#[test]
fn a_pods_spec_hardly_changes() {
    on_any_server(|http| async move {
        http.expect(201, "POST", PODS, pod("p")).await;
        http.expect(201, "POST", PODS, gated("g")).await;
        let spec = |change: Value| json!({"spec": change});
        for forbidden in [
            json!({"nodeName": "n"}),
            json!({"priority": 5}),
            json!({"containers": [{"name": "other", "image": "pause"}]}),
            json!({"nodeSelector": {"a": "b"}}),
            json!({"schedulingGates": [{"name": "example.com/late"}]}),
        ] {
            http.expect(422, "PATCH", &path("p"), spec(forbidden)).await;
        }
        let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "other"}]);
        assert_eq!(http.expect(200, "PATCH", &path("p"), image).await["metadata"]["generation"], 2);
        let intolerant = http.expect(200, "PATCH", &path("p"), spec(json!({"tolerations": []}))).await;
        assert_eq!(intolerant["spec"]["tolerations"].as_array().unwrap().len(), 2, "they come back");
        let toleration = json!([{"op": "add", "path": "/spec/tolerations/-", "value": {"operator": "Exists"}}]);
        http.expect(200, "PATCH", &path("p"), toleration).await;

        http.expect(200, "PATCH", &path("g"), spec(json!({"nodeSelector": {"a": "b"}}))).await;
        http.expect(422, "PATCH", &path("g"), spec(json!({"nodeSelector": {"a": "c"}}))).await;
        let other = json!({"schedulingGates": [{"name": "example.com/gate"}, {"name": "example.com/late"}]});
        http.expect(422, "PATCH", &path("g"), spec(other)).await;
        let ungate = json!([
            {"op": "test", "path": "/spec/schedulingGates/0/name", "value": "example.com/gate"},
            {"op": "remove", "path": "/spec/schedulingGates/0"},
        ]);
        let open = http.expect(200, "PATCH", &path("g"), ungate.clone()).await;
        assert_eq!(open["spec"]["schedulingGates"], NONE, "an empty list is absent");
        http.expect(422, "PATCH", &path("g"), ungate).await;

        let mut bound = gated("b");
        bound["spec"]["nodeName"] = json!("n");
        http.expect(422, "POST", PODS, bound).await;
        http.expect(422, "POST", PODS, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "e"}})).await;
    });
}

#[test]
fn status_patches_may_touch_labels_but_no_owners() {
    on_any_server(|http| async move {
        http.expect(201, "POST", PODS, pod("p")).await;
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u"});
        let patch = json!({
            "metadata": {"labels": {"a": "b"}, "ownerReferences": [owner]},
            "spec": {"nodeName": "n"},
            "status": {"nominatedNodeName": "n"},
        });
        let patched = http.expect(200, "PATCH", &path("p/status"), patch).await;
        assert_eq!(
            (&patched["metadata"]["labels"]["a"], &patched["metadata"]["ownerReferences"]),
            (&json!("b"), &NONE)
        );
        assert_eq!((&patched["spec"]["nodeName"], &patched["status"]["nominatedNodeName"]), (&NONE, &json!("n")));
        assert_eq!(patched["metadata"]["generation"], 1);
        let cleared = http.expect(200, "PATCH", &path("p/status"), json!({"status": {"nominatedNodeName": ""}})).await;
        assert_eq!(cleared["status"]["nominatedNodeName"], NONE);
    });
}

#[test]
fn binding_gives_a_pod_its_node_once() {
    on_any_server(|http| async move {
        let made = http.expect(201, "POST", PODS, pod("p")).await;
        http.expect(200, "PATCH", &path("p/status"), json!({"status": {"nominatedNodeName": "m"}})).await;
        let mut other = binding("p", "n");
        other["metadata"]["uid"] = json!("another");
        http.expect(409, "POST", &path("p/binding"), other).await;
        http.expect(400, "POST", &path("p/binding"), binding("q", "n")).await;
        let mut right = binding("p", "n");
        right["metadata"]["uid"] = made["metadata"]["uid"].clone();
        let answer = http.expect(201, "POST", &path("p/binding"), right).await;
        assert_eq!((&answer["kind"], &answer["status"]), (&json!("Status"), &json!("Success")));
        let bound = http.get(&path("p")).await;
        assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["generation"]), (&json!("n"), &json!(1)));
        assert_eq!(bound["status"]["nominatedNodeName"], NONE);
        let condition = &bound["status"]["conditions"][0];
        assert_eq!((&condition["type"], &condition["status"]), (&json!("PodScheduled"), &json!("True")));
        http.expect(409, "POST", &path("p/binding"), binding("p", "o")).await;
        http.expect(201, "POST", PODS, gated("g")).await;
        http.expect(409, "POST", &path("g/binding"), binding("g", "n")).await;
        http.expect(404, "POST", &path("x/binding"), binding("x", "n")).await;
    });
}

#[test]
fn a_bound_pod_ends_gracefully() {
    on_any_server(|http| async move {
        http.expect(201, "POST", PODS, pod("unbound")).await;
        assert_eq!(http.expect(200, "DELETE", &path("unbound"), NONE).await["kind"], "Pod");
        http.expect(404, "GET", &path("unbound"), NONE).await;

        http.expect(201, "POST", PODS, pod("p")).await;
        http.expect(201, "POST", &path("p/binding"), binding("p", "n")).await;
        let ending = http.expect(200, "DELETE", &path("p"), NONE).await;
        assert!(ending["metadata"]["deletionTimestamp"].is_string());
        assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(ending["metadata"]["generation"], 2);
        assert_eq!(http.expect(200, "DELETE", &path("p"), json!({"gracePeriodSeconds": 60})).await, ending);
        let sooner = http.expect(200, "DELETE", &path("p"), json!({"gracePeriodSeconds": 10})).await;
        assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 10);
        assert!(sooner["metadata"]["deletionTimestamp"].as_str() < ending["metadata"]["deletionTimestamp"].as_str());
        http.expect(409, "POST", &path("p/binding"), binding("p", "o")).await;
        http.expect(200, "PATCH", &path("p"), json!({"metadata": {"labels": {"a": "b"}}})).await;
        http.expect(200, "DELETE", &path("p"), json!({"gracePeriodSeconds": 0})).await;
        http.expect(404, "GET", &path("p"), NONE).await;
    });
}

#[test]
fn finalizers_outlast_the_grace_period() {
    on_any_server(|http| async move {
        let mut wanted = pod("p");
        wanted["metadata"]["finalizers"] = json!(["example.com/a"]);
        http.expect(201, "POST", PODS, wanted).await;
        http.expect(201, "POST", &path("p/binding"), binding("p", "n")).await;
        http.expect(200, "DELETE", &path("p"), NONE).await;
        let held = http.expect(200, "DELETE", &path("p"), json!({"gracePeriodSeconds": 0})).await;
        assert_eq!(held["metadata"]["deletionGracePeriodSeconds"], 0);
        http.expect(200, "PATCH", &path("p"), json!({"metadata": {"finalizers": null}})).await;
        http.expect(404, "GET", &path("p"), NONE).await;
    });
}

#[test]
fn eviction_deletes() {
    on_any_server(|http| async move {
        http.expect(201, "POST", PODS, pod("p")).await;
        http.expect(201, "POST", &path("p/binding"), binding("p", "n")).await;
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
        http.expect(201, "POST", &path("p/eviction"), eviction).await;
        assert!(http.get(&path("p")).await["metadata"]["deletionTimestamp"].is_string());
    });
}
