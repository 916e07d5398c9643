//! The kinds are upgraded in place under load: what was stored under the older ones is there and served, and all goes on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, korder_program};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use korder_api::ticket::Disruption;
use korder_api::{Order, TicketPhase, names};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use serde_json::Value;
use tokio::process::Command;

use crate::load::{AT_ONCE, Load, claims};
use crate::pods::node_of;
use crate::until::{order_is_ready, pod_is_bound, ticket_is};

/// The kinds, and where each has what the older ones did not have.
const KINDS: [(&str, &str); 2] = [
    ("orders.core.korder.dev", "/properties/spec/properties/template/properties/spec/properties"),
    ("tickets.core.korder.dev", "/properties/spec/properties"),
];
/// That.
const FIELD: &str = "disruption";

/// On a cluster with controllers.
pub(crate) async fn kinds_are_upgraded_under_load(case: &Case) -> Result<()> {
    make_older(case).await?;
    is_served(case, false).await?;
    let load = Load::start(case).await?;
    case.create(&case.order("old", 1, Size::SMALL)).await?;
    order_is_ready(case, "old", 1).await?;
    let fault = async |load: &Load<'_>| {
        let before = old(case)?;
        load.until_served(AT_ONCE).await?;
        load.amid_a_hand_over().await?;
        upgrade(case).await?;
        is_served(case, true).await?;
        load.until_served(load.served() + 2 * AT_ONCE).await?;
        let after = old(case)?;
        ensure!(before == after, "before the upgrade there was {before:?}, and after it {after:?}");
        old_order_serves(case).await
    };
    load.run("Kinds upgraded in place", claims()?, fault).await
}

/// As `make install` does.
async fn upgrade(case: &Case) -> Result<()> {
    let printed = Command::new(korder_program().await?).arg("crds").output().await.context("cannot run `korder`")?;
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let applied = case.kubectl().run(&apply, &String::from_utf8(printed.stdout)?).await?;
    ensure!(applied.status.success(), "{}", applied.stderr);
    Ok(())
}

/// It does what it did, to its end.
async fn old_order_serves(case: &Case) -> Result<()> {
    case.create(&case.claimant("app", "old", Size::SMALL)).await?;
    let app = pod_is_bound(case, "app").await?;
    let used = ticket_is(case, "old-1", TicketPhase::Used).await?;
    ensure!(used.claim().map(|claim| &claim.uid) == app.uid().as_ref(), "{:?}", used.claim());
    order_is_ready(case, "old", 1).await?;
    case.delete::<Order>("old").await?;
    case.delete::<Pod>("app").await
}

/// Makes the kinds look as before the field was there, with a column less.
async fn make_older(case: &Case) -> Result<()> {
    let kinds: Api<CustomResourceDefinition> = Api::all(case.client());
    for (name, fields) in KINDS {
        let mut kind = serde_json::to_value(kinds.get(name).await?)?;
        let version = kind.pointer_mut("/spec/versions/0").context("a kind without a version")?;
        version["additionalPrinterColumns"].as_array_mut().context("a kind without columns")?.pop();
        let fields = version.pointer_mut(&format!("/schema/openAPIV3Schema{fields}")).and_then(Value::as_object_mut);
        fields.and_then(|fields| fields.remove(FIELD)).with_context(|| format!("`{name}` has no `{FIELD}`"))?;
        kinds.replace(name, &PostParams::default(), &serde_json::from_value(kind)?).await?;
    }
    Ok(())
}

/// Whether the API server keeps the field is so.
async fn is_served(case: &Case, served: bool) -> Result<()> {
    let mut order = case.order("tried", 1, Size::SMALL);
    order.spec.template.get_or_insert_default().spec.disruption = Some(Disruption::Pinned);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let heeded = async {
        loop {
            let tried = case.api::<Order>().create(&dry_run, &order).await?;
            if tried.spec.template.is_some_and(|template| template.spec.disruption.is_some()) == served {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(e2e::DEADLINE, heeded).await.context("the kinds are not heeded")?
}

/// What is there of the old order: itself, its ticket and its guardian, each with its uid and what it asks for.
fn old(case: &Case) -> Result<Vec<(Option<String>, Value)>> {
    let (orders, tickets, pods) = (case.orders.log(), case.tickets.log(), case.pods.log());
    let order = orders.get("old").context("the order is gone")?;
    let ticket = tickets.get("old-1").context("its ticket is gone")?;
    let guardian = pods.get(&names::guardian_name("old-1")).context("its guardian is gone")?;
    Ok(vec![
        (order.uid(), serde_json::to_value(&order.spec)?),
        (ticket.uid(), serde_json::to_value(&ticket.spec)?),
        (guardian.uid(), serde_json::to_value(node_of(guardian))?),
    ])
}
