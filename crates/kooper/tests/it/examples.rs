//! The examples, on a simulated cluster.

use std::time::Duration;

use kooper_sim::{Kind, run};
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{beside, clock, settle};

#[path = "../../examples/echo_pods.rs"]
#[expect(dead_code, reason = "the main of an example")]
mod echo_pods;

#[path = "../../examples/pod_terminator.rs"]
#[expect(dead_code, reason = "the main of an example")]
mod pod_terminator;

fn pod(name: &str, app: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": "shop"}]},
    })
}

#[test]
fn echo_pods_runs_through_all_that_can_happen_to_a_pod() {
    run(1, |sim| async move {
        let scenario = async {
            sim.create(pod("a", "shop")).unwrap();
            settle().await;
            let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(sim.client("user"), "default");
            pods.delete("a", &DeleteParams::default()).await.unwrap();
            settle().await;
        };
        beside(echo_pods::operator(&sim.client("echo")), scenario).await.unwrap();
    });
}

#[test]
fn pod_terminator_keeps_its_period_and_its_minimum() {
    run(2, |sim| async move {
        sim.register(Kind::of::<pod_terminator::PodTerminator>().with_status());
        for name in ["a", "b", "c", "d"] {
            sim.create(pod(name, "shop")).unwrap();
        }
        sim.create(pod("other", "mill")).unwrap();
        sim.create(json!({
            "apiVersion": "kooper.example.com/v1alpha1",
            "kind": "PodTerminator",
            "metadata": {"name": "shop"},
            "spec": {"selector": {"app": "shop"}, "minimum": 2, "periodSeconds": 30},
        }))
        .unwrap();
        let left = || -> Vec<String> {
            let pods = sim.objects("pods");
            pods.iter().map(|pod| pod.value()["metadata"]["name"].as_str().unwrap().to_owned()).collect()
        };
        let client: Client = sim.client("terminator");
        let scenario = async {
            sleep(Duration::from_secs(20)).await;
            assert_eq!(left(), ["b", "c", "d", "other"]);
            sleep(Duration::from_secs(30)).await;
            assert_eq!(left(), ["c", "d", "other"]);
            settle().await;
            assert_eq!(left(), ["c", "d", "other"]);
        };
        beside(pod_terminator::operator(&client, clock(&sim)), scenario).await.unwrap();
        let shop = sim.object("podterminators.kooper.example.com", "default", "shop").unwrap();
        let status = &shop.value()["status"];
        assert_eq!((&status["terminated"], &status["conditions"][0]["reason"]), (&json!(2), &json!("TooFewPods")));
        let notes: Vec<_> = sim.objects("events.events.k8s.io");
        assert_eq!(notes.len(), 2);
        // Two pods, a status and an event for each, and the status that says there are too few: then it is quiet.
        let writes = sim.history().iter().filter(|write| write.actor.as_ref() == "terminator").count();
        assert_eq!(writes, 2 + 2 + 2 + 1);
    });
}
