//! Kubernetes events as they arrive.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kooper::{Event, EventType, Operator, Recorder, Reporter};
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::{Sim, run};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{beside, clock, settle};

fn recorder(sim: &Sim, client: Client) -> Recorder {
    let reporter = Reporter { controller: "example.com/shelves".into(), instance: "shelves-0".into() };
    Recorder::new(client, reporter, clock(sim))
}

fn shelf(name: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("example.com/v1".into()),
        kind: Some("Shelf".into()),
        namespace: Some("default".into()),
        name: Some(name.into()),
        uid: Some(format!("uid-of-{name}")),
        ..ObjectReference::default()
    }
}

fn event(note: impl Into<String>) -> Event {
    Event { type_: EventType::Warning, reason: "TooFull".into(), action: "Fill".into(), note: note.into() }
}

fn events(sim: &Sim) -> Vec<Value> {
    sim.objects("events.events.k8s.io").iter().map(|event| event.value().clone()).collect()
}

fn notes(sim: &Sim) -> Vec<String> {
    events(sim).iter().map(|event| event["note"].as_str().unwrap().to_owned()).collect()
}

/// Runs `scenario` with what sends the recorder's events.
async fn with_sender(recorder: &Recorder, scenario: impl Future<Output = ()>) {
    let operator = Operator::new("test").controller(recorder.controller().unwrap());
    beside(operator, scenario).await.unwrap();
}

#[test]
fn an_event_says_everything_that_the_api_requires() {
    run(1, |sim| async move {
        let recorder = recorder(&sim, sim.client("events"));
        let scenario = async {
            recorder.publish(&shelf("a"), event("No place for `a-7`."));
            let node = ObjectReference { namespace: None, kind: Some("Node".into()), ..shelf("n1") };
            recorder.publish(&node, event("No place at all."));
            sleep(Duration::from_secs(1)).await;
        };
        with_sender(&recorder, scenario).await;
        let [on_shelf, on_node] = events(&sim).try_into().unwrap();
        for (field, value) in [
            ("type", json!("Warning")),
            ("reason", json!("TooFull")),
            ("action", json!("Fill")),
            ("note", json!("No place for `a-7`.")),
            ("eventTime", json!("2026-01-01T00:00:00.000000Z")),
            ("reportingController", json!("example.com/shelves")),
            ("reportingInstance", json!("shelves-0")),
            ("series", Value::Null),
            ("deprecatedCount", Value::Null),
        ] {
            assert_eq!(on_shelf[field], value, "{field}");
        }
        assert_eq!(on_shelf["regarding"]["uid"], "uid-of-a");
        assert!(on_shelf["metadata"]["name"].as_str().unwrap().starts_with("a."));
        assert_eq!(on_shelf["metadata"]["namespace"], "default");
        assert_eq!(on_node["metadata"]["namespace"], "default", "events of cluster-scoped objects are there");
    });
}

#[test]
fn repetitions_are_counted_in_the_first_event_and_written_seldom() {
    run(2, |sim| async move {
        let recorder = recorder(&sim, sim.client("events"));
        let scenario = async {
            for _ in 0..200 {
                recorder.publish(&shelf("a"), event("No place."));
                sleep(Duration::from_millis(500)).await;
            }
            settle().await;
        };
        with_sender(&recorder, scenario).await;
        let [event] = events(&sim).try_into().unwrap();
        assert_eq!(event["series"]["count"], 200);
        assert_eq!(event["series"]["lastObservedTime"], "2026-01-01T00:01:39.500000Z");
        let writes = sim.history().iter().filter(|write| write.is_of("events.events.k8s.io")).count();
        assert_eq!(writes, 5, "one at once, then one every 30 s");
    });
}

#[test]
fn after_a_pause_it_is_a_new_event() {
    run(3, |sim| async move {
        let recorder = recorder(&sim, sim.client("events"));
        let scenario = async {
            recorder.publish(&shelf("a"), event("No place."));
            sleep(Duration::from_mins(7)).await;
            recorder.publish(&shelf("a"), event("No place."));
            settle().await;
        };
        with_sender(&recorder, scenario).await;
        assert_eq!(notes(&sim), ["No place.", "No place."]);
    });
}

#[test]
fn one_object_cannot_drown_the_others() {
    run(4, |sim| async move {
        let recorder = recorder(&sim, sim.client("events"));
        let scenario = async {
            for number in 0..100 {
                recorder.publish(&shelf("a"), event(format!("Story {number}.")));
            }
            recorder.publish(&shelf("b"), event("No place."));
            sleep(Duration::from_mins(6)).await;
            assert_eq!(events(&sim).len(), 26);
            assert_eq!(recorder.dropped(), 75);
            recorder.publish(&shelf("a"), event("The first after five minutes."));
            recorder.publish(&shelf("a"), event("The second."));
            settle().await;
        };
        with_sender(&recorder, scenario).await;
        assert_eq!(events(&sim).len(), 27);
        assert_eq!(recorder.dropped(), 76);
    });
}

#[test]
fn a_lost_answer_makes_no_second_event() {
    run(5, |sim| async move {
        let plan = FaultPlan::none().with(Requests::writes(), When::Nth(1), Effect::LoseReply);
        let (client, faults) = sim.client_with("events", plan);
        let recorder = recorder(&sim, client);
        let scenario = async {
            recorder.publish(&shelf("a"), event("No place."));
            settle().await;
        };
        with_sender(&recorder, scenario).await;
        assert_eq!(notes(&sim), ["No place."]);
        assert_eq!((recorder.dropped(), faults.writes()), (0, 2));
    });
}

#[test]
fn what_is_refused_is_dropped_and_counted() {
    run(6, |sim| async move {
        let until = When::Between { from: Duration::ZERO, until: Duration::from_mins(2) };
        let plan = FaultPlan::none().with(Requests::writes(), until, Effect::Expired);
        let recorder = recorder(&sim, sim.client_with("events", plan).0);
        let scenario = async {
            recorder.publish(&shelf("a"), event("Never told."));
            sleep(Duration::from_mins(3)).await;
            assert_eq!(recorder.dropped(), 1);
            recorder.publish(&shelf("a"), event("Told."));
            settle().await;
        };
        with_sender(&recorder, scenario).await;
        assert_eq!(notes(&sim), ["Told."]);
    });
}

#[test]
fn an_outage_only_delays_events() {
    run(8, |sim| async move {
        let down = Effect::Unavailable { retry_after: Duration::from_secs(1) };
        let until = When::Between { from: Duration::ZERO, until: Duration::from_mins(10) };
        let plan = FaultPlan::none().with(Requests::writes(), until, down);
        let recorder = recorder(&sim, sim.client_with("events", plan).0);
        let scenario = async {
            recorder.publish(&shelf("a"), event("Told late."));
            sleep(Duration::from_mins(12)).await;
        };
        with_sender(&recorder, scenario).await;
        assert_eq!(notes(&sim), ["Told late."]);
        assert_eq!(recorder.dropped(), 0);
    });
}

#[test]
fn long_texts_are_cut_to_what_the_api_takes() {
    run(7, |sim| async move {
        let recorder = recorder(&sim, sim.client("events"));
        let scenario = async {
            recorder.publish(&shelf(&"n".repeat(253)), event("ü".repeat(1000)));
            sleep(Duration::from_secs(1)).await;
        };
        with_sender(&recorder, scenario).await;
        let [event] = events(&sim).try_into().unwrap();
        assert_eq!(event["note"].as_str().unwrap().len(), 1024);
        assert_eq!(event["metadata"]["name"].as_str().unwrap().len(), 253);
    });
}

#[test]
fn a_disabled_recorder_is_harmless() {
    let recorder = Recorder::disabled();
    recorder.publish(&shelf("a"), event("No place."));
    assert!(recorder.controller().is_none());
    assert_eq!(recorder.dropped(), 0);
}
