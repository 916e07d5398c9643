//! Definitions that are applied, waited for and verified.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kooper::{ApplyCrd, Crd, VerifyCrd};
use kooper_sim::{Kind, Sim, run};
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, from_value, json};
use tokio::time::{Instant, sleep};

const NAME: &str = "shelves.example.com";

fn definition(version: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Shelf", "plural": "shelves"},
            "versions": [{"name": version, "served": true, "storage": true}],
        },
    })
}

fn conditions(names_accepted: &str, established: &str) -> Value {
    json!({"conditions": [
        {"type": "NamesAccepted", "status": names_accepted, "message": "`kshelf` is taken"},
        {"type": "Established", "status": established, "message": "not yet"},
    ]})
}

/// A cluster that knows definitions, with one in this state.
fn with_definition(sim: &Sim, version: &str, status: &Value) {
    sim.register(Kind::of::<CustomResourceDefinition>().cluster_scoped());
    let mut definition = definition(version);
    definition["status"] = status.clone();
    sim.create(definition).unwrap();
}

fn verify(client: Client) -> VerifyCrd {
    VerifyCrd::new(client, NAME, ["v1"]).deadline(Duration::from_secs(10))
}

#[test]
fn a_definition_is_waited_for_until_it_is_established() {
    run(1, |sim| async move {
        with_definition(&sim, "v1", &conditions("True", "False"));
        let crd = verify(sim.client("verify"));
        let establish = async {
            sleep(Duration::from_secs(5)).await;
            let api = Api::<CustomResourceDefinition>::all(sim.client("server"));
            let patch = Patch::Merge(json!({"status": conditions("True", "True")}));
            api.patch(NAME, &PatchParams::default(), &patch).await.unwrap();
        };
        let (verified, ()) = tokio::join!(crd.initialize(), establish);
        verified.unwrap();
        assert_eq!(sim.clock().elapsed().as_secs(), 5);
        assert_eq!(crd.name(), NAME);
    });
}

#[test]
fn what_is_wrong_is_said_when_the_time_is_over() {
    for (version, status, problem) in [
        ("v1", conditions("False", "False"), "`NamesAccepted` is `False`: `kshelf` is taken"),
        ("v1", conditions("True", "False"), "`Established` is `False`: not yet"),
        ("v1", json!({}), "`NamesAccepted` is not known yet"),
        ("v2", conditions("True", "True"), "it does not serve version `v1`: another release of it is installed"),
    ] {
        run(2, |sim| async move {
            with_definition(&sim, version, &status);
            let start = Instant::now();
            let error = verify(sim.client("verify")).initialize().await.unwrap_err().to_string();
            assert_eq!(error, format!("the definition `{NAME}` can't be used after 10s: {problem}"));
            assert!(start.elapsed() <= Duration::from_secs(11));
        });
    }
}

#[test]
fn a_definition_that_is_missing_is_named() {
    run(3, |sim| async move {
        sim.register(Kind::of::<CustomResourceDefinition>().cluster_scoped());
        let error = verify(sim.client("verify")).initialize().await.unwrap_err().to_string();
        assert_eq!(error, format!("the definition `{NAME}` can't be used after 10s: it is not installed"));
    });
}

/// An API server that fails once, then takes one definition and establishes it.
fn server(log: Arc<Mutex<Vec<String>>>) -> Client {
    let answer = move |request: Request<Body>| {
        let mut log = log.lock().unwrap();
        log.push(format!("{} {}", request.method(), request.uri()));
        let (code, body) = if log.len() == 1 {
            (503, json!({"kind": "Status", "code": 503, "reason": "ServiceUnavailable", "message": "starting"}))
        } else {
            let mut definition = definition("v1");
            if *request.method() == Method::GET {
                definition["status"] = conditions("True", "True");
            }
            (200, definition)
        };
        let reply = Response::builder().status(code).body(Body::from(serde_json::to_vec(&body).unwrap()));
        std::future::ready(Ok::<_, std::convert::Infallible>(reply.unwrap()))
    };
    Client::new(tower::service_fn(answer), "default")
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_applied_by_force_and_then_verified() {
    let log = Arc::default();
    let definition = from_value(definition("v1")).unwrap();
    let crd = ApplyCrd::new(server(Arc::clone(&log)), definition, "shelves");
    crd.initialize().await.unwrap();
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}?");
    let apply = format!("PATCH {path}&force=true&fieldManager=shelves");
    let log = log.lock().unwrap();
    assert_eq!(log[..2], [apply.clone(), apply]);
    assert!(log[2].starts_with("GET "), "{log:?}");
}
