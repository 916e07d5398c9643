//! Groups: pods that claim all or nothing.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use e2e::objects::{self, Size};
use e2e::{Case, Log};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use korder_api::order::RefreshPolicy;
use korder_api::{Order, Ticket, TicketPhase};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::pods::{node_of, waits_for};
use crate::suite::Suite;
use crate::until::{order_is_ready, order_says, pod_is_bound, pod_waits, ticket_is};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_group_takes_all_its_tickets_or_none);
    suite.add(a_member_that_is_replaced_joins_its_group);
    suite.add(groups_that_fight_for_tickets_are_served_whole);
}

fn member(case: &Case, name: &str, group: &str, size: &str) -> Pod {
    let asks = [("order", "shelf"), ("group", group), ("group-size", size)];
    objects::asking(case.pod(name, SIZE), &asks)
}

async fn scale(case: &Case, replicas: i32) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    case.api::<Order>().patch("shelf", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Whether a ticket of the test was ever given to a pod.
fn was_claimed(case: &Case) -> bool {
    let log = case.tickets.log();
    log.events().iter().any(|event| event.object.claim().is_some())
}

async fn a_group_takes_all_its_tickets_or_none(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let mut order = case.order("shelf", 2, SIZE);
    order.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    case.create(&order).await?;
    order_is_ready(case, "shelf", 2).await?;
    for name in ["a", "b"] {
        case.create(&member(case, name, "ring", "3")).await?;
    }
    // When the second is told, after a moment, both are there.
    let message = pod_waits(case, "b", "GroupIncomplete").await?;
    ensure!(message.contains("2 of its 3 pods are here"), "{message}");
    case.create(&member(case, "c", "ring", "3")).await?;
    for name in ["a", "b", "c"] {
        let message = pod_waits(case, name, "NoTicketReady").await?;
        ensure!(message.starts_with("group `ring` takes all its tickets or none: no ticket of order"), "{message}");
    }
    ensure!(!was_claimed(case), "a group of three claims of two tickets");
    scale(case, 3).await?;
    for name in ["a", "b", "c"] {
        pod_is_bound(case, name).await?;
    }
    order_says(case, "shelf", "three tickets are used", |status| status.used == 3).await?;
    Ok(())
}

async fn a_member_that_is_replaced_joins_its_group(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    for name in ["a", "b"] {
        case.create(&member(case, name, "ring", "2")).await?;
    }
    for name in ["a", "b"] {
        pod_is_bound(case, name).await?;
    }
    order_says(case, "shelf", "the order has refilled", |status| (status.used, status.ready) == (2, 2)).await?;
    case.delete::<Pod>("b").await?;
    case.create(&member(case, "b-again", "ring", "2")).await?;
    pod_is_bound(case, "b-again").await?;
    // The group is whole: one more is the first of another.
    case.create(&member(case, "c", "ring", "2")).await?;
    let message = pod_waits(case, "c", "GroupIncomplete").await?;
    ensure!(message.contains("1 of its 2 pods are here"), "{message}");
    Ok(())
}

/// Four groups of four, tickets that come one after the other: at no time is a place given up for a pod of a group of which
/// not all have tickets.
async fn groups_that_fight_for_tickets_are_served_whole(case: &Case) -> Result<()> {
    case.add_nodes(2, Size { cpu: "4", memory: "8Gi" }).await?;
    let groups = ["north", "east", "south", "west"];
    let pods: Vec<Pod> = (0..16).map(|n| member(case, &format!("{}-{n}", groups[n % 4]), groups[n % 4], "4")).collect();
    try_join_all(pods.iter().map(|pod| case.create(pod))).await?;
    let mut order = case.order("shelf", 3, SIZE);
    order.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    case.create(&order).await?;
    for replicas in [7, 11, 16] {
        scale(case, replicas).await?;
        let served = usize::try_from(replicas / 4 * 4)?;
        let bound = |log: &Log<Pod>| {
            let bound = log.objects().filter(|pod| is_member(pod) && node_of(pod).is_some());
            let by_group: Vec<String> = bound.map(|pod| group_of(pod)).collect();
            let whole: BTreeSet<&String> = by_group.iter().collect();
            (by_group.len() == served && whole.len() == served / 4).then_some(())
        };
        case.pods.until(format!("{served} pods of whole groups are bound"), bound).await?;
    }
    let used = |log: &Log<Ticket>| log.objects().filter(|ticket| ticket.phase() == TicketPhase::Used).count();
    case.tickets.until("16 tickets are used", |log| (used(log) == 16).then_some(())).await?;
    ensure!(ticket_is(case, "shelf-1", TicketPhase::Used).await?.claim().is_some(), "`shelf-1` has no holder");
    case.pods.until("nobody waits", |log| log.objects().all(|pod| waits_for(pod).is_none()).then_some(())).await
}

fn is_member(pod: &Pod) -> bool {
    pod.annotations().contains_key("korder.dev/group")
}

fn group_of(pod: &Pod) -> String {
    pod.annotations().get("korder.dev/group").cloned().unwrap_or_default()
}
