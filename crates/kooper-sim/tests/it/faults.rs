//! Faults between a client and its API server.

use std::time::Duration;

use futures::StreamExt as _;
use kooper_sim::fault::{Effect, FaultPlan, Faults, Requests, When};
use kooper_sim::{Sim, Verb, run};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::http::shops;

fn api(client: Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client, &kind())
}

fn kind() -> ApiResource {
    shops().api
}

fn setup(sim: &Sim, plan: FaultPlan) -> (Api<DynamicObject>, Faults) {
    sim.register(shops());
    let (client, faults) = sim.client_with("broken", plan);
    (api(client), faults)
}

async fn create(api: &Api<DynamicObject>, name: &str) -> kube::Result<DynamicObject> {
    api.create(&PostParams::default(), &DynamicObject::new(name, &kind()).data(json!({"spec": {}}))).await
}

fn code(result: kube::Result<DynamicObject>) -> u16 {
    match result.unwrap_err() {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

fn names(sim: &Sim) -> Vec<String> {
    let objects = sim.objects("shops.example.com");
    objects.iter().map(|object| object.value()["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_crash_before_a_write_leaves_no_trace() {
    run(1, |sim| async move {
        let (api, faults) = setup(&sim, FaultPlan::crash_before_write(2));
        create(&api, "a").await.unwrap();
        assert!(!faults.has_crashed());
        let second = timeout(Duration::from_mins(10), create(&api, "b"));
        let (second, ()) = tokio::join!(biased; second, faults.crashed());
        assert!(second.is_err(), "the request never ends");
        assert_eq!((names(&sim), faults.has_crashed(), faults.writes()), (vec!["a".to_owned()], true, 2));
        let later = timeout(Duration::from_mins(10), api.list(&ListParams::default())).await;
        assert!(later.is_err(), "nor does any later one");
    });
}

#[test]
fn a_crash_after_a_write_leaves_the_write() {
    run(1, |sim| async move {
        let (api, faults) = setup(&sim, FaultPlan::crash_after_write(1));
        assert!(timeout(Duration::from_mins(10), create(&api, "a")).await.is_err());
        faults.crashed().await;
        assert_eq!(names(&sim), ["a"]);
    });
}

#[test]
fn other_requests_under_way_die_with_the_client() {
    run(1, |sim| async move {
        let (api, faults) = setup(&sim, FaultPlan::crash_before_write(2));
        let limit = Duration::from_mins(10);
        let both = tokio::join!(biased; timeout(limit, create(&api, "a")), timeout(limit, create(&api, "b")));
        assert!(both.0.is_err() && both.1.is_err());
        assert!(faults.has_crashed());
    });
}

#[test]
fn a_lost_reply_hides_a_write() {
    run(1, |sim| async move {
        let plan = FaultPlan::none().with(Requests::writes(), When::Nth(1), Effect::LoseReply);
        let (api, _) = setup(&sim, plan);
        assert!(matches!(create(&api, "a").await, Err(kube::Error::Service(_))));
        assert_eq!(names(&sim), ["a"]);
        assert_eq!(code(create(&api, "a").await), 409);
    });
}

#[test]
fn refusals_write_nothing() {
    run(1, |sim| async move {
        let wait = Duration::from_secs(7);
        let plan = FaultPlan::none()
            .with(Requests::writes(), When::Nth(1), Effect::Conflict)
            .with(Requests::writes(), When::Nth(2), Effect::TooManyRequests { retry_after: wait })
            .with(Requests::writes(), When::Nth(3), Effect::Unavailable { retry_after: wait })
            .with(Requests::verbs(&[Verb::List]), When::Always, Effect::Expired);
        let (api, faults) = setup(&sim, plan);
        assert_eq!(code(create(&api, "a").await), 409);
        let Err(kube::Error::Api(status)) = create(&api, "a").await else { panic!("it should be refused") };
        assert_eq!((status.code, status.details.unwrap().retry_after_seconds), (429, 7));
        assert_eq!(code(create(&api, "a").await), 503);
        create(&api, "a").await.unwrap();
        assert!(matches!(api.list(&ListParams::default()).await, Err(kube::Error::Api(status)) if status.code == 410));
        assert_eq!([0, 1, 2, 3].map(|fault| faults.struck(fault)), [1, 1, 1, 1]);
    });
}

#[test]
fn faults_choose_their_requests() {
    run(1, |sim| async move {
        let plan = FaultPlan::none()
            .with(
                Requests::verbs(&[Verb::Patch]).of("shops.example.com").subresource("status"),
                When::Nth(2),
                Effect::Conflict,
            )
            .with(Requests::all().named("b").subresource(""), When::Always, Effect::Conflict);
        let (api, _) = setup(&sim, plan);
        create(&api, "a").await.unwrap();
        create(&api, "b").await.unwrap();
        let open = |open: bool| Patch::Merge(json!({"status": {"open": open}, "spec": {"open": open}}));
        let params = PatchParams::default();
        api.patch("a", &params, &open(true)).await.unwrap();
        api.patch_status("a", &params, &open(true)).await.unwrap();
        assert_eq!(code(api.patch_status("b", &params, &open(true)).await), 409);
        api.patch_status("b", &params, &open(true)).await.unwrap();
        assert_eq!(code(api.patch("b", &params, &open(true)).await), 409);
        assert_eq!(code(api.get("b").await), 409);
        api.get("a").await.unwrap();
    });
}

#[test]
fn a_share_is_a_share_and_spans_end() {
    run(1, |sim| async move {
        let span = When::Between { from: Duration::from_mins(1), until: Duration::from_mins(2) };
        let plan = FaultPlan::none()
            .with(Requests::verbs(&[Verb::Get]), When::Share { per_mille: 250 }, Effect::Conflict)
            .with(Requests::writes(), span, Effect::Conflict)
            .with_seed(5);
        let (api, faults) = setup(&sim, plan);
        create(&api, "a").await.unwrap();
        for _ in 0..400 {
            api.get("a").await.ok();
        }
        assert!((70..130).contains(&faults.struck(0)), "{}", faults.struck(0));
        tokio::time::sleep_until(Instant::now() + Duration::from_mins(1)).await;
        assert_eq!(code(create(&api, "b").await), 409);
        tokio::time::sleep(Duration::from_mins(1)).await;
        create(&api, "b").await.unwrap();
    });
}

/// What a watch shows of three objects made one second apart, and how many seconds after its start.
async fn watch(sim: &Sim, effect: Effect) -> Vec<String> {
    let (broken, _) = setup(sim, FaultPlan::none().with(Requests::watches(), When::Nth(1), effect));
    let whole = api(sim.client("whole"));
    let start = Instant::now();
    let see = async {
        let mut seen = Vec::new();
        let mut events = broken.watch(&WatchParams::default().timeout(60), "0").await.unwrap().boxed();
        while let Some(event) = events.next().await {
            let seconds = start.elapsed().as_secs();
            seen.push(match event.unwrap() {
                WatchEvent::Added(object) => format!("{} {seconds}", object.metadata.name.unwrap()),
                WatchEvent::Error(status) => format!("{} {seconds}", status.code),
                WatchEvent::Bookmark(_) => continue,
                other => format!("{other:?}"),
            });
        }
        seen.push(format!("end {}", start.elapsed().as_secs()));
        seen
    };
    let make = async {
        for name in ["a", "b", "c"] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            create(&whole, name).await.unwrap();
        }
    };
    tokio::join!(biased; see, make).0
}

#[test]
fn watches_freeze_break_and_expire() {
    run(1, |sim| async move {
        let frozen = watch(&sim, Effect::Freeze { length: Duration::from_secs(10) }).await;
        assert_eq!(frozen, ["a 10", "b 10", "c 10", "end 60"]);
    });
    run(1, |sim| async move {
        assert_eq!(watch(&sim, Effect::CloseAfter { events: 2 }).await, ["a 1", "b 2", "end 2"]);
    });
    run(1, |sim| async move {
        assert_eq!(watch(&sim, Effect::ExpireAfter { events: 1 }).await, ["a 1", "410 1", "end 1"]);
    });
    run(1, |sim| async move {
        let (api, _) = setup(&sim, FaultPlan::none().with(Requests::watches(), When::Always, Effect::Expired));
        let refused = api.watch(&WatchParams::default(), "0").await.err().unwrap();
        assert!(matches!(refused, kube::Error::Api(status) if status.code == 410));
    });
}
