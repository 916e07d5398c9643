//! Pods that vanish, come again under the same name, lose their gate by hand while a place is promised to them, or that
//! somebody's rule lets nobody write. The simulator does the same at every other stage.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::objects::{Size, refreshed};
use e2e::{Case, Log, Skipped};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use korder_api::order::RefreshPolicy;
use korder_api::{Order, Ticket, TicketPhase, names};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::held::Held;
use crate::pods::is_gated;
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, order_says, pod_is_bound, pod_is_bound_within, pod_waits};

const SIZE: Size = Size::SMALL;
/// A pod that can't be written is left alone for a minute.
const PATIENCE: Duration = Duration::from_mins(3);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(pods_that_are_meddled_with_give_their_tickets_back);
    suite.add(a_pod_that_can_t_be_written_keeps_no_ticket_from_others);
    suite.add(a_guardian_whose_deletion_was_cut_short_goes);
}

async fn pods_that_are_meddled_with_give_their_tickets_back(case: &Case) -> Result<()> {
    case.add_nodes(1, Size { cpu: "8", memory: "16Gi" }).await?;
    case.create(&case.order("shelf", 4, SIZE)).await?;
    order_is_ready(case, "shelf", 4).await?;
    let held = Held::guardians(case).await?;
    let names = ["patient", "deleted", "replaced", "ungated"];
    try_join_all(names.map(|name| case.claimant(name, "shelf", SIZE)).iter().map(|pod| case.create(pod))).await?;
    let promised = |log: &Log<Pod>| {
        let node = |name| log.get(name)?.status.as_ref()?.nominated_node_name.clone();
        names.iter().all(|name| node(name).is_some()).then_some(())
    };
    case.pods.until("all four are promised a place", promised).await?;
    let given: BTreeMap<String, String> = holders(&case.tickets.log());
    ensure!(given.len() == 4, "four pods have {given:?}");

    case.delete::<Pod>("deleted").await?;
    case.delete::<Pod>("replaced").await?;
    let replaced = case.create(&case.claimant("replaced", "shelf", SIZE)).await?;
    let ungate = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
    case.api::<Pod>().patch("ungated", &PatchParams::default(), &ungate).await?;
    // There is room beside the guardians.
    let ungated = pod_is_bound(case, "ungated").await?;
    let given_back = |log: &Log<Ticket>| {
        let now = holders(log);
        given.iter().filter(|(_, name)| *name != "patient").all(|(uid, _)| !now.contains_key(uid)).then_some(())
    };
    case.tickets.until("three tickets are given back", given_back).await?;
    held.let_go().await?;

    let uids = ["patient", "replaced"].map(|name| case.pods.log().get(name).and_then(|pod| pod.uid()));
    ensure!(uids[1] == replaced.uid(), "another pod `replaced` is there");
    let used = |log: &Log<Ticket>| {
        let used = |uid: &Option<String>| {
            let of_pod = |ticket: &Ticket| ticket.claim().map(|claim| &claim.uid) == uid.as_ref();
            log.objects().any(|ticket| ticket.phase() == TicketPhase::Used && of_pod(ticket))
        };
        uids.iter().all(used).then_some(())
    };
    case.tickets.until("those that are there and waited have tickets", used).await?;
    order_says(case, "shelf", "nothing else is claimed", |status| {
        (status.ready, status.claimed, status.used) == (4, 0, 2)
    })
    .await?;
    let log = case.pods.log();
    let ungated = log.get(&ungated.name_any()).context("the pod is gone")?;
    ensure!(!ungated.annotations().contains_key(names::ANNOTATION_BOUND_TICKET), "who took the gate off has a ticket");
    Ok(())
}

async fn a_pod_that_can_t_be_written_keeps_no_ticket_from_others(case: &Case) -> Result<()> {
    case.add_nodes(1, Size { cpu: "8", memory: "16Gi" }).await?;
    case.create(&case.claimant("stubborn", "shelf", SIZE)).await?;
    pod_waits(case, "stubborn", "OrderNotFound").await?;
    let held = Held::pod(case, "stubborn").await?;
    let mut order = case.order("shelf", 1, SIZE);
    order.spec.strategy = Some(refreshed(RefreshPolicy::Never));
    case.create(&order).await?;
    event_tells(case, "Pod", "stubborn", "WriteRefused").await?;
    // It stands before the other in line.
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let app = pod_is_bound(case, "app").await?;
    ensure!(app.annotations().contains_key(names::ANNOTATION_BOUND_TICKET), "the other has no ticket");
    let waits = case.pods.log().get("stubborn").is_some_and(|pod| is_gated(pod));
    ensure!(waits, "who can't be written was let go");
    held.let_go().await?;
    case.api::<Order>()
        .patch("shelf", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 2}})))
        .await?;
    pod_is_bound_within(PATIENCE, case, "stubborn").await.map(drop)
}

/// The names of the pods that tickets are given to, by uid.
fn holders(log: &Log<Ticket>) -> BTreeMap<String, String> {
    log.objects().filter_map(|ticket| ticket.claim()).map(|claim| (claim.uid.clone(), claim.name.clone())).collect()
}

/// The API server writes a deletion down before it removes the pod, and may be left no time for the second: as when whoever
/// asked for it is killed. Simulated nodes leave that as it is.
async fn a_guardian_whose_deletion_was_cut_short_goes(case: &Case) -> Result<()> {
    case.add_nodes(1, Size { cpu: "64", memory: "128Gi" }).await?;
    case.create(&case.order("shelf", GUARDIANS, SIZE)).await?;
    order_is_ready(case, "shelf", GUARDIANS).await?;
    let (mut cut, mut micros) = (None, LEAST_MICROS);
    for number in 1..=GUARDIANS {
        cut = cut_short(case, &names::guardian_name(&format!("shelf-{number}")), &mut micros).await?;
        if cut.is_some() {
            break;
        }
        // The next one needs about as much.
        micros = (micros / 2).max(LEAST_MICROS);
    }
    let Some(left) = cut else { bail!(Skipped("no deletion could be cut short".to_owned())) };
    let gone = |log: &Log<Pod>| log.objects().all(|pod| pod.uid() != Some(left.clone())).then_some(());
    case.pods.until("the guardian is gone", gone).await?;
    order_is_ready(case, "shelf", GUARDIANS).await?;
    let lost = case.tickets.log().events().iter().any(|event| event.object.phase() == TicketPhase::Lost);
    ensure!(!lost, "a ticket was lost");
    Ok(())
}

/// Of so many guardians one is left marked, more likely than not by far.
const GUARDIANS: i32 = 32;
/// How much time the API server is left for a deletion, and how much more the next time: by a tenth, since a server under
/// load needs many times as much.
const LEAST_MICROS: u32 = 500;
const MOST_MICROS: u32 = 500_000;

/// Deletes a pod, and leaves the API server more and more time for it until there is an effect; the uid, if the pod is only
/// marked.
async fn cut_short(case: &Case, name: &str, micros: &mut u32) -> Result<Option<String>> {
    let pods = case.api::<Pod>();
    let before = pods.get(name).await?;
    while *micros < MOST_MICROS {
        let path = format!("/api/v1/namespaces/{}/pods/{name}", case.namespace());
        let uri = format!("{path}?gracePeriodSeconds=0&timeout={micros}us");
        // Most of them fail for want of time; kubectl does not try again by itself, as other clients do.
        case.kubectl().run(&["delete", "--raw", &uri], "").await?;
        match pods.get_opt(name).await?.filter(|pod| pod.uid() == before.uid()) {
            None => return Ok(None),
            Some(pod) if pod.metadata.deletion_timestamp.is_some() => return Ok(pod.uid()),
            Some(_) => *micros += *micros / 10,
        }
    }
    Ok(None)
}
