//! The embedded cluster as others use it: one control plane, from empty to stopped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use cluster::{Cluster, NodeTemplate};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

/// Bound of each wait here; on an idle machine all take milliseconds.
const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_from_empty_to_stopped() {
    let nodes = [
        NodeTemplate::new("plain").label("node-type", "compute").allocatable("cpu", "2"),
        NodeTemplate::new("tainted").taint("example.com/own", "", "NoSchedule"),
    ];
    let cluster = Cluster::temporary(&nodes, |progress| eprintln!("{progress}")).await.unwrap();
    let data_dir = cluster.data_dir().path().to_owned();

    let found = Api::<Node>::all(cluster.client()).list(&ListParams::default()).await.unwrap();
    let cpus = found.items.iter().map(|node| node.status.clone().unwrap().allocatable.unwrap()["cpu"].0.clone());
    assert_eq!(cpus.collect::<Vec<_>>(), ["2", "8"]);

    pods_run_and_take_their_grace_period_to_go(&cluster).await;
    pods_of_the_host_are_not_ready(&cluster).await;
    admission_policies_are_served(&cluster).await;
    cluster.kill_scheduler().unwrap();
    run_pod(&cluster, "after-the-scheduler-was-killed", json!({}), 0).await;

    let cluster = cluster.kill_and_resume().await.unwrap();
    run_pod(&cluster, "after-everything-was-killed", json!({}), 0).await;
    assert!(pod(&cluster, "after-the-scheduler-was-killed").await.is_some(), "what was there is there");

    // Again the same nodes: nothing changes.
    cluster.ensure_nodes(&nodes).await.unwrap();
    cluster.stop().await.unwrap();
    assert!(!data_dir.exists());
}

async fn pods_run_and_take_their_grace_period_to_go(cluster: &Cluster) {
    run_pod(cluster, "graceful", json!({}), 2).await;
    run_pod(cluster, "forced", json!({}), 60).await;
    let pods = pods(cluster);
    pods.delete("forced", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(pod(cluster, "forced").await.is_none(), "without grace a pod goes at once");

    let deleted = Instant::now();
    pods.delete("graceful", &DeleteParams::default()).await.unwrap();
    until("the pod is gone", async || pod(cluster, "graceful").await.is_none()).await;
    // The API server cuts the time of the deletion to whole seconds.
    assert!(deleted.elapsed() > Duration::from_secs(1), "gone after {:?}", deleted.elapsed());
}

async fn pods_of_the_host_are_not_ready(cluster: &Cluster) {
    let annotations = json!({"korder.dev/runs-on": "host"});
    run_pod(cluster, "host", annotations, 0).await;
    run_pod(cluster, "simulated", json!({}), 0).await;
    assert_eq!(ready(&pod(cluster, "host").await.unwrap()).as_deref(), Some("False"));
    assert_eq!(ready(&pod(cluster, "simulated").await.unwrap()).as_deref(), Some("True"));
}

async fn admission_policies_are_served(cluster: &Cluster) {
    let served = cluster.client().list_api_group_resources("admissionregistration.k8s.io/v1").await.unwrap();
    for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
        assert!(served.resources.iter().any(|resource| resource.kind == kind), "{kind}");
    }
    // And writes go through all of admission.
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "written"}})).unwrap();
    Api::namespaced(cluster.client(), "default").create(&PostParams::default(), &map).await.unwrap();
}

/// Creates a pod and waits until it runs.
async fn run_pod(cluster: &Cluster, name: &str, annotations: serde_json::Value, grace_period_secs: i64) {
    let pod_object: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": grace_period_secs,
            "containers": [{"name": "main", "image": "none"}],
        },
    }))
    .unwrap();
    pods(cluster).create(&PostParams::default(), &pod_object).await.unwrap();
    until("the pod runs", async || {
        let status = pod(cluster, name).await.and_then(|pod| pod.status);
        status.and_then(|status| status.phase).as_deref() == Some("Running")
    })
    .await;
}

fn pods(cluster: &Cluster) -> Api<Pod> {
    Api::namespaced(cluster.client(), "default")
}

async fn pod(cluster: &Cluster, name: &str) -> Option<Pod> {
    pods(cluster).get_opt(name).await.unwrap()
}

fn ready(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.clone())
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < TIMEOUT, "not within {TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
