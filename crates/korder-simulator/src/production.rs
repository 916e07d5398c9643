//! Two units, one made by a Job and one of objects; the first is given out, given back, made like new and probed, and both are
//! torn down again, with the controllers killed before and after each write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kooper_sim::actors::JobOptions;
use kooper_sim::fault::FaultPlan;
use kooper_sim::{Sim, Span, Write, run};
use korder_api::{Inventory, Stock, StockPhase, names};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::parallel;
use crate::world::{World, is_controllers};

/// How long it may take until both units are on the shelf, and until they are gone.
const PATIENCE: Duration = Duration::from_mins(5);
/// Longer than anything that is still to come could take.
const AFTERMATH: Duration = Duration::from_mins(2);
/// The Secret that is delivered of the unit which is given out.
const DELIVERED: &str = "mine";
/// What the Jobs' containers end with: each with another key.
const RESULT: &str = r#"{"digest": "sha256:1", "key": "$(uid)"}"#;

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What was on the shelf, in words.
    pub shelf: BTreeSet<String>,
    /// What was violated.
    pub violations: Vec<String>,
    /// Writes of the controllers that were alive at the end.
    pub writes: u64,
    /// How often controllers died.
    pub crashes: usize,
}

/// Plays the scenario without faults, then once for each crash point, and compares. How many runs were made, and what was violated.
pub fn every_point(seed: u64) -> (usize, Vec<String>) {
    let whole = play(seed, FaultPlan::none());
    let points: Vec<(u64, bool)> = (1..=whole.writes).flat_map(|write| [(write, false), (write, true)]).collect();
    let runs = parallel::map(&points, |&(write, after)| {
        let plan = if after { FaultPlan::crash_after_write(write) } else { FaultPlan::crash_before_write(write) };
        let run = parallel::or_panic(|| play(seed, plan));
        run.unwrap_or_else(|why| Outcome { violations: vec![why], ..Outcome::default() })
    });
    let mut violations = whole.violations.clone();
    for ((write, after), run) in points.iter().zip(&runs) {
        let name = format!("killed {} write {write}", if *after { "after" } else { "before" });
        violations.extend(run.violations.iter().map(|violation| format!("{name}: {violation}")));
        if run.shelf != whole.shelf || run.crashes != 1 {
            violations.push(format!(
                "{name}: {} crashes, and on the shelf was {:?}, not {:?}",
                run.crashes, run.shelf, whole.shelf
            ));
        }
    }
    (runs.len(), violations)
}

/// Plays the scenario: the first controllers live through the plan, those after a crash through nothing.
pub fn play(seed: u64, plan: FaultPlan) -> Outcome {
    run(seed, |sim| async move {
        let options = JobOptions { takes: Span::millis(500, 3000), failing_per_mille: 0, message: RESULT.to_owned() };
        let mut world = World::new(sim.clone(), plan);
        let jobs = sim.jobs(options);
        let story = async {
            for inventory in [by_job(), of_objects()] {
                if let Err(status) = sim.create(inventory) {
                    sim.fail(format!("an inventory was refused: {status}"));
                }
            }
            world.during(settled(&sim, |sim| units(sim, Some(StockPhase::Ready)) == 2)).await;
            if let Err(status) = sim.create(order()) {
                sim.fail(format!("an order was refused: {status}"));
            }
            world.during(settled(&sim, |sim| stocks(sim).iter().any(is_back))).await;
            let shelf = shelf(&sim);
            let inventories: Api<Inventory> = Api::namespaced(sim.client("admin"), "default");
            for name in ["built", "bought"] {
                if let Err(error) = world.during(inventories.delete(name, &DeleteParams::default())).await {
                    sim.fail(format!("an inventory could not be deleted: {error}"));
                }
            }
            world.during(settled(&sim, |sim| units(sim, None) == 0)).await;
            world.run(AFTERMATH).await;
            shelf
        };
        let shelf = tokio::select! {
            biased;
            never = jobs => match never {},
            shelf = story => shelf,
        };
        Outcome { shelf, violations: judge(&sim), writes: world.writes(), crashes: world.crashes() }
    })
}

async fn settled(sim: &Sim, holds: impl Fn(&Sim) -> bool) {
    sim.wait_until("the units are where they should be", PATIENCE, holds).await;
}

/// Whether a unit was given out, made like new, and found good.
fn is_back(stock: &Stock) -> bool {
    stock.status.as_ref().is_some_and(|status| {
        status.resets == Some(1) && status.phase == Some(StockPhase::Ready) && status.probe_time.is_some()
    })
}

/// An order that gives its unit back soon, with what was delivered of it.
fn order() -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": "Order", "metadata": {"name": "guest"},
        "spec": {"inventoryRef": {"name": "built"}, "deliver": {"secretName": DELIVERED}, "holdFor": "20s",
            "ttlSecondsAfterFinished": 10},
    })
}

fn inventory(name: &str, item: &Value) -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": "Inventory", "metadata": {"name": name},
        "spec": {"replicas": 1, "item": item},
    })
}

fn by_job() -> Value {
    let template = json!({"spec": {"containers": [{"name": "build", "image": "builder"}]}});
    let outputs = json!([
        {"name": "digest", "from": {"result": "digest"}},
        {"name": "key", "from": {"result": "key"}, "sensitive": true},
    ]);
    let mut built = inventory("built", &json!({"operation": {"job": {"template": template}}, "outputs": outputs}));
    let spec = &mut built["spec"];
    (spec["maxUnits"], spec["reclaimPolicy"]) = (json!(1), json!("Restock"));
    spec["reset"] = json!({"template": template});
    spec["probe"] = json!({"job": {"template": template}, "periodSeconds": 60});
    built
}

fn of_objects() -> Value {
    let object = |kind: &str, data: &str| {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "$(stock.name)"},
            data: {"value": if kind == "Secret" { "$(random.20)" } else { "$(stock.name)" }}})
    };
    let manifests = [object("ConfigMap", "data"), object("Secret", "stringData")];
    let output = json!({"name": "value", "from": {"object": {"kind": "ConfigMap", "name": "$(stock.name)"}, "fieldPath": ".data.value"}});
    inventory("bought", &json!({"operation": {"manifests": manifests}, "outputs": [output]}))
}

fn stocks(sim: &Sim) -> Vec<Stock> {
    sim.objects("stocks.core.korder.dev").iter().filter_map(|stock| stock.parse().ok()).collect()
}

fn units(sim: &Sim, phase: Option<StockPhase>) -> usize {
    let is =
        |stock: &&Stock| phase.is_none_or(|phase| stock.status.as_ref().and_then(|status| status.phase) == Some(phase));
    stocks(sim).iter().filter(is).count()
}

/// What is on the shelf, but for what differs from run to run.
fn shelf(sim: &Sim) -> BTreeSet<String> {
    let mut shelf = BTreeSet::new();
    for stock in stocks(sim) {
        let status = stock.status.unwrap_or_default();
        let objects: Vec<&str> = status.objects.iter().map(|object| object.kind.as_str()).collect();
        let known = status.objects.iter().all(|object| object.uid.is_some());
        let name = stock.metadata.name.unwrap_or_default();
        let (outputs, secret, resets) = (status.outputs, status.secret_name, status.resets);
        shelf.insert(format!("{name}: {outputs:?}, Secret {secret:?}, {objects:?}, {known}, reset {resets:?}"));
    }
    for secret in sim.objects("secrets") {
        let keys: Vec<&String> = secret.value()["data"].as_object().into_iter().flat_map(|data| data.keys()).collect();
        shelf.insert(format!("Secret {}: {keys:?}", secret.value()["metadata"]["name"]));
    }
    shelf
}

/// What must hold of every run.
fn judge(sim: &Sim) -> Vec<String> {
    let mut violations = sim.failures();
    for kind in ["secrets", "configmaps", "jobs.batch", "pods", "stocks.core.korder.dev"] {
        for left in sim.objects(kind) {
            violations.push(format!("{} {} is left", kind, left.value()["metadata"]["name"]));
        }
    }
    // What each unit's status names, as it stood at each moment; and who made what.
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    let mut is_delivered = false;
    for write in sim.history() {
        if write.is_of("secrets") && write.name == DELIVERED {
            is_delivered = write.after.is_some();
        }
        let phase = write.after.as_ref().map(|after| after.value()["status"]["phase"] == "Resetting");
        if phase == Some(true) && write.is_of("stocks.core.korder.dev") && is_delivered {
            violations.push(format!("{} is nobody's, and what was delivered of it is there", write.name));
        }
        if let Some(after) = write.after.as_ref().filter(|_| write.is_of("stocks.core.korder.dev")) {
            let objects = after.value()["status"]["objects"].as_array().cloned().unwrap_or_default();
            let objects = objects.iter().filter_map(|object| object["kind"].as_str().map(str::to_owned));
            named.insert(after.uid().to_owned(), objects.collect());
        }
        violations.extend(of_object(&write, &named, &mut made));
    }
    violations.extend(
        made.iter().filter(|(_, count)| **count > 1).map(|(what, count)| format!("{what} was made {count} times")),
    );
    violations
}

fn of_object(
    write: &Arc<Write>,
    named: &BTreeMap<String, BTreeSet<String>>,
    made: &mut BTreeMap<String, usize>,
) -> Option<String> {
    let after = write.after.as_ref().filter(|_| write.before.is_none() && is_controllers(&write.actor))?;
    let kind = write.kind.api.kind.as_str();
    let unit = after.value()["metadata"]["labels"][names::LABEL_STOCK_UID].as_str()?;
    *made.entry(format!("{kind} `{}` of {unit}", write.name)).or_default() += 1;
    let is_object = ["ConfigMap", "Secret"].contains(&kind) && !write.name.contains("-outputs");
    let is_named = named.get(unit).is_some_and(|named| named.contains(kind));
    (is_object && !is_named).then(|| format!("{kind} `{}` was made before its unit's status named it", write.name))
}
