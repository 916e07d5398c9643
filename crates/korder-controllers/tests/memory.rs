//! What the caches take where there are many tickets.

use std::convert::Infallible;
use std::fs;

use http::{Request, Response};
use kooper::Recorder;
use korder_controllers::Caches;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};

const TICKETS: usize = 10_000;
const NODES: usize = 100;

/// Bytes for each ticket and its guardian: with 10,000 of them and the rest of the program that is within the 64 MiB that
/// the controllers may take (see `docs/benchmarks.md`).
const GOAL: usize = 3500;

#[tokio::test(flavor = "current_thread")]
async fn ready_tickets_and_their_guardians_take_little() {
    let nobody = tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let caches = Caches::new(&Client::new(nobody, "default"), &Recorder::disabled());
    let before = allocated();
    for version in [1, 2] {
        for number in 0..TICKETS {
            caches.tickets.wrote(Deserialize::deserialize(&ticket(number, version)).unwrap());
            caches.pods.wrote(Deserialize::deserialize(&guardian(number, version)).unwrap());
        }
    }
    let each = (allocated() - before) / TICKETS;
    assert_eq!((caches.tickets.list().len(), caches.pods.list().len()), (TICKETS, TICKETS));
    assert!(each <= GOAL, "a ticket and its guardian take {each} bytes");
}

/// What this process has allocated, in bytes.
fn allocated() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("of its memory too");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("in kilobytes") * 1024
}

fn uid(kind: u32, number: usize) -> String {
    format!("{kind:08x}-5f3d-4b1e-9c1c-{number:012x}")
}

fn version_of(number: usize, version: usize) -> String {
    (version * 1_000_000 + number).to_string()
}

/// A ticket as the API server shows it: made (version 1), and ready.
fn ticket(number: usize, version: usize) -> Value {
    let node = format!("node-{}", number % NODES);
    let ready = json!({
        "phase": "Ready", "observedGeneration": 1, "nodeName": node, "guardianName": format!("shelf-{number}-guardian"),
        "readyTime": "2026-11-21T08:00:00Z", "expirationTime": "2026-11-21T09:00:00Z",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Held", "message": format!("node `{node}` holds the place"),
            "lastTransitionTime": "2026-11-21T08:00:00Z", "observedGeneration": 1,
        }],
    });
    let fields = json!({"f:status": {"f:conditions": {"f:type": {}, "f:status": {}}, "f:phase": {}, "f:nodeName": {}}});
    json!({
        "apiVersion": "core.korder.dev/v1alpha1", "kind": "Ticket",
        "metadata": {
            "name": format!("shelf-{number}"), "namespace": "default", "uid": uid(1, number), "generation": 1,
            "resourceVersion": version_of(number, version), "creationTimestamp": "2026-11-21T08:00:00Z",
            "labels": {"korder.dev/order": "shelf"},
            "ownerReferences": [{
                "apiVersion": "core.korder.dev/v1alpha1", "kind": "Order", "name": "shelf", "uid": uid(0, 0),
                "controller": true, "blockOwnerDeletion": false,
            }],
            "managedFields": [{
                "manager": "korder-controller", "operation": "Update", "apiVersion": "core.korder.dev/v1alpha1",
                "time": "2026-11-21T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields,
            }],
        },
        "spec": {"duration": "1h", "resources": {"requests": {"cpu": "1", "memory": "4Gi"}}},
        "status": if version > 1 { ready } else { Value::Null },
    })
}

/// Its guardian: made (version 1), and running.
fn guardian(number: usize, version: usize) -> Value {
    let running = version > 1;
    let ticket = format!("shelf-{number}");
    let condition =
        |type_: &str| json!({"type": type_, "status": "True", "lastTransitionTime": "2026-11-21T08:00:00Z"});
    json!({
        "metadata": {
            "name": format!("{ticket}-guardian"), "namespace": "default", "uid": uid(2, number),
            "resourceVersion": version_of(number, version), "creationTimestamp": "2026-11-21T08:00:00Z", "generation": 1,
            "labels": {
                "korder.dev/role": "guardian", "korder.dev/ticket": ticket, "korder.dev/order": "shelf",
            },
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "true", "linkerd.io/inject": "disabled",
                "sidecar.istio.io/inject": "false",
            },
            "ownerReferences": [{
                "apiVersion": "core.korder.dev/v1alpha1", "kind": "Ticket", "name": ticket, "uid": uid(1, number),
                "controller": true, "blockOwnerDeletion": false,
            }],
        },
        "spec": {
            "nodeName": running.then(|| format!("node-{}", number % NODES)),
            "schedulerName": "default-scheduler", "priority": 0, "priorityClassName": "korder-guardian-0",
            "containers": [{
                "name": "guardian", "image": "registry.k8s.io/pause:3.10.1",
                "resources": {"requests": {"cpu": "1", "memory": "4Gi"}},
            }],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        },
        "status": {
            "phase": if running { "Running" } else { "Pending" },
            "conditions": if running { json!([condition("PodScheduled"), condition("Ready")]) } else { json!([]) },
            "containerStatuses": [],
        },
    })
}
