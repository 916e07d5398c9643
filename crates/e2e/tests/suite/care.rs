//! What keeps units good that are made: they are made like new when they are given back, probed, and looked at for drift.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::{OnNodesOf as _, Size};
use e2e::{Case, History, Log};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use korder_api::{Inventory, Order, Stock, StockPhase};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::suite::Suite;
use crate::until::{event_tells, reason};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_unit_that_is_given_back_is_made_like_new_for_the_next);
    suite.add(a_unit_that_can_not_be_made_like_new_is_replaced);
    suite.add(a_password_that_stays_the_same_is_not_handed_on);
    suite.add(a_unit_that_a_job_finds_bad_is_replaced);
    suite.add(units_are_checked_before_they_are_given_out_and_a_broken_probe_is_not_believed);
    suite.add(a_unit_whose_objects_were_changed_is_replaced_and_one_that_is_held_stays);
}

/// A job on the test's node that ends so and gives this, by any of its two ways: on simulated nodes annotations say it.
fn job(case: &Case, code: u8, result: &str) -> Value {
    let script = format!("printf '%s' '{result}' > /dev/termination-log; exit {code}");
    let container = Container {
        name: "work".to_owned(),
        image: Some("busybox:latest".to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(["sh", "-c", &script].map(str::to_owned).to_vec()),
        ..Container::default()
    };
    let pod = PodSpec { containers: vec![container], ..PodSpec::default() }.on_nodes_of(case.namespace());
    json!({"backoffLimit": 0, "template": {
        "metadata": {"annotations": {
            "simulated-node.korder.dev/exit-code": code.to_string(),
            "simulated-node.korder.dev/result": result,
        }},
        "spec": pod,
    }})
}

/// What happens to the units of a test.
struct Shelf {
    stocks: History<Stock>,
}

impl Shelf {
    /// One inventory, `bread`, of units that a job makes which gives `loaf: rye`.
    async fn of(case: &Case, more: Value) -> Result<Self> {
        case.add_nodes(1, NODE).await?;
        let outputs = json!([{"name": "loaf", "from": {"result": "loaf"}}]);
        let item = json!({"operation": {"job": job(case, 0, r#"{"loaf": "rye"}"#)}, "outputs": outputs});
        let mut spec = json!({"replicas": 1, "item": item});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        case.create(&Inventory::new("bread", serde_json::from_value(spec)?)).await?;
        Ok(Self { stocks: History::start(case.api()).await? })
    }

    async fn is(&self, name: &str, phase: StockPhase) -> Result<Arc<Stock>> {
        let is = |log: &Log<Stock>| {
            log.get(name).filter(|one| one.status.as_ref().and_then(|status| status.phase) == Some(phase)).cloned()
        };
        self.stocks.until(format!("unit `{name}` is {phase:?}"), is).await
    }
}

async fn takes(case: &Case, name: &str) -> Result<Arc<Order>> {
    let order = Order::new(name, serde_json::from_value(json!({"inventoryRef": {"name": "bread"}}))?);
    case.create(&order).await?;
    let is = |log: &Log<Order>| {
        let order = log.get(name)?;
        (reason(&order.status.as_ref()?.conditions) == Some(("True", "Filled"))).then(|| Arc::clone(order))
    };
    case.orders.until(format!("order `{name}` is filled"), is).await
}

/// Has no more units made: what is removed with the test makes room for them.
async fn close(case: &Case) -> Result<()> {
    case.kubectl().get(&["delete", "kinv", "bread", "--wait=false"]).await.map(drop)
}

async fn a_unit_that_is_given_back_is_made_like_new_for_the_next(case: &Case) -> Result<()> {
    let reset = job(case, 0, r#"{"loaf": "fresh rye"}"#);
    let more = json!({"maxUnits": 1, "reclaimPolicy": "Restock", "reset": reset});
    let shelf = Shelf::of(case, more).await?;
    let made = shelf.is("bread-1", StockPhase::Ready).await?;
    for (round, (holder, loaf)) in (0..).zip([("first", "rye"), ("second", "fresh rye"), ("third", "fresh rye")]) {
        let order = takes(case, holder).await?;
        let status = order.status.clone().unwrap_or_default();
        ensure!(status.stock_name.as_deref() == Some("bread-1"), "{status:?}");
        ensure!(status.outputs.get("loaf").map(String::as_str) == Some(loaf), "{status:?}");
        case.delete::<Order>(holder).await?;
        let is_back = |log: &Log<Stock>| {
            let one = log.get("bread-1")?.status.as_ref()?;
            (one.phase == Some(StockPhase::Ready) && one.resets == Some(round + 1)).then(|| one.clone())
        };
        let back = shelf.stocks.until(format!("the unit is back for the time {round}"), is_back).await?;
        ensure!(back.claim_ref.is_none() && reason(&back.conditions) == Some(("True", "Made")), "{back:?}");
        let first = made.status.as_ref().and_then(|status| status.ready_time.clone());
        ensure!(back.ready_time == first, "its age is not that of its making: {back:?}");
    }
    let name = "the jobs that made it like new are gone";
    case.kubectl().get(&["wait", "--for=delete", "job/bread-1-r3", "--timeout=60s"]).await.context(name)?;
    let jobs = case.kubectl().get(&["get", "jobs", "-l", "korder.dev/stock=bread-1", "-o", "name"]).await?;
    ensure!(jobs.trim() == "job.batch/bread-1", "{name}: {jobs}");
    Ok(())
}

async fn a_unit_that_can_not_be_made_like_new_is_replaced(case: &Case) -> Result<()> {
    let more = json!({"maxUnits": 1, "reclaimPolicy": "Restock", "reset": job(case, 3, "no flour")});
    let shelf = Shelf::of(case, more).await?;
    takes(case, "first").await?;
    case.delete::<Order>("first").await?;
    let failed = shelf.is("bread-1", StockPhase::Failed).await?;
    let status = failed.status.clone().unwrap_or_default();
    ensure!(reason(&status.conditions) == Some(("False", "ResetFailed")), "{status:?}");
    shelf.is("bread-2", StockPhase::Ready).await?;
    let second = takes(case, "second").await?;
    ensure!(second.status.as_ref().and_then(|status| status.stock_name.as_deref()) == Some("bread-2"), "{second:?}");
    let left = case.kubectl().get(&["get", "jobs,pods", "-l", "korder.dev/stock=bread-1", "-o", "name"]).await?;
    ensure!(left.trim().is_empty(), "left of it: {left}");
    close(case).await
}

async fn a_password_that_stays_the_same_is_not_handed_on(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let granted = case.run_korder(&["install", "--namespace-grant", &format!("{}/default", case.namespace())]).await?;
    ensure!(granted.status.success(), "{}", granted.stderr);
    let outputs = json!([{"name": "key", "from": {"result": "key"}, "sensitive": true}]);
    let item = json!({"operation": {"job": job(case, 0, r#"{"key": "old"}"#)}, "outputs": outputs});
    let reset = job(case, 0, r#"{"key": "new"}"#);
    let spec = json!({"replicas": 1, "maxUnits": 1, "item": item, "reclaimPolicy": "Restock", "reset": reset});
    case.create(&Inventory::new("bread", serde_json::from_value(spec)?)).await?;
    let shelf = Shelf { stocks: History::start(case.api()).await? };
    takes(case, "first").await?;
    case.delete::<Order>("first").await?;
    let is_back = |log: &Log<Stock>| {
        let status = log.get("bread-1")?.status.as_ref()?;
        (status.phase == Some(StockPhase::Ready) && status.resets == Some(1)).then_some(())
    };
    shelf.stocks.until("the unit is back", is_back).await?;
    let key = case.kubectl().get(&["get", "secret", "bread-1-outputs-1", "-o", "jsonpath={.data.key}"]).await?;
    ensure!(key == "bmV3", "the key is still `{key}`");
    let left = case.kubectl().get(&["get", "secrets", "-l", "korder.dev/stock=bread-1", "-o", "name"]).await?;
    ensure!(left.trim() == "secret/bread-1-outputs-1", "what the first knows is left: {left}");
    // The next reset gives the same key again, which the second knows.
    takes(case, "second").await?;
    case.delete::<Order>("second").await?;
    let failed = shelf.is("bread-1", StockPhase::Failed).await?;
    let told = failed.status.iter().flat_map(|status| &status.conditions).find(|one| one.type_ == "Ready");
    ensure!(
        told.is_some_and(|told| told.reason == "ResetFailed" && told.message.contains("`key` is sensitive")),
        "{:?}",
        failed.name_any()
    );
    Ok(())
}

/// Each unit is probed once a minute, in a moment of its own, and not in the first half minute.
const PROBED: Duration = Duration::from_mins(2);

fn names(log: &Log<Stock>, phase: StockPhase) -> Vec<String> {
    let is = |one: &&Arc<Stock>| one.status.as_ref().and_then(|status| status.phase) == Some(phase);
    let mut names: Vec<String> = log.objects().filter(is).map(|one| one.name_any()).collect();
    names.sort();
    names
}

fn says(one: &Stock, type_: &str, status: &str) -> bool {
    let conditions = one.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == status)
}

async fn a_unit_that_a_job_finds_bad_is_replaced(case: &Case) -> Result<()> {
    let mut check = job(case, 0, "");
    // The check of one unit finds no node, and has failed after its time.
    let not_here = json!({"key": "e2e.korder.dev/bad", "operator": "NotIn", "values": ["$(stock.name)"]});
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": [not_here]}]});
    check["template"]["spec"]["affinity"] =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    let probe = json!({"job": check, "periodSeconds": 60, "timeoutSeconds": 5, "failureThreshold": 1});
    let shelf = Shelf::of(case, json!({"replicas": 3, "parallelism": 3, "probe": probe})).await?;
    let own = format!("e2e.korder.dev/node-of={}", case.namespace());
    case.kubectl().get(&["label", "nodes", "-l", &own, "e2e.korder.dev/bad=bread-2"]).await?;
    let replaced = |log: &Log<Stock>| {
        let healthy = |name: &str| log.get(name).is_some_and(|one| says(one, "Healthy", "True"));
        let ready = names(log, StockPhase::Ready) == ["bread-1", "bread-3", "bread-4"];
        (ready && healthy("bread-1") && healthy("bread-3")).then_some(())
    };
    shelf.stocks.until_within(PROBED, "the unit is replaced, and the others are found good", replaced).await?;
    let jobs = case.kubectl().get(&["get", "jobs", "-o", "name"]).await?;
    ensure!(!jobs.contains("bread-2"), "left of it: {jobs}");
    event_tells(case, "Inventory", "bread", "Retired").await.map(drop)
}

async fn units_are_checked_before_they_are_given_out_and_a_broken_probe_is_not_believed(case: &Case) -> Result<()> {
    let probe = json!({"expression": "false", "periodSeconds": 60, "freshFor": "1s"});
    let shelf = Shelf::of(case, json!({"replicas": 3, "parallelism": 3, "maxUnits": 3, "probe": probe})).await?;
    let made = |log: &Log<Stock>| (names(log, StockPhase::Ready).len() == 3).then_some(());
    shelf.stocks.until("three are ready", made).await?;
    // Units that were just made are as good as checked: when that is over, none is given out.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let order = json!({"inventoryRef": {"name": "bread"}, "replicas": 3});
    case.create(&Order::new("all", serde_json::from_value(order)?)).await?;
    let inventories: History<Inventory> = History::start(case.api()).await?;
    let suspect = |log: &Log<Inventory>| {
        let status = log.get("bread")?.status.as_ref()?;
        status.conditions.iter().find(|one| one.type_ == "ProbeSuspect" && one.status == "True").cloned()
    };
    let told = inventories.until("the probe is suspected", suspect).await?;
    ensure!(told.message.contains("units fail their checks"), "{}", told.message);
    ensure!(names(&shelf.stocks.log(), StockPhase::Ready).len() == 3, "none goes, and none is given out");

    let mended = json!({"spec": {"probe": {"expression": "stock.metadata.name != 'bread-2'"}}});
    case.api::<Inventory>().patch("bread", &PatchParams::default(), &Patch::Merge(mended)).await?;
    let filled = |log: &Log<Order>| log.get("all")?.status.as_ref()?.filled_time.as_ref().map(|_| ());
    case.orders.until_within(PROBED, "the order has three that are good", filled).await?;
    let held = names(&shelf.stocks.log(), StockPhase::Claimed);
    ensure!(held == ["bread-1", "bread-3", "bread-4"], "{held:?}");
    let believed = |log: &Log<Inventory>| {
        let conditions = &log.get("bread")?.status.as_ref()?.conditions;
        conditions.iter().all(|one| one.type_ != "ProbeSuspect").then_some(())
    };
    inventories.until("the probe is believed again", believed).await?;
    close(case).await
}

/// The account, and what it may do.
const ACCOUNT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: maker}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: maker}
rules: [{apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [get, create, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: maker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: maker}
subjects: [{kind: ServiceAccount, name: maker}]
";

async fn a_unit_whose_objects_were_changed_is_replaced_and_one_that_is_held_stays(case: &Case) -> Result<()> {
    case.kubectl().apply(ACCOUNT).await?;
    let granted = case.run_korder(&["install", "--namespace-grant", &format!("{}/maker", case.namespace())]).await?;
    ensure!(granted.status.success(), "{}", granted.stderr);
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "$(stock.name)"}, "spec": {"podSelector": {"matchLabels": {"of": "$(stock.name)"}}}});
    let item = json!({"serviceAccountName": "maker", "operation": {"manifests": [policy]}});
    let probe = json!({"expression": "true", "periodSeconds": 60});
    let spec = json!({"replicas": 2, "parallelism": 2, "maxUnits": 3, "item": item, "probe": probe});
    case.create(&Inventory::new("bread", serde_json::from_value(spec)?)).await?;
    let shelf = Shelf { stocks: History::start(case.api()).await? };
    shelf.is("bread-1", StockPhase::Ready).await?;
    takes(case, "first").await?;
    let full = |log: &Log<Stock>| (names(log, StockPhase::Ready).len() == 2).then_some(());
    shelf.stocks.until("the shelf is full", full).await?;
    let held = names(&shelf.stocks.log(), StockPhase::Claimed);
    let ready = names(&shelf.stocks.log(), StockPhase::Ready);
    for name in [&held[0], &ready[0]] {
        let change = r#"{"spec": {"podSelector": {"matchLabels": {"of": "somebody"}}}}"#;
        case.kubectl().get(&["patch", "networkpolicy", name, "--type=merge", "-p", change]).await?;
    }
    let drifted = |log: &Log<Stock>| {
        let told = log
            .events()
            .iter()
            .rev()
            .find(|event| event.object.name_any() == ready[0] && says(&event.object, "Drifted", "True"));
        let now = names(log, StockPhase::Ready);
        (told.is_some() && now.len() == 2 && now[0] == ready[1] && !now.contains(&ready[0])).then_some(())
    };
    shelf.stocks.until_within(PROBED, "the unit that was changed is replaced", drifted).await?;
    let holds = shelf.stocks.log().get(&held[0]).is_some_and(|one| {
        let claim = one.status.as_ref().and_then(|status| status.claim_ref.as_ref());
        one.metadata.deletion_timestamp.is_none() && claim.is_some_and(|claim| claim.name == "first")
    });
    ensure!(holds, "what is held was touched");
    Ok(())
}
