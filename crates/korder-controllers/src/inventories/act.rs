//! The writes for an inventory.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use kooper::{Context, Failure, Outcome};
use korder_api::{Inventory, InventoryStatus, Stock, names};
use korder_core::inventory::news::News;
use korder_core::inventory::{self, Plan, Spoilt};
use korder_core::{reasons, stock};
use serde_json::json;

use super::serve::Served;
use super::{Inventories, Kept, REFUSED_RETRY, STATUS_INTERVAL, at, release, serve};
use crate::news;
use crate::write::{self, Created, Part};

/// How many orders are served at a time.
const SERVED_AT_ONCE: usize = 32;

/// Makes the writes of a plan: orders first, then the shelf, then the status. What one of them meets does not hold up the others.
pub(super) async fn act(
    inventories: &Inventories,
    cx: &Context,
    inventory: &Arc<Inventory>,
    plan: Plan,
    kept: &mut Kept,
) -> Result<Outcome, Failure> {
    let mut results = orders(inventories, cx, inventory, &plan, kept).await;
    results.extend(retire(inventories, cx, inventory, &plan).await);
    let mut refused = None;
    match create(inventories, inventory, &plan.create).await {
        Ok(why) => refused = why,
        Err(error) => results.push(Err(error)),
    }
    if plan.is_empty {
        results.push(dismiss(inventories, inventory).await);
    }
    if plan.is_unneeded {
        let Inventories { client, caches, .. } = inventories;
        results.push(write::delete(client, &caches.inventories, inventory.as_ref(), true).await);
    }
    let now = cx.now();
    let mut again = plan.again;
    if let Some(why) = refused {
        news::tell(&cx.recorder, inventory.as_ref(), "Replenish", reasons::STOCK_REFUSED, &why);
        again = again.into_iter().chain([now + REFUSED_RETRY]).min();
    }
    // Whatever else was met: one order that can't be served keeps nobody from seeing how the others are.
    if let Some(status) = plan.status.filter(|_| !plan.is_empty && !plan.is_unneeded) {
        let due = kept.written.map(|written| written + STATUS_INTERVAL);
        if let Some(due) = due.filter(|due| now < *due && *due <= now + STATUS_INTERVAL) {
            again = again.into_iter().chain([due]).min();
        } else {
            kept.written = Some(now);
            tell(inventories, cx, inventory, status).await?;
        }
    }
    Ok(write::pace(&results).unwrap_or_else(|| at(again, now)))
}

type Results = Vec<Result<(), kube::Error>>;

/// The writes for orders.
async fn orders(
    inventories: &Inventories,
    cx: &Context,
    inventory: &Inventory,
    plan: &Plan,
    kept: &mut Kept,
) -> Results {
    let mut serving = Vec::with_capacity(plan.serve.len());
    for one in &plan.serve {
        serving.push(serve::serve(inventories, cx, inventory, one));
    }
    // In the order of the line, so that who came first is served first.
    let served: Vec<_> = stream::iter(serving).buffered(SERVED_AT_ONCE).collect().await;
    let mut results = Vec::new();
    for (one, result) in plan.serve.iter().zip(served) {
        let is_refused = match &result {
            Ok(served) => matches!(served, Served::Refused),
            Err(error) => write::is_refused_for_good(error),
        };
        if is_refused {
            kept.memory.rest(&one.order, cx.now());
        }
        results.push(result.map(|_| ()));
    }
    let mut told = Vec::with_capacity(plan.tell.len());
    for (order, status) in &plan.tell {
        told.push(serve::tell(inventories, order, status.clone()));
    }
    results.extend(write::all(told).await);
    let mut ended = Vec::with_capacity(plan.end.len());
    for (order, units) in &plan.end {
        ended.push(release::end(inventories, cx, order, units));
    }
    results.extend(write::all(ended).await);
    let mut given_back = Vec::with_capacity(plan.given_back.len());
    for (order, one) in &plan.given_back {
        given_back.push(release::given_back(inventories, order, one));
    }
    results.extend(write::all(given_back).await);
    let mut lost = Vec::with_capacity(plan.lost.len());
    for (order, name) in &plan.lost {
        lost.push(release::lost(inventories, cx, inventory, order, name));
    }
    results.extend(write::all(lost).await);
    let mut orphaned = Vec::with_capacity(plan.orphaned.len());
    for one in &plan.orphaned {
        orphaned.push(release::orphaned(inventories, one));
    }
    results.extend(write::all(orphaned).await);
    results
}

/// The writes by which units leave the shelf, and those by which they are checked before they are given out.
async fn retire(inventories: &Inventories, cx: &Context, inventory: &Inventory, plan: &Plan) -> Results {
    let Inventories { client, caches, .. } = inventories;
    let mut retired = Vec::with_capacity(plan.retire.len());
    for (one, _) in &plan.retire {
        retired.push(write::delete(client, &caches.stocks, one.as_ref(), true));
    }
    let mut results = write::all(retired).await;
    let mut withdrawn = Vec::with_capacity(plan.withdraw.len());
    for (one, _) in &plan.withdraw {
        withdrawn.push(release::withdraw(inventories, one));
    }
    results.extend(write::all(withdrawn).await);
    let mut counts = BTreeMap::<Spoilt, usize>::new();
    let left = plan.retire.iter().chain(&plan.withdraw).zip(&results).filter(|(_, result)| result.is_ok());
    for (one, why) in left.map(|(left, _)| left) {
        // That one failed was told when it did: what goes is its record.
        if *why != Spoilt::Failed {
            *counts.entry(*why).or_default() += 1;
        }
        inventories.metrics.unit_is_scrapped(why.as_str());
        if let Some(since) = stock::on_the_shelf_since(one) {
            inventories.metrics.unit_leaves_the_shelf(cx.now().duration_since(since));
        }
    }
    for (why, count) in counts {
        news::tell(&cx.recorder, inventory, "Retire", reasons::RETIRED, &format!("{count} {}", why.as_str()));
    }
    let mut asked = Vec::with_capacity(plan.ask.len());
    for one in &plan.ask {
        asked.push(serve::ask(inventories, cx, one));
    }
    results.extend(write::all(asked).await);
    let mut outgoing = Vec::with_capacity(plan.outgoing.len());
    for one in &plan.outgoing {
        outgoing.push(release::outgoing(inventories, inventory, one));
    }
    results.extend(write::all(outgoing).await);
    results
}

/// Makes units; why the API server refuses them, if it does.
async fn create(
    inventories: &Inventories,
    inventory: &Arc<Inventory>,
    units: &[Stock],
) -> Result<Option<String>, kube::Error> {
    let Inventories { client, caches, .. } = inventories;
    if units.is_empty() {
        return Ok(None);
    }
    // From the first unit on the inventory waits for its units when it is deleted.
    let finalizers = inventory.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|one| one == names::FINALIZER_UNITS) {
        let operation = if finalizers.is_empty() {
            json!({"op": "add", "path": "/metadata/finalizers", "value": [names::FINALIZER_UNITS]})
        } else {
            json!({"op": "add", "path": "/metadata/finalizers/-", "value": names::FINALIZER_UNITS})
        };
        write::patch(client, &caches.inventories, inventory.as_ref(), Part::Main, json!([operation])).await?;
        return Ok(None);
    }
    let mut creations = Vec::with_capacity(units.len());
    for one in units {
        creations.push(write::create(client, &caches.stocks, one));
    }
    let mut refused = None;
    let mut failed = None;
    for result in write::all(creations).await {
        match result {
            Ok(Created::New | Created::Exists(_)) => {}
            // The same one every time, in whichever order the answers come.
            Err(kube::Error::Api(status)) if write::is_refused(&status) => {
                refused = refused.into_iter().chain([status.message]).min();
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(refused), Err)
}

/// Lets an inventory go that is being deleted and has no units.
async fn dismiss(inventories: &Inventories, inventory: &Arc<Inventory>) -> Result<(), kube::Error> {
    let finalizers = inventory.metadata.finalizers.as_deref().unwrap_or_default();
    let Some(index) = finalizers.iter().position(|one| one == names::FINALIZER_UNITS) else { return Ok(()) };
    let operations = json!([{"op": "remove", "path": format!("/metadata/finalizers/{index}")}]);
    let Inventories { client, caches, .. } = inventories;
    match write::patch(client, &caches.inventories, inventory.as_ref(), Part::Main, operations).await {
        Err(error) if write::is_not_found(&error) => Ok(()),
        written => written,
    }
}

async fn tell(
    inventories: &Inventories,
    cx: &Context,
    inventory: &Arc<Inventory>,
    status: InventoryStatus,
) -> Result<(), Failure> {
    let told = inventory::news::of(inventory, &status);
    let written = Inventory { status: Some(status), ..Inventory::clone(inventory) };
    write::status(&inventories.client, &inventories.caches.inventories, &written).await.map_err(write::failure)?;
    for News { reason, note } in told {
        news::tell(&cx.recorder, inventory.as_ref(), "Keep", &reason, &note);
    }
    Ok(())
}
