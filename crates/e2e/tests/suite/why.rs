//! `korder why` tells what the controllers would.

use anyhow::{Result, ensure};
use e2e::Case;
use e2e::objects::Size;
use korder_api::names;
use serde_json::Value;

use crate::suite::Suite;
use crate::until::{order_is_ready, pod_is_bound, pod_waits};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(it_tells_why_a_pod_waits_and_what_would_help);
}

async fn answer(case: &Case, about: &str) -> Result<Value> {
    Ok(serde_json::from_str(&case.korder(&["why", about, "--output=json"]).await?)?)
}

async fn it_tells_why_a_pod_waits_and_what_would_help(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, Size::SMALL)).await?;
    order_is_ready(case, "shelf", 1).await?;
    case.create(&case.claimant("large", "shelf", Size { cpu: "1", memory: "1Gi" })).await?;
    let told = pod_waits(case, "large", "NoTicketFits").await?;
    let large = answer(case, "pod/large").await?;
    ensure!(large["reason"] == "NoTicketFits" && large["message"] == told.as_str(), "{large}\nthe pod says: {told}");
    let ticket = &large["tickets"][0];
    ensure!(ticket["name"] == format!("{}/shelf-1", case.namespace()) && ticket["fits"] == false, "{large}");
    ensure!(ticket["why"] == "cpu: 1000m wanted, 500m reserved", "{large}");
    ensure!(large["advice"].as_array().is_some_and(|advice| !advice.is_empty()), "{large}");
    let shelf = answer(case, "ticket/shelf-1").await?;
    ensure!(shelf["phase"] == "Ready" && shelf["pods"][0]["fits"] == false, "{shelf}");
    let text = case.korder(&["why", "pod/large"]).await?;
    ensure!(text.contains("What would change it:") && text.contains("500m reserved"), "{text}");

    case.create(&case.claimant("app", "shelf", Size::SMALL)).await?;
    let app = pod_is_bound(case, "app").await?;
    let ticket = app.metadata.annotations.as_ref().and_then(|all| all.get(names::ANNOTATION_BOUND_TICKET));
    let bound = answer(case, "pod/app").await?;
    ensure!(bound["reason"] == "Bound", "{bound}, bound by {ticket:?}");
    Ok(())
}
