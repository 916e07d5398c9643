//! Nodes that go.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Log};
use korder_api::{Ticket, TicketPhase};
use kube::ResourceExt as _;

use crate::pods::node_of;
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, pod_is_bound};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;
/// A node that a guardian has just been bound to is believed to be there for a while.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_ticket_outlives_its_node);
    suite.add(a_drain_is_not_held_up_and_tickets_move);
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
