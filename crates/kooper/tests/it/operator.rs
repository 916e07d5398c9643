//! Operators from beginning to end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kooper::{Cache, Change, Context, Failure, Handler, Key, Operator, Outcome, Resources, handle};
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::{Kind, Sim, run};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, CustomResource, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::{beside, clock, crash_after, settle};

/// Wants as many config maps of its name as it says.
#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug)]
#[kube(group = "example.com", version = "v1", kind = "Shelf", plural = "shelves", namespaced)]
struct ShelfSpec {
    boxes: usize,
}

type Log = Arc<Mutex<Vec<String>>>;

/// Brings about the config maps of a shelf, one write at a time.
struct Shelves {
    client: Client,
    boxes: Cache<ConfigMap>,
    log: Log,
}

const BY_SHELF: &str = "shelf";

impl Handler<Shelf> for Shelves {
    async fn add(&self, _cx: Context, wanted: Arc<Shelf>) -> Result<Outcome, Failure> {
        self.log.lock().unwrap().push(wanted.name_any());
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), "default");
        let there = self.boxes.by_index(BY_SHELF, &wanted.name_any());
        for number in there.len()..wanted.spec.boxes {
            let mut map = ConfigMap::default();
            map.metadata.name = Some(format!("{}-{number}", wanted.name_any()));
            map.metadata.owner_references = wanted.controller_owner_ref(&()).map(|owner| vec![owner]);
            self.boxes.wrote(api.create(&PostParams::default(), &map).await?);
        }
        for extra in there.iter().skip(wanted.spec.boxes) {
            let params = DeleteParams::default()
                .preconditions(kube::api::Preconditions { uid: extra.uid(), resource_version: None });
            api.delete(&extra.name_any(), &params).await?;
            self.boxes.deleted(&Key::of(extra.as_ref()), &extra.uid().unwrap());
        }
        Ok(Outcome::Done)
    }

    async fn delete(&self, _cx: Context, key: Key) -> Result<Outcome, Failure> {
        self.log.lock().unwrap().push(format!("{key} is gone"));
        Ok(Outcome::Done)
    }
}

fn operator(sim: &Sim, client: &Client, log: &Log) -> Operator {
    let shelves = Cache::builder(&Resources::<Shelf>::all(client.clone())).build();
    let boxes = Cache::builder(&Resources::<ConfigMap>::all(client.clone()))
        .index(BY_SHELF, |map| map.owner_references().iter().map(|owner| owner.name.clone()).collect())
        .build();
    let handler = Shelves { client: client.clone(), boxes: boxes.clone(), log: Arc::clone(log) };
    let controller =
        handle("shelves", &shelves, handler).watches(&boxes, Change::owners::<Shelf>).clock(clock(sim)).build();
    Operator::new("shelves").cache(&shelves).cache(&boxes).controller(controller)
}

fn shelf(sim: &Sim, name: &str, boxes: usize) {
    let spec = json!({ "boxes": boxes });
    sim.create(json!({"apiVersion": "example.com/v1", "kind": "Shelf", "metadata": {"name": name}, "spec": spec}))
        .unwrap();
}

fn boxes(sim: &Sim) -> Vec<String> {
    let maps = sim.objects("configmaps");
    maps.iter().map(|map| map.value()["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// A cluster with shelves in it.
fn with_shelves(sim: &Sim) {
    sim.register(Kind::of::<Shelf>());
    shelf(sim, "b", 2);
    shelf(sim, "a", 1);
}

#[test]
fn at_the_start_everything_is_handled_once_and_then_every_change() {
    run(1, |sim| async move {
        with_shelves(&sim);
        let log = Log::default();
        let scenario = async {
            settle().await;
            assert_eq!(boxes(&sim), ["a-0", "b-0", "b-1"]);
            assert_eq!(log.lock().unwrap()[..2], ["a", "b"]);
            log.lock().unwrap().clear();

            let user = sim.client("user");
            let maps = Api::<ConfigMap>::namespaced(user.clone(), "default");
            maps.delete("b-1", &DeleteParams::default()).await.unwrap();
            settle().await;
            assert_eq!(boxes(&sim), ["a-0", "b-0", "b-1"]);

            let shelves = Api::<Shelf>::namespaced(user, "default");
            shelves.delete("a", &DeleteParams::default()).await.unwrap();
            settle().await;
        };
        let operator = operator(&sim, &sim.client("shelves"), &log);
        beside(operator, scenario).await.unwrap();
        let log = log.lock().unwrap();
        assert!(log[..log.len() - 1].iter().all(|name| name == "b"), "{log:?}");
        assert_eq!(log.last().unwrap(), "default/a is gone");
    });
}

#[test]
fn the_same_seed_makes_the_same_run() {
    let digest = |seed| {
        run(seed, |sim| async move {
            with_shelves(&sim);
            let plan = FaultPlan::none()
                .with_seed(seed)
                .with(Requests::writes(), When::Share { per_mille: 300 }, Effect::Conflict)
                .with(Requests::watches(), When::Share { per_mille: 300 }, Effect::CloseAfter { events: 2 });
            let (client, _) = sim.client_with("shelves", plan);
            let operator = operator(&sim, &client, &Log::default());
            beside(operator, settle()).await.unwrap();
            assert_eq!(boxes(&sim), ["a-0", "b-0", "b-1"]);
            sim.digest()
        })
    };
    for seed in 0..10 {
        assert_eq!(digest(seed), digest(seed));
    }
    assert_ne!(digest(0), digest(1));
}

#[test]
fn a_crash_at_any_write_leaves_nothing_undone_after_the_restart() {
    for write in 1..=3 {
        for plan in [FaultPlan::crash_before_write(write), FaultPlan::crash_after_write(write)] {
            run(write, |sim| async move {
                with_shelves(&sim);
                let (client, faults) = sim.client_with("shelves", plan);
                crash_after(operator(&sim, &client, &Log::default()), Duration::from_mins(1)).await;
                assert!(faults.has_crashed());
                beside(operator(&sim, &sim.client("shelves"), &Log::default()), settle()).await.unwrap();
                assert_eq!(boxes(&sim), ["a-0", "b-0", "b-1"]);
            });
        }
    }
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    run(8, |sim| async move {
        with_shelves(&sim);
        let busy = Effect::TooManyRequests { retry_after: Duration::from_secs(30) };
        let plan = FaultPlan::none().with(Requests::writes(), When::Nth(1), busy);
        let (client, _) = sim.client_with("shelves", plan);
        let log = Log::default();
        let scenario = async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            assert_eq!(boxes(&sim), ["b-0", "b-1"]);
            settle().await;
            assert_eq!(boxes(&sim), ["a-0", "b-0", "b-1"]);
        };
        beside(operator(&sim, &client, &log), scenario).await.unwrap();
    });
}

#[test]
fn an_outage_of_hours_stalls_nobody() {
    run(9, |sim| async move {
        with_shelves(&sim);
        let hours = Duration::from_hours(3);
        let outage = When::Between { from: Duration::ZERO, until: hours };
        let down = Effect::Unavailable { retry_after: Duration::from_secs(10) };
        let plan = FaultPlan::none().with(Requests::writes(), outage, down);
        let (client, _) = sim.client_with("shelves", plan);
        let scenario = async {
            tokio::time::sleep(hours).await;
            assert!(boxes(&sim).is_empty());
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(boxes(&sim), ["a-0", "b-0", "b-1"]);
        };
        beside(operator(&sim, &client, &Log::default()), scenario).await.unwrap();
    });
}

#[test]
fn a_closure_is_a_handler() {
    run(10, |sim| async move {
        with_shelves(&sim);
        let shelves = Cache::builder(&Resources::<Shelf>::all(sim.client("shelves"))).build();
        let log = Log::default();
        let seen = Arc::clone(&log);
        let controller = handle("closure", &shelves, move |cx: Context, shelf: Arc<Shelf>| {
            seen.lock().unwrap().push(format!("{} {} {}", shelf.name_any(), shelf.spec.boxes, cx.now()));
            std::future::ready(Ok(Outcome::Done))
        });
        let operator = Operator::new("test").cache(&shelves).controller(controller.clock(clock(&sim)).build());
        beside(operator, settle()).await.unwrap();
        let log = log.lock().unwrap();
        assert!(log[0].starts_with("a 1 2026-01-01T00:00:00.0") && log[1].starts_with("b 2 "), "{log:?}");
    });
}
