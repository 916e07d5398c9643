//! Each change of a ticket's or an order's phase is told by an event. That a ticket is lost is told in [`crate::metrics`].

use anyhow::Result;
use e2e::Case;
use e2e::objects::{self, Size};
use k8s_openapi::api::core::v1::Pod;
use korder_api::order::RefreshPolicy;
use korder_api::{Order, TicketPhase};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, pod_is_bound, ticket_is};

const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(each_phase_has_its_event);
}

async fn each_phase_has_its_event(case: &Case) -> Result<()> {
    // Room for two tickets.
    case.add_nodes(1, Size { cpu: "1", memory: "4Gi" }).await?;
    let mut order = case.order("shelf", 1, SIZE);
    order.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    case.create(&order).await?;
    order_is_ready(case, "shelf", 1).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    pod_is_bound(case, "app").await?;
    ticket_is(case, "shelf-1", TicketPhase::Used).await?;
    case.delete::<Pod>("app").await?;

    let mut brief = case.ticket("brief", SIZE);
    brief.spec.duration = Some("1s".parse()?);
    case.create(&brief).await?;
    ticket_is(case, "brief", TicketPhase::Expired).await?;

    case.create(&case.order("cramped", 3, SIZE)).await?;
    event_tells(case, "Order", "cramped", "WaitingForCapacity").await?;
    let paused = Patch::Merge(json!({"spec": {"paused": true}}));
    case.api::<Order>().patch("cramped", &PatchParams::default(), &paused).await?;

    for (kind, name, reason) in [
        ("Order", "shelf", "Filling"),
        ("Order", "shelf", "Ready"),
        ("Order", "shelf", "Complete"),
        ("Order", "cramped", "Paused"),
        ("Ticket", "shelf-1", "Held"),
        ("Ticket", "shelf-1", "HandingOver"),
        ("Ticket", "shelf-1", "InUse"),
        ("Ticket", "shelf-1", "PodEnded"),
        ("Pod", "app", "TicketClaimed"),
        ("Ticket", "brief", "Held"),
        ("Ticket", "brief", "Expired"),
    ] {
        event_tells(case, kind, name, reason).await?;
    }
    Ok(())
}
