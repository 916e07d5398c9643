//! Somebody who works with the cluster of a history.

use std::fmt::Debug;
use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::api::core::v1 as core;
use kooper_sim::Sim;
use korder_api::{Order, Ticket};
use korder_core::node::Node;
use korder_core::pod::Pod;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Peril, Seen};
use crate::objects::{asking, claimant, competitor, node, order};

/// Orders that users work with.
const ORDERS: [&str; 3] = ["a", "b", "c"];
/// A finalizer that keeps guardians.
const FINALIZER: &str = "example.com/keeps";

/// Somebody who works with the cluster.
pub(super) struct User {
    sim: Sim,
    client: kube::Client,
    perils: Vec<Peril>,
    /// How many nodes there have been.
    nodes: usize,
    /// What was done, and how often.
    pub(super) done: Seen,
}

/// What a user does.
type Move = &'static str;

/// What users do in every history, each as often as it stands here.
const ALWAYS: [Move; 30] = [
    "orders made",
    "orders made",
    "orders made",
    "orders made",
    "claims",
    "claims",
    "claims",
    "claims",
    "claims",
    "special claims",
    "special claims",
    "claims of any order",
    "changes of mind",
    "changes of mind",
    "groups",
    "competitors",
    "pods deleted",
    "pods deleted",
    "pods replaced",
    "pods replaced",
    "guardians deleted",
    "guardians evicted",
    "guardians kept",
    "tickets deleted",
    "orders deleted",
    "orders replaced",
    "orders scaled",
    "orders scaled",
    "orders changed",
    "gates removed",
];

impl User {
    pub(super) fn new(sim: &Sim, perils: Vec<Peril>) -> Self {
        Self { sim: sim.clone(), client: sim.client("user"), perils, nodes: 3, done: Seen::default() }
    }

    pub(super) async fn make_a_move(&mut self, rng: &mut Rng, n: usize) {
        let nodes = ["drains", "nodes uncordoned", "nodes replaced"];
        let mut moves: Vec<Move> = ALWAYS.to_vec();
        moves.extend(nodes.iter().filter(|_| self.perils.contains(&Peril::Nodes)));
        moves.extend(["stronger pods"].iter().filter(|_| self.perils.contains(&Peril::Stronger)));
        let chosen = moves[rng.usize(0..moves.len())];
        *self.done.0.entry(chosen).or_default() += 1;
        let (name, pod) = (ORDERS[rng.usize(0..ORDERS.len())], format!("pod-{n}"));
        match chosen {
            "orders made" => self.make_order(name, rng),
            "claims" => create(&self.sim, claimant(&pod, Some(name))),
            "special claims" => self.ask_in_a_special_way(rng, &pod, name),
            "claims of any order" => create(&self.sim, claimant(&pod, None)),
            "changes of mind" => self.change_ones_mind(rng, &pod, name).await,
            "groups" => self.ask_together(rng, n, name),
            "competitors" => create(&self.sim, competitor(&format!("other-{n}"))),
            "pods deleted" => self.delete_one::<Pod>("pods", rng, |pod| !is_guardian(pod)).await,
            "pods replaced" => self.replace_pod(rng).await,
            "guardians deleted" => self.delete_one::<Pod>("pods", rng, is_guardian).await,
            "guardians evicted" => self.evict_guardian(rng).await,
            "guardians kept" => self.keep_guardian(rng).await,
            "tickets deleted" => self.delete_one::<Ticket>("tickets.core.korder.dev", rng, |_| true).await,
            "orders deleted" => self.delete_one::<Order>("orders.core.korder.dev", rng, |_| true).await,
            "orders replaced" => {
                self.delete::<Order>(name).await;
                self.make_order(name, rng);
            }
            "orders scaled" => self.patch_order(name, &json!({"replicas": rng.u32(0..5)})).await,
            "orders changed" => self.change_order(name, rng).await,
            "gates removed" => self.remove_gate(rng).await,
            "drains" => self.drain(rng).await,
            "nodes uncordoned" => self.uncordon().await,
            "nodes replaced" => self.replace_node(rng).await,
            _ => create(&self.sim, stronger(&format!("strong-{n}"))),
        }
    }

    /// Leaves the cluster so that all can come to rest.
    pub(super) async fn go_home(&self) {
        self.uncordon().await;
        let kept: Vec<String> = self.names("pods", |pod| pod["metadata"]["finalizers"].is_array());
        for name in kept {
            self.patch::<Pod>(&name, &json!({"metadata": {"finalizers": null}})).await;
        }
        for name in ORDERS {
            self.patch_order(name, &json!({"paused": false})).await;
        }
        for name in self.names("pods", |pod| pod["spec"]["priority"].as_i64().is_some_and(|priority| priority > 0)) {
            self.delete::<Pod>(&name).await;
        }
    }

    fn make_order(&self, name: &str, rng: &mut Rng) {
        let policy = ["Never", "OnClaim", "Always"][rng.usize(0..3)];
        // What always comes again would never be quiet if it did not last.
        let duration = if policy == "Always" { "1h" } else { ["5s", "30s", "1h"][rng.usize(0..3)] };
        if self.sim.object("orders.core.korder.dev", "default", name).is_none() {
            create(&self.sim, order(name, rng.u32(0..5), policy, duration));
        }
    }

    /// Asks for a ticket without requiring it, or for some time only.
    fn ask_in_a_special_way(&self, rng: &mut Rng, pod: &str, order: &str) {
        let timeout = ["1s", "20s", "2m"][rng.usize(0..3)];
        let then = ["Wait", "Fallback", "Fail"][rng.usize(0..3)];
        let optional = [("order", order), ("required", "false")];
        let impatient = [("order", order), ("timeout", timeout), ("on-timeout", then)];
        let annotations: &[_] = if rng.bool() { &optional } else { &impatient };
        create(&self.sim, asking(pod, annotations));
    }

    /// Asks for several tickets or none; now and then one of the pods never comes.
    fn ask_together(&self, rng: &mut Rng, n: usize, order: &str) {
        let size = rng.usize(2..4);
        let come = if rng.u8(0..4) == 0 { size - 1 } else { size };
        let (group, size) = (format!("group-{n}"), size.to_string());
        for member in 0..come {
            let annotations = [("order", order), ("group", &group), ("group-size", &size)];
            create(&self.sim, asking(&format!("pod-{n}-{member}"), &annotations));
        }
    }

    /// Asks for a ticket, and deletes the pod in the middle of its hand-over.
    async fn change_ones_mind(&self, rng: &mut Rng, pod: &str, order: &str) {
        create(&self.sim, claimant(pod, Some(order)));
        tokio::time::sleep(Duration::from_millis(rng.u64(0..100))).await;
        self.delete::<Pod>(pod).await;
    }

    /// Deletes a pod and makes another one of the same name at once, as a StatefulSet does.
    async fn replace_pod(&self, rng: &mut Rng) {
        let asks = |pod: &Value| pod["metadata"]["annotations"].is_object() && !is_guardian(pod);
        let Some(name) = self.one_of("pods", rng, asks) else { return };
        let Some(old) = self.sim.object("pods", "default", &name) else { return };
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let deleted = self.api::<Pod>().delete(&name, &now).await;
        self.expect_but_not_found(deleted.map(drop));
        let asked = old.value()["metadata"]["annotations"].as_object().into_iter().flatten();
        let asked = asked.filter(|(key, _)| !korder_api::names::CONTROLLER_ANNOTATIONS.contains(&key.as_str()));
        let mut new = competitor(&name);
        new["metadata"]["annotations"] = asked.map(|(key, value)| (key.clone(), value.clone())).collect();
        // It is there still, if somebody's finalizer keeps it.
        if self.sim.object("pods", "default", &name).is_none() {
            create(&self.sim, new);
        }
    }

    async fn evict_guardian(&self, rng: &mut Rng) {
        if let Some(name) = self.one_of("pods", rng, is_guardian) {
            self.evict(&name).await;
        }
    }

    async fn evict(&self, pod: &str) {
        let evicted = self.api::<core::Pod>().evict(pod, &EvictParams::default()).await;
        self.expect_but_not_found(evicted.map(drop));
    }

    /// Puts a finalizer on a guardian, or takes one off.
    async fn keep_guardian(&self, rng: &mut Rng) {
        let Some(name) = self.one_of("pods", rng, is_guardian) else { return };
        let Some(guardian) = self.sim.object("pods", "default", &name) else { return };
        let is_kept = guardian.value()["metadata"]["finalizers"].is_array();
        if is_kept || !guardian.is_ending() {
            let finalizers = if is_kept { Value::Null } else { json!([FINALIZER]) };
            self.patch::<Pod>(&name, &json!({"metadata": {"finalizers": finalizers}})).await;
        }
    }

    async fn change_order(&self, name: &str, rng: &mut Rng) {
        let change = match rng.u8(0..4) {
            0 => json!({"paused": true}),
            1 => json!({"paused": false}),
            2 => json!({"strategy": {"refreshPolicy": "OnClaim"}}),
            _ => json!({"strategy": {"refreshPolicy": "Never"}}),
        };
        self.patch_order(name, &change).await;
    }

    /// Takes korder's gate off a pod, which is nobody's business.
    async fn remove_gate(&self, rng: &mut Rng) {
        if let Some(name) = self.one_of("pods", rng, |pod| pod["spec"]["schedulingGates"].is_array()) {
            self.patch::<Pod>(&name, &json!({"spec": {"schedulingGates": null}})).await;
        }
    }

    /// Cordons a node and evicts what is there.
    async fn drain(&self, rng: &mut Rng) {
        let Some(drained) = self.one_of("nodes", rng, |_| true) else { return };
        self.patch_node(&drained, &json!({"spec": {"unschedulable": true}})).await;
        for pod in self.names("pods", |pod| pod["spec"]["nodeName"] == drained.as_str()) {
            self.evict(&pod).await;
        }
    }

    async fn uncordon(&self) {
        for node in self.names("nodes", |node| node["spec"]["unschedulable"] == true) {
            self.patch_node(&node, &json!({"spec": {"unschedulable": null}})).await;
        }
    }

    /// A node goes with all that is on it, and another one comes.
    async fn replace_node(&mut self, rng: &mut Rng) {
        let Some(gone) = self.one_of("nodes", rng, |_| true) else { return };
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.expect_but_not_found(nodes.delete(&gone, &DeleteParams::default()).await.map(drop));
        self.nodes += 1;
        create(&self.sim, node(&format!("n{}", self.nodes), 4));
        // As the garbage collector of pods does it.
        for pod in self.names("pods", |pod| pod["spec"]["nodeName"] == gone.as_str()) {
            let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            let deleted = self.api::<Pod>().delete(&pod, &now).await;
            self.expect_but_not_found(deleted.map(drop));
        }
    }

    async fn delete_one<K>(&self, resource: &str, rng: &mut Rng, which: fn(&Value) -> bool)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        if let Some(name) = self.one_of(resource, rng, which) {
            self.delete::<K>(&name).await;
        }
    }

    async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let deleted = self.api::<K>().delete(name, &DeleteParams::default()).await;
        self.expect_but_not_found(deleted.map(drop));
    }

    async fn patch_order(&self, name: &str, spec: &Value) {
        self.patch::<Order>(name, &json!({"spec": spec})).await;
    }

    async fn patch<K>(&self, name: &str, change: &Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let patched = self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(change)).await;
        self.expect_but_not_found(patched.map(drop));
    }

    async fn patch_node(&self, name: &str, change: &Value) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patched = nodes.patch(name, &PatchParams::default(), &Patch::Merge(change)).await;
        self.expect_but_not_found(patched.map(drop));
    }

    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::default_namespaced(self.client.clone())
    }

    /// The names of the objects of a kind that are meant.
    fn names(&self, resource: &str, which: impl Fn(&Value) -> bool) -> Vec<String> {
        let objects = self.sim.objects(resource);
        let objects = objects.iter().map(|object| object.value()).filter(|object| which(object));
        objects.filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    fn one_of(&self, resource: &str, rng: &mut Rng, which: impl Fn(&Value) -> bool) -> Option<String> {
        let mut names = self.names(resource, which);
        if names.is_empty() { None } else { Some(names.swap_remove(rng.usize(0..names.len()))) }
    }

    fn expect_but_not_found(&self, result: kube::Result<()>) {
        match result {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => self.sim.fail(format!("a user's request failed: {error}")),
            Ok(()) => {}
        }
    }
}

fn is_guardian(pod: &Value) -> bool {
    pod["metadata"]["labels"].is_object()
}

/// A pod of higher priority that asks for no ticket.
fn stronger(name: &str) -> Value {
    let mut pod = competitor(name);
    pod["spec"]["priorityClassName"] = json!("strong");
    pod
}

pub(crate) fn create(sim: &Sim, object: Value) {
    if let Err(status) = sim.create(object) {
        sim.fail(format!("the scenario could not make an object: {status}"));
    }
}
