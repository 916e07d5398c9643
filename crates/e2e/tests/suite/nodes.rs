//! Nodes that go.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Log};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Ticket, TicketPhase, names};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::held::Held;
use crate::load::{self, AT_ONCE, Load, claims};
use crate::pods::node_of;
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, pod_is_bound, pod_is_bound_within};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;
/// A node that a guardian has just been bound to is believed to be there for a while.
const PATIENCE: Duration = Duration::from_mins(2);
/// Kubernetes takes most of a minute to notice that a kubelet is silent, and korder leaves the node a minute later.
const SILENCE: Duration = Duration::from_mins(4);
/// Once in so many claims a node goes in the middle of one, in three ways in turn.
const CLAIMS_PER_NODE: usize = 10;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_ticket_outlives_its_node);
    suite.add(a_drain_is_not_held_up_and_tickets_move);
    suite.add(a_node_that_falls_silent_is_left);
    suite.add(a_claim_whose_node_is_deleted_ends_on_another);
    suite.add(a_claim_whose_node_is_cordoned_ends_on_another);
    suite.add(nodes_go_under_load);
}

/// All tickets are ready on this node.
async fn all_are_on(case: &Case, node: &str, count: usize) -> Result<()> {
    let on_node = |ticket: &Ticket| {
        let place = ticket.status.as_ref().and_then(|status| status.node_name.as_deref());
        ticket.phase() == TicketPhase::Ready && place == Some(node)
    };
    let found = |log: &Log<Ticket>| {
        let there = log.objects().filter(|ticket| on_node(ticket)).count();
        (there == count && log.objects().count() == count).then_some(())
    };
    case.tickets.until_within(PATIENCE, format!("{count} tickets are ready on node `{node}`"), found).await
}

async fn a_ticket_outlives_its_node(case: &Case) -> Result<()> {
    let first = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.order("shelf", 2, SIZE)).await?;
    all_are_on(case, &first, 2).await?;
    let names: Vec<String> = case.tickets.log().objects().map(|ticket| ticket.name_any()).collect();
    let second = case.add_nodes(1, NODE).await?.remove(0);
    case.remove_node(&first).await?;
    all_are_on(case, &second, 2).await?;
    let now: Vec<String> = case.tickets.log().objects().map(|ticket| ticket.name_any()).collect();
    ensure!(names == now, "{names:?} became {now:?}");
    event_tells(case, "Ticket", "shelf-1", "GuardianGone").await?;
    order_is_ready(case, "shelf", 2).await?;
    Ok(())
}

async fn a_drain_is_not_held_up_and_tickets_move(case: &Case) -> Result<()> {
    let first = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.order("shelf", 2, SIZE)).await?;
    all_are_on(case, &first, 2).await?;
    let second = case.add_nodes(1, NODE).await?.remove(0);
    case.kubectl().get(&["drain", &first, "--timeout=30s"]).await?;
    all_are_on(case, &second, 2).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let app = pod_is_bound(case, "app").await?;
    ensure!(node_of(&app) == Some(second.as_str()), "the pod is on {:?}", node_of(&app));
    Ok(())
}

/// Somebody else holds the Lease of a simulated node, and does not renew it: nobody plays its kubelet any more.
async fn fall_silent(case: &Case, node: &str) -> Result<()> {
    let now = jiff::Timestamp::now();
    let renewed = format!("{now:.6}");
    let taken = json!({"spec": {"holderIdentity": "nobody", "leaseDurationSeconds": 86_400, "renewTime": renewed}});
    let leases: Api<Lease> = Api::namespaced(case.client(), "kube-node-lease");
    leases.patch(node, &PatchParams::default(), &Patch::Merge(taken)).await?;
    Ok(())
}

async fn a_node_that_falls_silent_is_left(case: &Case) -> Result<()> {
    let first = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.order("shelf", 2, SIZE)).await?;
    all_are_on(case, &first, 2).await?;
    let second = case.add_nodes(1, NODE).await?.remove(0);
    fall_silent(case, &first).await?;
    let moved = |log: &Log<Ticket>| {
        let there = |ticket: &Ticket| {
            ticket.status.as_ref().and_then(|status| status.node_name.as_deref()) == Some(second.as_str())
        };
        (log.objects().filter(|ticket| there(ticket)).count() == 2).then_some(())
    };
    case.tickets.until_within(SILENCE, "both tickets have left the silent node", moved).await?;
    event_tells(case, "Ticket", "shelf-1", "Moved").await?;
    let log = case.tickets.log();
    let mut seen = log.events().iter().map(|event| &event.object).skip_while(|it| it.phase() != TicketPhase::Ready);
    let gap = seen.find(|ticket| ticket.name_any() == "shelf-1" && ticket.phase() != TicketPhase::Ready);
    ensure!(gap.is_none(), "ticket `shelf-1` was without a place: {gap:?}");
    drop(log);
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let app = pod_is_bound(case, "app").await?;
    ensure!(node_of(&app) == Some(second.as_str()), "the pod is on {:?}", node_of(&app));
    Ok(())
}

async fn a_claim_whose_node_is_deleted_ends_on_another(case: &Case) -> Result<()> {
    a_claim_ends_on_another(case, async |node| case.remove_node(node).await).await
}

async fn a_claim_whose_node_is_cordoned_ends_on_another(case: &Case) -> Result<()> {
    a_claim_ends_on_another(case, async |node| case.kubectl().get(&["cordon", node]).await.map(drop)).await
}

/// A pod is promised a place on a node that goes before it is bound.
async fn a_claim_ends_on_another(case: &Case, go: impl AsyncFn(&str) -> Result<()>) -> Result<()> {
    let first = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.order("shelf", 1, SIZE)).await?;
    all_are_on(case, &first, 1).await?;
    let second = case.add_nodes(1, NODE).await?.remove(0);
    let held = Held::guardians(case).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let promised = |log: &Log<Pod>| {
        let nominated = log.get("app")?.status.as_ref()?.nominated_node_name.as_ref()?;
        (*nominated == first).then_some(())
    };
    case.pods.until("the pod is promised a place on the node", promised).await?;
    go(&first).await?;
    let told = event_tells(case, "Pod", "app", "TicketLost").await?;
    // At once, and not since its guardian can't be removed.
    ensure!(told.note.as_deref().is_some_and(|note| note.contains("the node takes the pod no more")), "{told:?}");
    held.let_go().await?;
    let app = pod_is_bound_within(PATIENCE, case, "app").await?;
    ensure!(node_of(&app) == Some(second.as_str()), "the pod is on {:?}", node_of(&app));
    ensure!(app.annotations().contains_key(names::ANNOTATION_BOUND_TICKET), "it was let go without a ticket");
    let used = |log: &Log<Ticket>| {
        let of_pod = |ticket: &Ticket| ticket.claim().is_some_and(|claim| Some(&claim.uid) == app.uid().as_ref());
        log.objects().any(|ticket| ticket.phase() == TicketPhase::Used && of_pod(ticket)).then_some(())
    };
    case.tickets.until("its ticket is used", used).await
}

/// Cordoned, drained and deleted, each in the middle of hand-overs on it.
async fn nodes_go_under_load(case: &Case) -> Result<()> {
    let claims = claims()?;
    let nodes = (claims / CLAIMS_PER_NODE).max(3);
    let load = Load::start(case).await?;
    let kubectl = case.kubectl();
    let fault = async |load: &Load<'_>| {
        for number in 0..nodes {
            load.until_served(number * CLAIMS_PER_NODE).await?;
            let node = load.amid_a_hand_over().await?;
            match number % 3 {
                0 => drop(kubectl.get(&["cordon", &node]).await?),
                1 => drop(kubectl.get(&["drain", &node, "--force", "--timeout=30s"]).await?),
                _ => {
                    case.remove_node(&node).await?;
                    case.add_nodes(1, load::NODE).await?;
                    continue;
                }
            }
            load.until_served(load.served() + AT_ONCE).await?;
            kubectl.get(&["uncordon", &node]).await?;
        }
        Ok(())
    };
    load.run(&format!("{nodes} nodes cordoned, drained or deleted"), claims, fault).await
}
