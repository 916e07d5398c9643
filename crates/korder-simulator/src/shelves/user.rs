//! Somebody who works with the shelves of a history.

use std::fmt::Debug;

use fastrand::Rng;
use kooper_sim::Sim;
use korder_api::{Inventory, Order, Stock, names};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::histories::{Seen, create};

/// Inventories that users work with.
const SHELVES: [&str; 2] = ["bread", "cake"];
/// What an inventory is called of which a copy is shared.
const COPY: &str = "recipe";

/// What users do, each as often as it stands here.
const MOVES: [&str; 24] = [
    "inventories made",
    "inventories made",
    "inventories made",
    "orders",
    "orders",
    "orders",
    "orders",
    "orders",
    "orders of an item",
    "orders of an item",
    "orders of copies",
    "orders of copies",
    "orders of several",
    "orders with delivery",
    "orders for a time",
    "orders with a deadline",
    "orders deleted",
    "orders deleted",
    "stocks deleted",
    "inventories scaled",
    "inventories paused",
    "items changed",
    "inventories deleted",
    "names taken",
];

/// Somebody who works with the cluster.
pub(super) struct User {
    sim: Sim,
    client: kube::Client,
    /// What was done, and how often.
    pub(super) done: Seen,
}

impl User {
    pub(super) fn new(sim: &Sim) -> Self {
        Self { sim: sim.clone(), client: sim.client("user"), done: Seen::default() }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.done.0.entry(what).or_default() += 1;
    }

    pub(super) async fn make_a_move(&mut self, rng: &mut Rng, n: usize) {
        let chosen = MOVES[rng.usize(0..MOVES.len())];
        self.count(chosen);
        let shelf = SHELVES[rng.usize(0..SHELVES.len())];
        let name = format!("order-{n}");
        let of = |shelf: &str| json!({"inventoryRef": {"name": shelf}});
        let with = |mut spec: Value, field: &str, value: Value| {
            spec[field] = value;
            spec
        };
        match chosen {
            "inventories made" => self.make_inventory(shelf, rng),
            "orders" => self.order(&name, &of(shelf)),
            "orders of an item" => {
                let policy = ["Create", "Wait", "Reject"][rng.usize(0..3)];
                let spec = json!({"item": item("Fungible", rng.u32(0..2)), "ifNoInventory": policy});
                self.order(&name, &spec);
            }
            "orders of copies" => {
                if self.sim.object(INVENTORIES, NAMESPACE, COPY).is_none() {
                    create(&self.sim, inventory(COPY, &json!({"replicas": rng.u32(0..2), "item": item("Copy", 7)})));
                }
                self.order(&name, &of(COPY));
            }
            "orders of several" => self.order(&name, &with(of(shelf), "replicas", json!(rng.u32(0..4)))),
            "orders with delivery" => {
                let deliver = json!({"configMapName": format!("delivered-{}", rng.u32(0..4))});
                self.order(&name, &with(of(shelf), "deliver", deliver));
            }
            "orders for a time" => self.order(&name, &with(of(shelf), "holdFor", json!("20s"))),
            "orders with a deadline" => {
                let spec = with(of(shelf), "progressDeadlineSeconds", json!(15));
                self.order(&name, &with(spec, "ttlSecondsAfterFinished", json!(30)));
            }
            "orders deleted" => self.delete_one::<Order>("orders.core.korder.dev", rng).await,
            "stocks deleted" => self.delete_one::<Stock>("stocks.core.korder.dev", rng).await,
            "inventories scaled" => {
                let change = match rng.u8(0..2) {
                    0 => json!({"replicas": rng.u32(0..4), "demand": null}),
                    _ => json!({"replicas": null, "demand": {"maxReplicas": 3}}),
                };
                self.patch_inventory(shelf, &change).await;
            }
            "inventories paused" => self.patch_inventory(shelf, &json!({"paused": rng.bool()})).await,
            "items changed" => {
                let inputs = json!({"VERSION": rng.u32(0..3).to_string()});
                self.patch_inventory(shelf, &json!({"item": {"inputs": inputs}})).await;
            }
            "inventories deleted" => self.delete::<Inventory>(shelf).await,
            _ => {
                let name = format!("delivered-{}", rng.u32(0..4));
                let taken = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"mine": "yes"}});
                // It may be there, delivered by an order or made before.
                self.sim.create(taken).ok();
            }
        }
    }

    /// Leaves the cluster so that all can come to rest.
    pub(super) async fn go_home(&self) {
        for shelf in SHELVES {
            self.patch_inventory(shelf, &json!({"paused": false})).await;
        }
    }

    fn make_inventory(&self, name: &str, rng: &mut Rng) {
        if self.sim.object(INVENTORIES, NAMESPACE, name).is_some() {
            return;
        }
        let mut spec = json!({"item": item("Fungible", 0), "parallelism": rng.u32(1..4)});
        match rng.u8(0..3) {
            0 => spec["demand"] = json!({"minReplicas": rng.u32(0..2), "maxReplicas": 4}),
            _ => spec["replicas"] = json!(rng.u32(0..4)),
        }
        if rng.u8(0..4) == 0 {
            spec["maxUnits"] = json!(rng.u32(1..6));
        }
        if rng.u8(0..3) == 0 {
            spec["updatePolicy"] = json!("Immediate");
        }
        if rng.u8(0..2) == 0 {
            spec["reclaimPolicy"] = json!("Restock");
            spec["reset"] = json!({"template": {"spec": {"containers": [{"name": "clean", "image": "cleaner"}]}}});
        }
        // One by a Job would go on to the end, which is to be quiet.
        if rng.u8(0..2) == 0 {
            let fresh = ["1s", "30s"][rng.usize(0..2)];
            spec["probe"] =
                json!({"expression": "stock.status.phase == 'Ready'", "periodSeconds": 60, "freshFor": fresh});
        }
        spec["failedRetention"] = json!("5m");
        spec["idleAfter"] = json!("10m");
        create(&self.sim, inventory(name, &spec));
    }

    fn order(&self, name: &str, spec: &Value) {
        let order = json!({
            "apiVersion": names::API_VERSION, "kind": "Order", "metadata": {"name": name}, "spec": spec,
        });
        create(&self.sim, order);
    }

    async fn patch_inventory(&self, name: &str, spec: &Value) {
        let api: Api<Inventory> = Api::namespaced(self.client.clone(), NAMESPACE);
        let patch = Patch::Merge(json!({"spec": spec}));
        // It may be gone by now.
        api.patch(name, &PatchParams::default(), &patch).await.ok();
    }

    async fn delete_one<K>(&self, resource: &str, rng: &mut Rng)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let names: Vec<String> = self
            .sim
            .objects(resource)
            .iter()
            .map(|object| object.value()["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        if !names.is_empty() {
            self.delete::<K>(&names[rng.usize(0..names.len())]).await;
        }
    }

    async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), NAMESPACE);
        // It may be gone by now.
        api.delete(name, &DeleteParams::default()).await.ok();
    }
}

const NAMESPACE: &str = "default";
const INVENTORIES: &str = "inventories.core.korder.dev";

fn inventory(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": names::API_VERSION, "kind": "Inventory", "metadata": {"name": name}, "spec": spec})
}

/// An item made by a job, of which there are versions.
fn item(type_: &str, version: u32) -> Value {
    json!({
        "type": type_,
        "inputs": {"VERSION": version.to_string()},
        "operation": {"job": {"template": {"spec": {"containers": [{"name": "bake", "image": "baker"}]}}}},
        "outputs": [{"name": "loaf", "from": {"result": "result"}}],
    })
}
