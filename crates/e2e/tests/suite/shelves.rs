//! Shelves, and the lines of orders before them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::objects::{OnNodesOf as _, Size};
use e2e::{Case, History, Log};
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec};
use korder_api::{Inventory, Order, Stock, StockPhase, StockStatus};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::suite::Suite;
use crate::until::reason;

const NODE: Size = Size { cpu: "8", memory: "16Gi" };

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(an_order_takes_from_the_shelf_and_gives_back);
    suite.add(an_order_waits_for_a_unit_that_is_made_for_it);
    suite.add(sixty_four_orders_stand_in_line_for_eight_units);
    suite.add(a_thousand_orders_share_one_copy);
    suite.add(an_inventory_serves_the_namespaces_that_it_allows);
    suite.add(what_is_delivered_overwrites_nothing);
    suite.add(what_cannot_be_made_is_told_and_disturbs_nobody);
    suite.add(units_of_an_item_that_changed_go_when_new_ones_are_there);
    suite.add(an_order_is_given_back_after_its_time);
    suite.add(a_deleted_inventory_waits_for_what_is_held);
}

/// What happens to the shelves of a namespace.
pub(crate) struct Shelves {
    pub(crate) inventories: History<Inventory>,
    pub(crate) stocks: History<Stock>,
}

impl Shelves {
    /// Those of a test, with a node on which the jobs of [`item`] do what they say.
    pub(crate) async fn of(case: &Case) -> Result<Self> {
        case.add_nodes(1, NODE).await?;
        Ok(Self { inventories: History::start(case.api()).await?, stocks: History::start(case.api()).await? })
    }

    pub(crate) async fn ready(&self, inventory: &str, count: i32) -> Result<()> {
        let is = |log: &Log<Inventory>| {
            let status = log.get(inventory)?.status.as_ref()?;
            (status.ready == count && status.producing == 0).then_some(())
        };
        self.inventories.until(format!("{count} units of `{inventory}` are ready"), is).await
    }

    pub(crate) async fn says(&self, inventory: &str, status: &str, why: &str) -> Result<Arc<Inventory>> {
        let is = |log: &Log<Inventory>| {
            let inventory = log.get(inventory)?;
            (reason(&inventory.status.as_ref()?.conditions) == Some((status, why))).then(|| Arc::clone(inventory))
        };
        self.inventories.until(format!("inventory `{inventory}` says {why}"), is).await
    }

    pub(crate) fn units(&self) -> Vec<Arc<Stock>> {
        self.stocks.log().objects().cloned().collect()
    }
}

/// A job that takes so long on the test's node, and gives this.
pub(crate) fn item(case: &Case, type_: &str, takes: &str, result: &str) -> Value {
    let container = Container {
        name: "make".to_owned(),
        image: Some("registry.k8s.io/pause:3.10.1".to_owned()),
        ..Container::default()
    };
    let pod = PodSpec { containers: vec![container], ..PodSpec::default() }.on_nodes_of(case.namespace());
    json!({
        "type": type_,
        "operation": {"job": {"backoffLimit": 0, "template": {
            "metadata": {"annotations": {
                "simulated-node.korder.dev/runs-for": takes,
                "simulated-node.korder.dev/result": result,
            }},
            "spec": pod,
        }}},
        "outputs": [{"name": "loaf", "from": {"result": "result"}}],
    })
}

pub(crate) fn inventory(name: &str, spec: Value) -> Result<Inventory> {
    Ok(Inventory::new(name, serde_json::from_value(spec)?))
}

pub(crate) fn request(name: &str, spec: Value) -> Result<Order> {
    Ok(Order::new(name, serde_json::from_value(spec)?))
}

pub(crate) fn from(inventory: &str) -> Value {
    json!({"inventoryRef": {"name": inventory}})
}

pub(crate) fn phase(stock: &Stock) -> Option<StockPhase> {
    stock.status.as_ref()?.phase
}

fn holder(stock: &Stock) -> Option<&str> {
    Some(stock.status.as_ref()?.claim_ref.as_ref()?.name.as_str())
}

pub(crate) async fn order_says(case: &Case, name: &str, status: &str, why: &str) -> Result<Arc<Order>> {
    let is = |log: &Log<Order>| {
        let order = log.get(name)?;
        (reason(&order.status.as_ref()?.conditions) == Some((status, why))).then(|| Arc::clone(order))
    };
    case.orders.until(format!("order `{name}` says {why}"), is).await
}

async fn an_order_takes_from_the_shelf_and_gives_back(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    case.create(&inventory(
        "bread",
        json!({"replicas": 2, "parallelism": 2, "item": item(case, "Fungible", "1s", "rye")}),
    )?)
    .await?;
    shelves.ready("bread", 2).await?;
    shelves.says("bread", "True", "Stocked").await?;
    case.create(&request("mine", from("bread"))?).await?;
    let order = order_says(case, "mine", "True", "Filled").await?;
    let status = order.status.clone().unwrap_or_default();
    ensure!(status.outputs.get("loaf").map(String::as_str) == Some("rye"), "{status:?}");
    ensure!(status.queue_sequence.is_none() && status.filled.as_deref() == Some("1/1"), "{status:?}");
    let unit = status.stock_name.unwrap_or_default();
    ensure!(shelves.units().iter().any(|one| one.name_any() == unit && holder(one) == Some("mine")), "{unit}");
    // Another one is made in its place.
    shelves.ready("bread", 2).await?;
    case.delete::<Order>("mine").await?;
    let gone = |log: &Log<Stock>| log.get(&unit).is_none().then_some(());
    shelves.stocks.until(format!("stock `{unit}` is gone"), gone).await?;
    let jobs =
        case.kubectl().get(&["get", "jobs,pods", "-l", &format!("korder.dev/stock={unit}"), "-o", "name"]).await?;
    ensure!(jobs.trim().is_empty(), "left of `{unit}`: {jobs}");
    Ok(())
}

async fn an_order_waits_for_a_unit_that_is_made_for_it(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    case.create(&request("first", json!({"item": item(case, "Copy", "3s", "done")}))?).await?;
    let waiting = order_says(case, "first", "False", "WaitingForStock").await?;
    ensure!(waiting.status.as_ref().is_some_and(|status| status.queue_sequence.is_some()));
    let why = case.korder(&["why", "order/first"]).await?;
    ensure!(why.contains("number 1 of 1 in line"), "{why}");
    order_says(case, "first", "True", "Filled").await?;
    case.create(&request("second", json!({"item": item(case, "Copy", "3s", "done")}))?).await?;
    let second = order_says(case, "second", "True", "Filled").await?;
    let status = second.status.clone().unwrap_or_default();
    ensure!(status.queue_sequence.is_none(), "the second had to wait: {status:?}");
    ensure!(shelves.units().len() == 1, "one unit serves both");
    Ok(())
}

async fn sixty_four_orders_stand_in_line_for_eight_units(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    let spec = json!({"replicas": 8, "parallelism": 8, "item": item(case, "Fungible", "1s", "rye")});
    case.create(&inventory("bread", spec)?).await?;
    shelves.ready("bread", 8).await?;
    let orders: Vec<Order> =
        (0..64).map(|number| request(&format!("o{number:02}"), from("bread"))).collect::<Result<_>>()?;
    futures::future::try_join_all(orders.iter().map(|order| case.create(order))).await?;
    let all_filled = |log: &Log<Order>| {
        let filled =
            log.objects().filter(|order| order.status.as_ref().is_some_and(|status| status.filled_time.is_some()));
        (filled.count() == 64).then_some(())
    };
    case.orders.until_within(Duration::from_mins(2), "all 64 are filled", all_filled).await?;
    let log = case.orders.log();
    let units: BTreeSet<String> = log.objects().filter_map(|order| order.status.as_ref()?.stock_name.clone()).collect();
    ensure!(units.len() == 64, "each has a unit of its own: {}", units.len());
    // In the order in which they came to stand in line, by the versions of their fillings.
    let filled = log
        .events()
        .iter()
        .filter(|event| event.object.status.as_ref().is_some_and(|status| status.filled_time.is_some()));
    let mut seen = BTreeSet::new();
    let firsts = filled.filter(|event| seen.insert(event.object.name_any()));
    let sequences: Vec<i64> = firsts.filter_map(|event| event.object.status.as_ref()?.queue_sequence).collect();
    ensure!(sequences.len() == 56, "{} had to wait", sequences.len());
    // Eight are filled side by side.
    ensure!(sequences.is_sorted_by(|a, b| *a < b + 8), "not in the order of the line: {sequences:?}");
    Ok(())
}

async fn a_thousand_orders_share_one_copy(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    case.create(&inventory("recipe", json!({"replicas": 1, "item": item(case, "Copy", "1s", "flour")}))?).await?;
    shelves.ready("recipe", 1).await?;
    let before = shelves.units();
    let orders: Vec<Order> =
        (0..1000).map(|number| request(&format!("o{number}"), from("recipe"))).collect::<Result<_>>()?;
    for some in orders.chunks(50) {
        futures::future::try_join_all(some.iter().map(|order| case.create(order))).await?;
    }
    let all_filled = |log: &Log<Order>| {
        let filled =
            log.objects().filter(|order| order.status.as_ref().is_some_and(|status| status.filled_time.is_some()));
        (filled.count() == 1000).then_some(())
    };
    case.orders.until_within(Duration::from_mins(3), "all 1,000 are filled", all_filled).await?;
    let after = shelves.units();
    let versions = |units: &[Arc<Stock>]| units.iter().map(|one| one.resource_version()).collect::<Vec<_>>();
    ensure!(versions(&before) == versions(&after), "the copy was written to");
    Ok(())
}

async fn an_inventory_serves_the_namespaces_that_it_allows(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    let allowed = json!({"from": "Selector", "selector": {"matchLabels": {"bread": case.namespace()}}});
    let spec = json!({"replicas": 1, "item": item(case, "Fungible", "1s", "rye"), "allowedNamespaces": allowed});
    case.create(&inventory("bread", spec)?).await?;
    shelves.ready("bread", 1).await?;
    let friend = case.add_namespace("friend", &[("bread", case.namespace())]).await?;
    let stranger = case.add_namespace("stranger", &[]).await?;
    for (namespace, status, why) in [(friend, "True", "Filled"), (stranger, "False", "NotAllowed")] {
        let api: Api<Order> = Api::namespaced(case.client(), &namespace);
        let orders = History::start(api.clone()).await?;
        let spec = json!({"inventoryRef": {"namespace": case.namespace(), "name": "bread"}});
        api.create(&kube::api::PostParams::default(), &request("mine", spec)?).await?;
        let says = |log: &Log<Order>| {
            (reason(&log.get("mine")?.status.as_ref()?.conditions) == Some((status, why))).then_some(())
        };
        orders.until(format!("the order of `{namespace}` says {why}"), says).await?;
        case.kubectl().get(&["delete", "kord", "mine", "-n", &namespace]).await?;
    }
    Ok(())
}

async fn what_is_delivered_overwrites_nothing(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    case.create(&inventory("bread", json!({"replicas": 1, "item": item(case, "Fungible", "1s", "rye")}))?).await?;
    shelves.ready("bread", 1).await?;
    case.kubectl().get(&["create", "configmap", "taken", "--from-literal=mine=yes"]).await?;
    let with = |name: &str| json!({"inventoryRef": {"name": "bread"}, "deliver": {"configMapName": name}});
    case.create(&request("refused", with("taken"))?).await?;
    order_says(case, "refused", "False", "DeliverExists").await?;
    case.create(&request("served", with("bread"))?).await?;
    order_says(case, "served", "True", "Filled").await?;
    let maps: Api<ConfigMap> = case.api();
    let delivered = maps.get("bread").await?.data.unwrap_or_default();
    ensure!(delivered.get("loaf").map(String::as_str) == Some("rye"), "{delivered:?}");
    let taken = maps.get("taken").await?.data.unwrap_or_default();
    ensure!(taken.get("mine").map(String::as_str) == Some("yes") && taken.len() == 1, "{taken:?}");
    // What was in the way goes, and the order gets what it asked for.
    case.kubectl().get(&["delete", "configmap", "taken"]).await?;
    order_says(case, "refused", "True", "Filled").await?;
    case.delete::<Order>("served").await?;
    let gone = async {
        while maps.get_opt("bread").await?.is_some() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(e2e::DEADLINE, gone).await?
}

async fn what_cannot_be_made_is_told_and_disturbs_nobody(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    let mut broken = item(case, "Fungible", "1s", "no flour");
    broken["operation"]["job"]["template"]["metadata"]["annotations"]["simulated-node.korder.dev/exit-code"] =
        json!("3");
    case.create(&inventory("broken", json!({"replicas": 2, "parallelism": 2, "item": broken}))?).await?;
    case.create(&inventory("bread", json!({"replicas": 1, "item": item(case, "Fungible", "1s", "rye")}))?).await?;
    shelves.ready("bread", 1).await?;
    let told = shelves.says("broken", "False", "ProductionFailed").await?;
    let conditions = &told.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    ensure!(conditions.iter().any(|one| one.message.contains("code 3")), "{conditions:?}");
    let mut missing = item(case, "Fungible", "1s", "rye");
    missing["outputs"] = json!([{"name": "loaf", "from": {"result": "loaf"}}]);
    case.create(&inventory("missing", json!({"replicas": 1, "item": missing}))?).await?;
    let told = shelves.says("missing", "False", "ProductionFailed").await?;
    let messages: Vec<String> =
        told.status.iter().flat_map(|status| &status.conditions).map(|one| one.message.clone()).collect();
    ensure!(messages.iter().any(|message| message.contains("loaf")), "{messages:?}");
    Ok(())
}

async fn units_of_an_item_that_changed_go_when_new_ones_are_there(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    case.create(&inventory(
        "bread",
        json!({"replicas": 2, "parallelism": 1, "item": item(case, "Fungible", "1s", "rye")}),
    )?)
    .await?;
    shelves.ready("bread", 2).await?;
    let old: BTreeSet<String> = shelves.units().iter().map(|one| one.name_any()).collect();
    let change = json!({"spec": {"item": item(case, "Fungible", "1s", "wheat")}});
    case.api::<Inventory>().patch("bread", &PatchParams::default(), &Patch::Merge(change)).await?;
    let replaced = |log: &Log<Stock>| {
        let ready = log.objects().filter(|one| phase(one) == Some(StockPhase::Ready));
        let names: BTreeSet<String> = ready.map(|one| one.name_any()).collect();
        (names.len() == 2 && names.is_disjoint(&old)).then_some(())
    };
    shelves.stocks.until("both are of the new item", replaced).await?;
    let emptied = shelves.inventories.log().events().iter().any(|event| {
        let status = event.object.status.clone().unwrap_or_default();
        event.object.metadata.generation > Some(1) && status.observed_generation > Some(1) && status.ready == 0
    });
    ensure!(!emptied, "the shelf was empty for a while");
    Ok(())
}

async fn an_order_is_given_back_after_its_time(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    case.create(&inventory(
        "bread",
        json!({"replicas": 1, "maxUnits": 1, "item": item(case, "Fungible", "1s", "rye")}),
    )?)
    .await?;
    shelves.ready("bread", 1).await?;
    let mut spec = from("bread");
    (spec["holdFor"], spec["ttlSecondsAfterFinished"]) = (json!("3s"), json!(2));
    case.create(&request("guest", spec)?).await?;
    order_says(case, "guest", "True", "Filled").await?;
    let mut spec = from("bread");
    spec["progressDeadlineSeconds"] = json!(1);
    case.create(&request("hasty", spec)?).await?;
    order_says(case, "hasty", "False", "DeadlineExceeded").await?;
    order_says(case, "guest", "True", "Released").await?;
    let gone = |log: &Log<Order>| log.get("guest").is_none().then_some(());
    case.orders.until("the order is forgotten", gone).await?;
    shelves.ready("bread", 1).await
}

async fn a_deleted_inventory_waits_for_what_is_held(case: &Case) -> Result<()> {
    let shelves = Shelves::of(case).await?;
    case.create(&inventory("bread", json!({"replicas": 1, "item": item(case, "Fungible", "1s", "rye")}))?).await?;
    shelves.ready("bread", 1).await?;
    case.create(&request("mine", from("bread"))?).await?;
    order_says(case, "mine", "True", "Filled").await?;
    shelves.ready("bread", 1).await?;
    case.kubectl().get(&["delete", "kinv", "bread", "--wait=false"]).await?;
    let only_mine = |log: &Log<Stock>| {
        let names: Vec<_> = log.objects().map(|one| holder(one).map(str::to_owned)).collect();
        (names == [Some("mine".to_owned())]).then_some(())
    };
    shelves.stocks.until("only what is held is left", only_mine).await?;
    case.create(&request("late", from("bread"))?).await?;
    order_says(case, "late", "False", "InventoryGone").await?;
    case.delete::<Order>("mine").await?;
    let gone = |log: &Log<Inventory>| log.get("bread").is_none().then_some(());
    shelves.inventories.until("the inventory is gone", gone).await?;
    ensure!(
        shelves.units().is_empty(),
        "{:?}",
        shelves.units().iter().map(|one| one.status.clone()).collect::<Vec<Option<StockStatus>>>()
    );
    Ok(())
}
