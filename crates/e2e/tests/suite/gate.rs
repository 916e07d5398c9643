//! The gate: a pod that asks for a ticket is held back from the scheduler, and no other pod is touched.
//!
//! It has two forms, which must do the same: a policy inside the API server, and a webhook.

use anyhow::{Result, ensure};
use e2e::Case;
use e2e::objects::{self, Size};
use k8s_openapi::api::core::v1::Pod;
use korder_api::{TicketPhase, names};
use kube::api::PostParams;

use crate::suite::Suite;
use crate::until::{order_is_ready, pod_is_bound, ticket_is};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(pods_that_ask_are_gated_once);
    suite.add(pods_that_do_not_ask_are_untouched);
    suite.add(a_dry_run_leaves_nothing_behind);
}

fn gates(pod: &Pod) -> Vec<&str> {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.map(|gate| gate.name.as_str()).collect()
}

pub(crate) async fn pods_that_ask_are_gated_once(case: &Case) -> Result<()> {
    let asks = |name: &str| objects::claimant(name, "shelf", SIZE);
    let by_order = {
        let mut pod = asks("by-order");
        pod.metadata.annotations.get_or_insert_default().remove(names::ANNOTATION_REQUIRED);
        pod
    };
    let by_required = {
        let mut pod = asks("by-required");
        pod.metadata.annotations.get_or_insert_default().remove(names::ANNOTATION_ORDER);
        pod
    };
    let table = [
        (asks("plain"), vec![names::GATE]),
        (by_order, vec![names::GATE]),
        (by_required, vec![names::GATE]),
        (objects::gated(asks("by-hand-too"), names::GATE), vec![names::GATE]),
        (objects::gated(asks("others-too"), "example.com/quota"), vec!["example.com/quota", names::GATE]),
    ];
    for (pod, wanted) in table {
        let made = case.create(&pod).await?;
        ensure!(gates(&made) == wanted, "{:?} has the gates {:?}", made.metadata.name, gates(&made));
    }
    Ok(())
}

pub(crate) async fn pods_that_do_not_ask_are_untouched(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let mut pod = case.pod("plain", SIZE);
    pod.metadata.annotations = Some([("example.com/note".to_owned(), "mine".to_owned())].into());
    let made = case.create(&pod).await?;
    ensure!(gates(&made).is_empty(), "the pod has the gates {:?}", gates(&made));
    ensure!(made.metadata.annotations == pod.metadata.annotations, "{:?}", made.metadata.annotations);
    ensure!(made.metadata.labels == pod.metadata.labels, "{:?}", made.metadata.labels);
    pod_is_bound(case, "plain").await?;
    let log = case.pods.log();
    let written = log.events().iter().flat_map(|event| event.object.metadata.managed_fields.iter().flatten());
    let writers: Vec<_> = written.filter_map(|entry| entry.manager.as_deref()).collect();
    let ours = [names::CONTROLLER_FIELD_MANAGER, names::WEBHOOK_NAME];
    ensure!(!writers.iter().any(|writer| ours.contains(writer)), "the pod was written by {writers:?}");
    Ok(())
}

pub(crate) async fn a_dry_run_leaves_nothing_behind(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let shown = case.api::<Pod>().create(&dry_run, &case.claimant("app", "shelf", SIZE)).await?;
    ensure!(gates(&shown) == [names::GATE], "the dry run shows the gates {:?}", gates(&shown));
    // A pod that is really made gets the one ticket: the other did not leave a claim.
    case.create(&case.claimant("real", "shelf", SIZE)).await?;
    pod_is_bound(case, "real").await?;
    let ticket = ticket_is(case, "shelf-1", TicketPhase::Used).await?;
    ensure!(ticket.claim().is_some_and(|claim| claim.name == "real"), "{:?}", ticket.claim());
    ensure!(case.pods.log().get("app").is_none(), "there is a pod `app`");
    let log = case.tickets.log();
    let mut holders = log.events().iter().filter_map(|event| event.object.claim());
    ensure!(holders.all(|claim| claim.name == "real"), "the ticket was given to a pod that does not exist");
    Ok(())
}
