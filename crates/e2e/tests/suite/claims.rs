//! Which pods get a ticket, and what those are told that wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::{self, Size};
use e2e::{Case, Log};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use korder_api::order::RefreshPolicy;
use korder_api::{Order, Ticket, TicketPhase, names};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::pods::{is_gated, node_of, waits_for};
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, order_says, pod_is_bound, pod_waits, ticket_is};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(eight_tickets_serve_eight_of_sixty_four_pods);
    suite.add(the_line_is_by_priority_then_age);
    suite.add(a_pod_with_another_gate_claims_when_that_is_gone);
    suite.add(a_pod_waits_for_an_order_that_does_not_exist_yet);
    suite.add(an_order_serves_its_own_namespace_only);
    suite.add(the_pods_of_a_deployment_claim);
    suite.add(a_new_pod_of_the_same_name_has_its_own_claim);
    suite.add(pods_that_come_and_go_leave_no_claim_behind);
}

/// 8 of 64 pods are served, and 56 are told why not; as tickets come they are served in the order of the line.
async fn eight_tickets_serve_eight_of_sixty_four_pods(case: &Case) -> Result<()> {
    case.add_nodes(1, Size { cpu: "40", memory: "80Gi" }).await?;
    let urgent = case.add_priority_class("urgent", 1000).await?;
    let mut order = case.order("shelf", 8, SIZE);
    order.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    order.spec.paused = Some(true);
    case.create(&order).await?;
    let pod = |number: i32| {
        let mut pod = case.claimant(&format!("app-{number}"), "shelf", SIZE);
        pod.spec.get_or_insert_default().priority_class_name = (number % 8 == 0).then(|| urgent.clone());
        pod
    };
    let pods: Vec<Pod> = (0..64).map(pod).collect();
    let made = try_join_all(pods.iter().map(|pod| case.create(pod))).await?;
    let mut line: Vec<_> = made.iter().map(|pod| (place_in_line(pod), pod.name_any())).collect();
    line.sort();
    let resume = Patch::Merge(json!({"spec": {"paused": false}}));
    case.api::<Order>().patch("shelf", &PatchParams::default(), &resume).await?;
    let apps = |log: &Log<Pod>| -> Vec<Arc<Pod>> {
        log.objects().filter(|pod| pod.name_any().starts_with("app-")).cloned().collect()
    };
    let settled = |log: &Log<Pod>| {
        let (waiting, served): (Vec<_>, Vec<_>) = apps(log).into_iter().partition(|pod| is_gated(pod));
        // While the order still counts its last tickets, those who wait are told `NoTicketReady`.
        let told = waiting.iter().filter(|pod| waits_for(pod).is_some_and(|(why, _)| why == "OrderComplete")).count();
        (served.iter().filter(|pod| node_of(pod).is_some()).count() == 8 && told == 56).then_some(())
    };
    case.pods.until("8 pods run and 56 are told that the order is complete", settled).await?;
    for served in [8, 16, 36, 64] {
        let scale = Patch::Merge(json!({"spec": {"replicas": served}}));
        case.api::<Order>().patch("shelf", &PatchParams::default(), &scale).await?;
        let holders = |log: &Log<Ticket>| {
            let used = log.objects().filter(|ticket| ticket.phase() == TicketPhase::Used);
            let holders: BTreeSet<String> = used.filter_map(|ticket| Some(ticket.claim()?.name.clone())).collect();
            (holders.len() == usize::try_from(served).ok()?).then_some(holders)
        };
        let holders = case.tickets.until(format!("{served} tickets are used by as many pods"), holders).await?;
        let first: BTreeSet<String> = line.iter().take(holders.len()).map(|(_, name)| name.clone()).collect();
        ensure!(holders == first, "served are {holders:?}, and first in line {first:?}");
    }
    let alone = |log: &Log<Pod>| apps(log).iter().all(|pod| !is_gated(pod)).then_some(());
    case.pods.until("nobody waits", alone).await
}

/// Higher priority first, then the older, then by uid; the least is first.
fn place_in_line(pod: &Pod) -> (i32, Option<Time>, Option<String>) {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    (-priority, pod.metadata.creation_timestamp.clone(), pod.uid())
}

async fn the_line_is_by_priority_then_age(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let urgent = case.add_priority_class("urgent", 1000).await?;
    for name in ["older", "younger", "urgent"] {
        let mut pod = case.pod(name, SIZE);
        pod.annotations_mut().insert(names::ANNOTATION_REQUIRED.to_owned(), "true".to_owned());
        if name == "urgent" {
            pod.spec.get_or_insert_default().priority_class_name = Some(urgent.clone());
        }
        case.create(&pod).await?;
        // By then the clock of creation times, which has whole seconds, has moved on.
        pod_waits(case, name, "NoTicketReady").await?;
    }
    for next in ["urgent", "older", "younger"] {
        case.create(&case.ticket(next, SIZE)).await?;
        let used = ticket_is(case, next, TicketPhase::Used).await?;
        let holder = used.claim().map(|claim| claim.name.as_str());
        ensure!(holder == Some(next), "the next ticket went to {holder:?} and not to `{next}`");
    }
    Ok(())
}

async fn a_pod_with_another_gate_claims_when_that_is_gone(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    case.create(&objects::gated(case.claimant("app", "shelf", SIZE), "example.com/quota")).await?;
    let message = pod_waits(case, "app", "OtherGate").await?;
    ensure!(message.contains("`example.com/quota`"), "{message}");
    ticket_is(case, "shelf-1", TicketPhase::Ready).await?;
    // As its owner would: its own gate only.
    let log = case.pods.log().get("app").cloned().context("no pod")?;
    let gates = log.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).context("no gates")?;
    let index = gates.iter().position(|gate| gate.name == "example.com/quota").context("the gate is gone")?;
    let patch: json_patch::Patch =
        serde_json::from_value(json!([{"op": "remove", "path": format!("/spec/schedulingGates/{index}")}]))?;
    case.api::<Pod>().patch("app", &PatchParams::default(), &Patch::<()>::Json(patch)).await?;
    pod_is_bound(case, "app").await?;
    Ok(())
}

async fn a_pod_waits_for_an_order_that_does_not_exist_yet(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let message = pod_waits(case, "app", "OrderNotFound").await?;
    ensure!(message.contains("`shelf`") && message.contains(case.namespace()), "{message}");
    let event = event_tells(case, "Pod", "app", "OrderNotFound").await?;
    ensure!(event.type_.as_deref() == Some("Warning"), "the event is {:?}", event.type_);
    case.create(&case.order("shelf", 1, SIZE)).await?;
    pod_is_bound(case, "app").await?;
    Ok(())
}

async fn an_order_serves_its_own_namespace_only(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let kubectl = case.environment().kubectl().in_namespace("default");
    let name = format!("{}-stranger", case.namespace());
    let stranger = case.claimant(&name, "shelf", SIZE);
    kubectl.apply(&serde_saphyr::to_string(&stranger)?).await?;
    let jsonpath = r#"-o=jsonpath={.status.conditions[?(@.type=="korder.dev/TicketBound")].reason}"#;
    let waits = [
        "wait",
        &format!("pod/{name}"),
        r#"--for=jsonpath={.status.conditions[?(@.type=="korder.dev/TicketBound")].reason}=OrderNotFound"#,
        "--timeout=60s",
    ];
    let waited = kubectl.get(&waits).await;
    let reason = kubectl.get(&["get", "pod", &name, jsonpath]).await;
    kubectl.get(&["delete", "pod", &name, "--now"]).await?;
    waited?;
    ensure!(
        reason? == "OrderNotFound",
        "a pod of another namespace is not told that there is no such order in its own"
    );
    ticket_is(case, "shelf-1", TicketPhase::Ready).await?;
    Ok(())
}

async fn the_pods_of_a_deployment_claim(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    let pod = case.claimant("app", "shelf", SIZE);
    let annotations = pod.metadata.annotations.clone();
    let deployment: Deployment = serde_json::from_value(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "app"}},
            "template": {"metadata": {"labels": {"app": "app"}, "annotations": annotations}, "spec": pod.spec},
        },
    }))?;
    case.create(&deployment).await?;
    // Three pods for two tickets: the third gets the first refill.
    let pods = three_with_tickets(case, &BTreeSet::new()).await?;
    order_says(case, "shelf", "three tickets are used", |status| status.used == 3 && status.ready == 2).await?;
    let victim = pods.first().context("no pod")?;
    case.delete::<Pod>(&victim.0).await?;
    let after = three_with_tickets(case, &pods).await?;
    let new: Vec<_> = after.difference(&pods).collect();
    ensure!(new.len() == 1 && new[0].1 != victim.1, "after `{}` was deleted there is {new:?}", victim.0);
    order_says(case, "shelf", "three tickets are used again", |status| status.used == 3 && status.ready == 2).await?;
    Ok(())
}

/// Three pods of the Deployment are bound with a ticket each, other ones than before; their names and tickets.
async fn three_with_tickets(case: &Case, before: &BTreeSet<(String, String)>) -> Result<BTreeSet<(String, String)>> {
    let bound = |log: &Log<Pod>| {
        let apps = log.objects().filter(|pod| pod.labels().get("app").is_some() && node_of(pod).is_some());
        let ticket = |pod: &Pod| pod.annotations().get(names::ANNOTATION_BOUND_TICKET).cloned();
        let pods: BTreeSet<_> = apps.filter_map(|pod| Some((pod.name_any(), ticket(pod)?))).collect();
        (pods.len() == 3 && pods != *before).then_some(pods)
    };
    case.pods.until("three pods of the Deployment have tickets", bound).await
}

async fn a_new_pod_of_the_same_name_has_its_own_claim(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    pod_waits(case, "app", "OrderNotFound").await?;
    case.delete::<Pod>("app").await?;
    let waiting = case.create(&case.claimant("app", "shelf", SIZE)).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    let bound = pod_is_bound(case, "app").await?;
    ensure!(bound.uid() == waiting.uid(), "another pod `app` is bound");
    let holder = |uid: Option<String>| {
        let of = move |ticket: &Ticket| ticket.claim().map(|claim| claim.uid.clone()) == uid;
        move |log: &Log<Ticket>| log.objects().find(|ticket| ticket.phase() == TicketPhase::Used && of(ticket)).cloned()
    };
    let first = case.tickets.until("the first pod has a ticket", holder(bound.uid())).await?;
    case.delete::<Pod>("app").await?;
    let second = case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let second = case.tickets.until("the second pod has a ticket", holder(second.uid())).await?;
    ensure!(first.name_any() != second.name_any(), "both have `{}`", first.name_any());
    let ended = |log: &Log<Ticket>| log.get(&first.name_any())?.status.as_ref()?.finish_time.as_ref().map(drop);
    case.tickets.until("the ticket of the first has ended with it", ended).await
}

async fn pods_that_come_and_go_leave_no_claim_behind(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 4, SIZE)).await?;
    order_is_ready(case, "shelf", 4).await?;
    let fleeting = async |number: usize| {
        let name = format!("app-{number}");
        case.create(&case.claimant(&name, "shelf", SIZE)).await?;
        // From gone at once to gone after a whole hand-over.
        tokio::time::sleep(std::time::Duration::from_millis(u64::try_from(number)? * 5)).await;
        case.delete::<Pod>(&name).await
    };
    try_join_all((0..40).map(fleeting)).await?;
    let gone = |log: &Log<Pod>| log.objects().all(|pod| !pod.name_any().starts_with("app-")).then_some(());
    case.pods.until("the pods are gone", gone).await?;
    let settled = |log: &Log<Ticket>| {
        let in_phase = |phase| log.objects().filter(|ticket| ticket.phase() == phase).count();
        (in_phase(TicketPhase::Ready) == 4 && in_phase(TicketPhase::Claimed) == 0).then_some(())
    };
    case.tickets.until("four tickets are ready and none is claimed", settled).await?;
    order_says(case, "shelf", "the order counts them", |status| {
        (status.ready, status.claimed, status.used) == (4, 0, 0)
    })
    .await?;
    Ok(())
}
