//! Items of which nothing good can come: each is told of clearly, is tried ever more slowly, and disturbs nobody.
//!
//! What is refused at the door is in [`crate::refused`] and [`crate::stock_rights`]; that deliveries overwrite nothing in
//! [`crate::shelves`].

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::Secret;
use korder_api::{Inventory, Order, Stock, StockPhase};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::production::{OF_OBJECTS, may_be_made};
use crate::shelves::{Shelves, from, inventory, item, order_says, phase, request};
use crate::suite::Suite;
use crate::until::{event_tells, reason};

/// How long it is looked whether anything is written.
const WATCHED: Duration = Duration::from_secs(5);
/// Three attempts, with rests of 10 and 20 seconds between them.
const STALLED_WITHIN: Duration = Duration::from_mins(3);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(what_never_succeeds_is_stalled_and_left_alone);
    suite.add(accounts_that_differ_never_share_stock);
    suite.add(a_password_stands_in_secrets_only);
}

/// Inventories of which no unit comes: name, item, the reason of the units, and a part of what they say.
fn hopeless(case: &Case) -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let two = json!([{"name": "a", "from": {"result": "a"}}, {"name": "b", "from": {"result": "b"}}]);
    let mut words = item(case, "Fungible", "1s", "two words");
    words["outputs"] = two;
    let large = item(case, "Fungible", "1s", &"x".repeat(5000));
    let mut endless = item(case, "Fungible", "24h", "rye");
    endless["operation"]["job"]["activeDeadlineSeconds"] = json!(2);
    endless["operation"]["job"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(0);
    // The account may make ConfigMaps and Secrets.
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "$(stock.name)"},
        "spec": {"clusterIP": "None"}});
    let refused = json!({"serviceAccountName": "maker", "operation": {"manifests": [service]}});
    vec![
        ("words", words, "OutputInvalid", "not a JSON object"),
        ("large", large, "OutputTooLarge", "4096 bytes or more"),
        ("endless", endless, "ProductionFailed", "longer than specified deadline"),
        ("refused", refused, "Refused", "cannot create resource \"services\""),
    ]
}

async fn what_never_succeeds_is_stalled_and_left_alone(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    may_be_made(case).await?;
    let hopeless = hopeless(case);
    for (name, item, ..) in &hopeless {
        case.create(&inventory(name, json!({"replicas": 1, "item": item}))?).await?;
    }
    // Without a deadline of its own a job is not ended: nobody knows how long it may take.
    case.create(&inventory("forever", json!({"replicas": 1, "item": item(case, "Fungible", "24h", "rye")}))?).await?;
    case.create(&inventory("bread", json!({"replicas": 1, "item": item(case, "Fungible", "1s", "rye")}))?).await?;
    for (name, _, why, told) in &hopeless {
        let stalled = |log: &Log<Inventory>| {
            let status = log.get(name)?.status.clone()?;
            status.conditions.iter().any(|one| one.type_ == "Stalled").then_some(status)
        };
        let status =
            shelves.inventories.until_within(STALLED_WITHIN, format!("inventory `{name}` is Stalled"), stalled).await?;
        ensure!(reason(&status.conditions) == Some(("False", "ProductionFailed")), "{name}: {status:?}");
        let says = |one: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| one.message.contains(told);
        ensure!(status.conditions.iter().any(|one| says(&one)), "`{told}` is missing in {status:?}");
        let unit = |log: &Log<Stock>| {
            let of_it = log.objects().filter(|one| one.spec.inventory_name == *name);
            let mut failed = of_it.filter(|one| phase(one) == Some(StockPhase::Failed));
            failed.find(|one| is_torn_down(one)).cloned()
        };
        let unit = shelves.stocks.until(format!("a unit of `{name}` has failed and is torn down"), unit).await?;
        let conditions = unit.status.clone().unwrap_or_default().conditions;
        ensure!(reason(&conditions) == Some(("False", why)), "{name}: {conditions:?}");
        event_tells(case, "Inventory", name, "Stalled").await?;
    }
    ensure!(shelves.units().iter().all(|one| !one.name_any().starts_with("forever-2")), "a job that goes on is let go");
    let shown = case.kubectl().get(&["get", "kst", "forever-1", "--no-headers"]).await?;
    ensure!(shown.split_whitespace().take(3).eq(["forever-1", "Producing", "forever"]), "{shown}");

    // The next attempts are 40 seconds off: until then nothing is written.
    let before = (shelves.stocks.log().events().len(), shelves.inventories.log().events().len());
    tokio::time::sleep(WATCHED).await;
    let stocks: BTreeSet<String> =
        shelves.stocks.log().events()[before.0..].iter().map(|event| event.object.name_any()).collect();
    let inventories: BTreeSet<String> =
        shelves.inventories.log().events()[before.1..].iter().map(|event| event.object.name_any()).collect();
    ensure!(stocks.is_empty() && inventories.is_empty(), "written to: {stocks:?} {inventories:?}");

    case.create(&request("mine", from("bread"))?).await?;
    let mine = order_says(case, "mine", "True", "Filled").await?;
    ensure!(mine.status.as_ref().is_some_and(|status| status.queue_sequence.is_none()), "it had to wait: {mine:?}");
    Ok(())
}

fn is_torn_down(unit: &Stock) -> bool {
    let conditions = unit.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|one| one.type_ == "TornDown" && one.status == "True")
}

async fn accounts_that_differ_never_share_stock(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    let of = |account: &str| {
        let mut item = item(case, "Fungible", "1s", "rye");
        item["serviceAccountName"] = json!(account);
        item
    };
    for account in ["alice", "bob"] {
        case.kubectl().get(&["create", "serviceaccount", account]).await?;
    }
    case.create(&inventory("of-alice", json!({"replicas": 2, "parallelism": 2, "item": of("alice")}))?).await?;
    shelves.ready("of-alice", 2).await?;
    for (order, account) in [("alices", "alice"), ("bobs", "bob")] {
        case.create(&request(order, json!({"item": of(account)}))?).await?;
    }
    let alices = order_says(case, "alices", "True", "Filled").await?;
    let bobs = order_says(case, "bobs", "True", "Filled").await?;
    let at = |order: &Order| order.status.as_ref().and_then(|status| status.inventory.clone()).unwrap_or_default();
    let own = format!("{}/of-alice", case.namespace());
    ensure!(at(&alices) == own, "{}", at(&alices));
    ensure!(at(&bobs) != own, "Bob has what was made as Alice's account");
    let unit =
        bobs.status.as_ref().and_then(|status| status.stock_name.clone()).context("a filled order has a unit")?;
    let unit = case.api::<Stock>().get(&unit).await?;
    ensure!(unit.spec.item.service_account_name.as_deref() == Some("bob"), "{:?}", unit.spec.item);
    Ok(())
}

/// Every object in the namespace that somebody can read who may not read Secrets is looked through.
async fn a_password_stands_in_secrets_only(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    may_be_made(case).await?;
    // Nothing keeps its objects.
    case.kubectl().apply(&OF_OBJECTS.replace(", finalizers: [e2e.korder.dev/kept]", "")).await?;
    shelves.ready("bought", 1).await?;
    let mut spec = from("bought");
    spec["deliver"] = json!({"secretName": "handed"});
    case.create(&request("mine", spec)?).await?;
    order_says(case, "mine", "True", "Filled").await?;
    let handed = case.api::<Secret>().get("handed").await?.data.unwrap_or_default();
    let password = handed.get("password").context("the password is delivered")?.0.clone();
    let plain = String::from_utf8(password)?;
    let encoded = serde_json::to_value(&handed)?["password"].as_str().unwrap_or_default().to_owned();
    ensure!(plain.len() == 24 && !encoded.is_empty(), "{}", plain.len());
    for (group, version, kind) in [
        ("core.korder.dev", "v1alpha1", "Order"),
        ("core.korder.dev", "v1alpha1", "Stock"),
        ("core.korder.dev", "v1alpha1", "Inventory"),
        ("events.k8s.io", "v1", "Event"),
        ("", "v1", "ConfigMap"),
    ] {
        let resource = match kind {
            "Inventory" => {
                ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), "inventories")
            }
            _ => ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(case.client(), case.namespace(), &resource);
        for object in api.list(&ListParams::default()).await? {
            let text = serde_json::to_string(&object)?;
            let name = object.name_any();
            ensure!(!text.contains(&plain) && !text.contains(&encoded), "{kind} `{name}` tells the password");
        }
    }
    Ok(())
}
