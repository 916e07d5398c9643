//! Pods that controllers make: each claims for itself, by uid.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Log};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Ticket, TicketPhase, names};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::pods::node_of;
use crate::suite::Suite;
use crate::until::{order_is_ready, order_says};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(the_pods_of_a_stateful_set_claim);
    suite.add(the_pods_of_a_job_claim);
    suite.add(a_rolling_update_claims_anew);
    suite.add(the_pods_of_a_daemon_set_claim_on_their_nodes);
}

/// A pod template that asks for a ticket of the order `shelf`.
fn template(case: &Case) -> Value {
    let pod = case.claimant("app", "shelf", SIZE);
    json!({"metadata": {"labels": {"app": "app"}, "annotations": pod.metadata.annotations}, "spec": pod.spec})
}

/// Uid, name and ticket of each pod of the application that is bound with one.
fn served(log: &Log<Pod>) -> BTreeSet<(String, String, String)> {
    let bound = log.objects().filter(|pod| pod.labels().get("app").is_some() && node_of(pod).is_some());
    let live = bound.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let ticket = |pod: &Pod| pod.annotations().get(names::ANNOTATION_BOUND_TICKET).cloned();
    live.filter_map(|pod| Some((pod.uid()?, pod.name_any(), ticket(pod)?))).collect()
}

async fn until_served(case: &Case, count: usize) -> Result<BTreeSet<(String, String, String)>> {
    let found = |log: &Log<Pod>| Some(served(log)).filter(|pods| pods.len() == count);
    let pods = case.pods.until(format!("{count} pods have tickets"), found).await?;
    let tickets: BTreeSet<&String> = pods.iter().map(|(.., ticket)| ticket).collect();
    ensure!(tickets.len() == count, "two pods have one ticket: {pods:?}");
    Ok(pods)
}

/// The tickets in use are those of these pods, by uid.
async fn holders_are(case: &Case, pods: &BTreeSet<(String, String, String)>) -> Result<()> {
    let uids: BTreeSet<String> = pods.iter().map(|(uid, ..)| uid.clone()).collect();
    let holders = |log: &Log<Ticket>| {
        let used = log.objects().filter(|ticket| ticket.phase() == TicketPhase::Used);
        let live = used.filter(|ticket| ticket.status.as_ref().is_some_and(|status| status.finish_time.is_none()));
        let holders: BTreeSet<String> = live.filter_map(|ticket| Some(ticket.claim()?.uid.clone())).collect();
        (holders == uids).then_some(())
    };
    case.tickets.until("the tickets in use are theirs", holders).await
}

async fn the_pods_of_a_stateful_set_claim(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    let set: StatefulSet = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "app"},
        "spec": {
            "replicas": 3, "serviceName": "app", "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "app"}}, "template": template(case),
        },
    }))?;
    case.create(&set).await?;
    let first = until_served(case, 3).await?;
    holders_are(case, &first).await?;
    // A new pod of the same name is another one.
    case.delete::<Pod>("app-1").await?;
    let replaced = |log: &Log<Pod>| {
        let pods = served(log);
        (pods.len() == 3 && pods != first).then_some(pods)
    };
    let second = case.pods.until("`app-1` has come again, with a ticket", replaced).await?;
    let of = |pods: &BTreeSet<(String, String, String)>| pods.iter().find(|(_, name, _)| name == "app-1").cloned();
    let (before, after) = (of(&first), of(&second));
    ensure!(
        before.as_ref().map(|(.., ticket)| ticket) != after.as_ref().map(|(.., ticket)| ticket),
        "{before:?} {after:?}"
    );
    holders_are(case, &second).await
}

async fn the_pods_of_a_job_claim(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    let mut template = template(case);
    template["spec"]["restartPolicy"] = json!("Never");
    // A group, as those of a parallel job are.
    template["metadata"]["annotations"]["korder.dev/group"] = json!("ring");
    template["metadata"]["annotations"]["korder.dev/group-size"] = json!("2");
    let job: Job = serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "app"},
        "spec": {"parallelism": 2, "completions": 2, "completionMode": "Indexed", "template": template},
    }))?;
    case.create(&job).await?;
    let pods = until_served(case, 2).await?;
    holders_are(case, &pods).await
}

async fn a_rolling_update_claims_anew(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    let deployment: Deployment = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "app"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template(case),
        },
    }))?;
    case.create(&deployment).await?;
    let before = until_served(case, 3).await?;
    order_says(case, "shelf", "the order has refilled", |status| (status.used, status.ready) == (3, 2)).await?;
    let patch = Patch::Merge(json!({"spec": {"template": {"metadata": {"labels": {"version": "2"}}}}}));
    case.api::<Deployment>().patch("app", &PatchParams::default(), &patch).await?;
    let renewed = |log: &Log<Pod>| {
        let pods = served(log);
        (pods.len() == 3 && pods.is_disjoint(&before)).then_some(pods)
    };
    let after = case.pods.until("three new pods have tickets, and the old are gone", renewed).await?;
    holders_are(case, &after).await?;
    order_says(case, "shelf", "the order has refilled", |status| (status.used, status.ready) == (3, 2)).await?;
    Ok(())
}

/// Its controller names the node of each pod by a required affinity to a field.
async fn the_pods_of_a_daemon_set_claim_on_their_nodes(case: &Case) -> Result<()> {
    let nodes = case.add_nodes(2, Size { cpu: "1", memory: "2Gi" }).await?;
    // With two places a node, each pod has one to choose on its own.
    case.create(&case.order("shelf", 4, SIZE)).await?;
    order_is_ready(case, "shelf", 4).await?;
    let set: DaemonSet = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "app"},
        "spec": {"selector": {"matchLabels": {"app": "app"}}, "template": template(case)},
    }))?;
    case.create(&set).await?;
    let pods = until_served(case, 2).await?;
    holders_are(case, &pods).await?;
    let log = case.pods.log();
    let places: BTreeSet<String> =
        pods.iter().filter_map(|(_, name, _)| Some(node_of(log.get(name)?)?.to_owned())).collect();
    ensure!(places == nodes.into_iter().collect(), "the pods are on {places:?}");
    Ok(())
}
