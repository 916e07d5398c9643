//! Caches against an API server and its faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kooper::{Cache, Change, Context, Controller, ControllerBuilder, Key, Operator, Outcome, Resources, Stop};
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::{Sim, run};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{beside, config_map, settle};

type Maps = Cache<ConfigMap>;

fn maps(client: &Client) -> Maps {
    Cache::builder(&Resources::all(client.clone())).build()
}

fn api(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn key(name: &str) -> Key {
    Key::namespaced("default", name)
}

/// An operator that only keeps `cache`, and notes every change in `log`.
fn keeper(cache: &Maps, log: &Arc<Mutex<Vec<String>>>) -> Operator {
    let log = Arc::clone(log);
    let idle = |_cx: Context, _key: Key| async { Ok(Outcome::Done) };
    let controller = ControllerBuilder::new("idle", idle).watches(cache, move |change: &Change<ConfigMap>| {
        let name = change.latest().unwrap().name_any();
        let what = match (&change.old, &change.new) {
            (None, Some(_)) => "new",
            (Some(_), Some(_)) => "changed",
            (_, None) => "gone",
        };
        log.lock().unwrap().push(format!("{name} {what}"));
        change.keys()
    });
    Operator::new("keeper").cache(cache).controller(controller.build())
}

fn names(cache: &Maps) -> Vec<String> {
    cache.list().iter().map(|map| map.name_any()).collect()
}

/// Name and version of everything in the cache, and on the server.
fn both(cache: &Maps, sim: &Sim) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let cached = cache.list().iter().map(|map| (map.name_any(), map.resource_version().unwrap())).collect();
    let there = sim.objects("configmaps");
    let there = there.iter().map(|object| {
        let meta = &object.value()["metadata"];
        (meta["name"].as_str().unwrap().to_owned(), meta["resourceVersion"].as_str().unwrap().to_owned())
    });
    (cached, there.collect())
}

#[test]
fn a_cache_has_what_is_there_and_follows_it() {
    run(1, |sim| async move {
        sim.create(config_map("b", &json!({}))).unwrap();
        sim.create(config_map("a", &json!({}))).unwrap();
        let cache = maps(&sim.client("cache"));
        let log = Arc::default();
        let scenario = async {
            assert!(!cache.is_ready());
            cache.ready().await;
            assert_eq!(names(&cache), ["a", "b"]);
            let api = api(&sim.client("user"));
            sim.create(config_map("c", &json!({}))).unwrap();
            api.delete("a", &DeleteParams::default()).await.unwrap();
            let patch = Patch::Merge(json!({"data": {"x": "y"}}));
            api.patch("b", &PatchParams::default(), &patch).await.unwrap();
            settle().await;
            assert_eq!(names(&cache), ["b", "c"]);
            assert_eq!(cache.get(&key("b")).unwrap().data.as_ref().unwrap()["x"], "y");
            assert_eq!(cache.get(&key("a")), None);
        };
        beside(keeper(&cache, &log), scenario).await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["a new", "b new", "c new", "a gone", "b changed"]);
    });
}

#[test]
fn a_cache_keeps_maps_and_finds_as_it_was_told() {
    run(2, |sim| async move {
        for (name, town) in [("a", "york"), ("b", "york"), ("c", "bath"), ("d", "none")] {
            sim.create(config_map(name, &json!({"town": town, "ballast": "much"}))).unwrap();
        }
        let town = |map: &ConfigMap| map.data.as_ref().and_then(|data| data.get("town").cloned());
        let cache = Cache::builder(&Resources::<ConfigMap>::all(sim.client("cache")))
            .keep(move |map| town(map).as_deref() != Some("none"))
            .map(|mut map| {
                map.data.iter_mut().for_each(|data| data.retain(|name, _| name == "town"));
                map
            })
            .index("town", move |map| town(map).into_iter().collect())
            .build();
        let in_town =
            |name: &str| -> Vec<String> { cache.by_index("town", name).iter().map(|map| map.name_any()).collect() };
        let scenario = async {
            cache.ready().await;
            assert_eq!((in_town("york"), in_town("none")), (vec!["a".into(), "b".into()], vec![]));
            assert_eq!(cache.get(&key("a")).unwrap().data.as_ref().unwrap().len(), 1);
            let api = api(&sim.client("user"));
            for (name, town) in [("a", "bath"), ("c", "none"), ("d", "york")] {
                let patch = Patch::Merge(json!({"data": {"town": town}}));
                api.patch(name, &PatchParams::default(), &patch).await.unwrap();
            }
            settle().await;
            assert_eq!((in_town("york"), in_town("bath")), (vec!["b".into(), "d".into()], vec!["a".into()]));
            assert_eq!(names(&cache), ["a", "b", "d"]);
        };
        beside(keeper(&cache, &Arc::default()), scenario).await.unwrap();
    });
}

#[test]
fn whatever_happens_to_its_watch_a_cache_ends_with_what_is_there() {
    let minute = Duration::from_mins(1);
    let mut struck = [0; 5];
    for seed in 0..20 {
        let plan = FaultPlan::none()
            .with_seed(seed)
            .with(Requests::watches(), When::Share { per_mille: 200 }, Effect::CloseAfter { events: 3 })
            .with(Requests::watches(), When::Share { per_mille: 200 }, Effect::ExpireAfter { events: 2 })
            .with(Requests::watches(), When::Share { per_mille: 200 }, Effect::Freeze { length: minute / 4 })
            .with(Requests::all(), When::Share { per_mille: 200 }, Effect::Unavailable { retry_after: minute / 60 })
            .with(Requests::all(), When::Share { per_mille: 100 }, Effect::LoseReply);
        let faults = run(seed, |sim| async move {
            let (client, faults) = sim.client_with("cache", plan);
            // Watches end every few seconds, so that there are many for the faults to strike.
            let retriever = Resources::all(client).with_config(watcher::Config::default().timeout(5));
            let cache = Cache::builder(&retriever).build();
            let log = Arc::default();
            let scenario = async {
                let api = api(&sim.client("user"));
                for step in 0..200_u64 {
                    let name = format!("m{}", step * 7 % 11);
                    // Errors are part of it: a deletion of what is not there, a second creation.
                    let _outcome = match (step * 13 + seed) % 3 {
                        0 => api.delete(&name, &DeleteParams::default()).await.is_ok(),
                        1 => {
                            let map = serde_json::from_value(config_map(&name, &json!({}))).unwrap();
                            api.create(&PostParams::default(), &map).await.is_ok()
                        }
                        _ => {
                            let patch = Patch::Merge(json!({"data": {"step": step.to_string()}}));
                            api.patch(&name, &PatchParams::default(), &patch).await.is_ok()
                        }
                    };
                    tokio::time::sleep(Duration::from_millis(step * 37 % 2000)).await;
                }
                settle().await;
                settle().await;
            };
            beside(keeper(&cache, &log), scenario).await.unwrap();
            let (cached, there) = both(&cache, &sim);
            assert_eq!(cached, there);
            assert!(!there.is_empty());
            faults
        });
        struck.iter_mut().enumerate().for_each(|(index, struck)| *struck += faults.struck(index));
    }
    assert!(struck.iter().all(|struck| *struck > 50), "faults that never struck test nothing: {struck:?}");
}

#[test]
fn own_writes_are_read_at_once_however_late_the_watch_is() {
    run(3, |sim| async move {
        let frozen = Effect::Freeze { length: Duration::from_mins(1) };
        let (client, _) = sim.client_with("cache", FaultPlan::none().with(Requests::watches(), When::Always, frozen));
        let cache = maps(&client);
        let log = Arc::default();
        let scenario = async {
            cache.ready().await;
            let api = api(&client);
            let map = serde_json::from_value(config_map("a", &json!({}))).unwrap();
            let created = api.create(&PostParams::default(), &map).await.unwrap();
            let uid = created.uid().unwrap();
            cache.wrote(created);
            assert_eq!(names(&cache), ["a"]);
            api.delete("a", &DeleteParams::default()).await.unwrap();
            cache.deleted(&key("a"), &uid);
            assert!(names(&cache).is_empty());
            settle().await;
            assert!(names(&cache).is_empty());
        };
        beside(keeper(&cache, &log), scenario).await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["a new", "a gone"]);
    });
}

#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = ConfigMap)]
struct Shelf {
    metadata: ObjectMeta,
    data: ShelfData,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
struct ShelfData {
    holds: String,
}

#[test]
fn an_object_that_cannot_be_read_stops_nobody_else() {
    run(4, |sim| async move {
        sim.create(config_map("broken", &json!({"hold": "typo"}))).unwrap();
        sim.create(config_map("good", &json!({"holds": "jam"}))).unwrap();
        let cache = Cache::builder(&Resources::<Shelf>::all(sim.client("cache")))
            .index("holds", |shelf| {
                assert_ne!(shelf.data.holds, "dynamite");
                vec![shelf.data.holds.clone()]
            })
            .build();
        let holds = |name: &str| cache.get(&key(name)).map(|shelf| shelf.data.holds.clone());
        let scenario = async {
            cache.ready().await;
            assert_eq!((holds("good"), holds("broken")), (Some("jam".into()), None));
            assert_eq!(cache.unreadable(), [key("broken")]);
            let api = api(&sim.client("user"));
            let put = async |name: &str, data| {
                let patch = Patch::Merge(json!({ "data": data }));
                api.patch(name, &PatchParams::default(), &patch).await.unwrap();
                settle().await;
            };
            put("broken", json!({"holds": "tea"})).await;
            assert_eq!((holds("broken"), cache.unreadable()), (Some("tea".into()), vec![]));
            // An index that panics is no better than an object that can't be decoded.
            put("good", json!({"holds": "dynamite"})).await;
            assert_eq!((holds("good"), cache.unreadable()), (Some("jam".into()), vec![key("good")]));
            put("good", json!({"holds": "salt"})).await;
            assert_eq!((holds("good"), cache.unreadable()), (Some("salt".into()), vec![]));
        };
        let idle = |_cx: Context, _key: Key| async { Ok(Outcome::Done) };
        let controller = ControllerBuilder::new("idle", idle).reads(&cache).build();
        beside(Operator::new("test").cache(&cache).controller(controller), scenario).await.unwrap();
    });
}

#[test]
fn a_mapping_that_panics_costs_only_its_own_controller_the_change() {
    run(5, |sim| async move {
        sim.create(config_map("a", &json!({}))).unwrap();
        let cache = maps(&sim.client("cache"));
        let log = Arc::default();
        let idle = |_cx: Context, _key: Key| async { Ok(Outcome::Done) };
        let panics = ControllerBuilder::new("panics", idle).watches(&cache, |_| panic!("of a mapping")).build();
        let operator = keeper(&cache, &log).controller(panics);
        beside(operator, settle()).await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["a new"]);
    });
}

#[test]
fn a_cache_runs_only_once() {
    run(6, |sim| async move {
        let cache = maps(&sim.client("cache"));
        let (_stopper, stop) = Stop::pair();
        let mut first = Box::new(cache.clone()).run(stop.clone());
        assert!(futures::poll!(&mut first).is_pending());
        let second = timeout(Duration::from_mins(1), Box::new(cache).run(stop)).await;
        let error = second.expect("it runs").unwrap_err();
        assert_eq!(error.to_string(), "the cache of `ConfigMap` runs already: add it to one operator only");
    });
}

#[test]
fn who_comes_late_is_told_of_what_is_there() {
    run(7, |sim| async move {
        sim.create(config_map("a", &json!({}))).unwrap();
        let cache = maps(&sim.client("cache"));
        let (early, late) = (Arc::default(), Arc::default());
        let scenario = async {
            cache.ready().await;
            let _controller = keeper(&cache, &late);
        };
        beside(keeper(&cache, &early), scenario).await.unwrap();
        assert_eq!(*late.lock().unwrap(), ["a new"]);
    });
}
