//! When nothing happens, nothing is written.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::{self, Size};
use e2e::{Case, Event, Log, Shown as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1 as api;
use korder_api::OrderStatus;
use korder_api::order::RefreshPolicy;
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};

use crate::pods::condition;
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, order_says, pod_is_bound, pod_waits, reason};

/// How long to look on. That nothing happens can be seen in no other way.
const WATCHED: Duration = Duration::from_secs(8);
const NODE: Size = Size { cpu: "2", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(nothing_is_written_once_all_has_settled);
}

/// Orders, tickets and pods in all the states in which they stay, the unhappy ones among them.
async fn settle(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("serving", 1, SIZE)).await?;
    order_is_ready(case, "serving", 1).await?;
    case.create(&case.claimant("served", "serving", SIZE)).await?;
    pod_is_bound(case, "served").await?;
    order_says(case, "serving", "it has refilled", |status| (status.ready, status.used) == (1, 1)).await?;

    let mut complete = case.order("complete", 1, SIZE);
    complete.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    case.create(&complete).await?;
    case.create(&case.claimant("last", "complete", SIZE)).await?;
    pod_is_bound(case, "last").await?;
    let mut paused = case.order("paused", 1, SIZE);
    paused.spec.paused = Some(true);
    case.create(&paused).await?;
    let mut refused = case.order("refused", 1, SIZE);
    let template = refused.spec.template.as_mut().context("an order has a template")?;
    template.spec.priority_class_name = Some("there-is-no-such-class".to_owned());
    case.create(&refused).await?;
    case.create(&case.order("cramped", 2, SIZE)).await?;
    for (order, says) in [
        ("complete", "Complete"),
        ("paused", "Paused"),
        ("refused", "GuardianRefused"),
        ("cramped", "WaitingForCapacity"),
    ] {
        let is = |status: &OrderStatus| reason(&status.conditions).is_some_and(|(_, reason)| reason == says);
        order_says(case, order, &format!("order `{order}` says `{says}`"), is).await?;
    }

    let large = Size { cpu: "1", memory: "1Gi" };
    for (pod, order, size, why) in [
        ("unlucky", "complete", SIZE, "OrderComplete"),
        ("large", "serving", large, "NoTicketFits"),
        ("lost", "nowhere", SIZE, "OrderNotFound"),
    ] {
        case.create(&case.claimant(pod, order, size)).await?;
        pod_waits(case, pod, why).await?;
        // Told after the writes.
        event_tells(case, "Pod", pod, why).await?;
    }
    Ok(())
}

async fn nothing_is_written_once_all_has_settled(case: &Case) -> Result<()> {
    settle(case).await?;
    let seen = (case.orders.log().events().len(), case.tickets.log().events().len(), case.pods.log().events().len());
    let told = case.events.log().events().len();
    tokio::time::sleep(WATCHED).await;
    let written = [
        names(&case.orders.log().events()[seen.0..]),
        names(&case.tickets.log().events()[seen.1..]),
        ours(&case.pods.log(), seen.2),
    ]
    .concat();
    let written = [written, news(&case.events.log().events()[told..])].concat();
    ensure!(written.is_empty(), "in {} s of rest these were written:\n{}", WATCHED.as_secs(), written.join("\n"));
    Ok(())
}

fn names<K: Resource<DynamicType = ()>>(events: &[Event<K>]) -> Vec<String> {
    events.iter().map(|event| format!("{} `{}`", K::kind(&()), event.object.name_any())).collect()
}

/// The pods of which korder's part has changed since; the scheduler writes its own part when it has tried again.
fn ours(log: &Log<Pod>, since: usize) -> Vec<String> {
    let (before, after) = log.events().split_at(since);
    let changed = |event: &&Event<Pod>| {
        let same_pod = |other: &&Event<Pod>| other.object.uid() == event.object.uid();
        let last = before.iter().rfind(same_pod).map(|event| part_of_korder(&event.object));
        last != Some(part_of_korder(&event.object))
    };
    after.iter().filter(changed).map(|event| format!("Pod `{}`", event.object.name_any())).collect()
}

fn part_of_korder(pod: &Pod) -> Value {
    let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.clone());
    let told = condition(pod, korder_api::names::CONDITION_TICKET_BOUND);
    json!([pod.metadata.annotations, pod.metadata.labels, gates, nominated, told])
}

/// What korder has told.
fn news(events: &[Event<api::Event>]) -> Vec<String> {
    let is_ours = |controller: &str| controller.starts_with("korder.dev/");
    let ours = events.iter().filter(|event| event.object.reporting_controller.as_deref().is_some_and(is_ours));
    ours.map(|event| format!("Event: {}", event.object.shown())).collect()
}
