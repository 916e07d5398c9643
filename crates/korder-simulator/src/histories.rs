//! Random histories: orders, claims, deletions and faults as a seed says.

use std::time::Duration;

use fastrand::Rng;
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::{Sim, run};
use korder_api::{Order, Ticket};
use korder_core::pod::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::objects::{asking, claimant, competitor, node, order};
use crate::oracle;
use crate::world::World;

/// What users do in one history.
const MOVES: usize = 40;
/// Orders that they do it with.
const ORDERS: [&str; 3] = ["a", "b", "c"];
/// How long a history goes on after the last move, without faults: longer than any ticket lasts.
const AFTERMATH: Duration = Duration::from_mins(15);

/// Plays the history of a seed; what was violated.
pub fn play(seed: u64) -> Vec<String> {
    run(seed, |sim| async move {
        let mut rng = Rng::with_seed(seed);
        for n in 1..=3 {
            create(&sim, node(&format!("n{n}"), 4));
        }
        let mut world = World::new(sim.clone(), faults(seed, &mut rng));
        let user = User { sim: sim.clone(), client: sim.client("user") };
        for n in 0..MOVES {
            world.during(user.make_a_move(&mut rng, n)).await;
            world.run(Duration::from_millis(rng.u64(0..3000))).await;
            if rng.u8(0..12) == 0 {
                let plan = faults(seed + n as u64, &mut rng);
                world.restart(plan, Duration::from_millis(rng.u64(0..5000)));
            }
        }
        world.restart(FaultPlan::none(), Duration::ZERO);
        world.run(AFTERMATH).await;
        oracle::judge(&sim)
    })
}

/// Lost replies, conflicts, broken watches, and a crash at some write.
fn faults(seed: u64, rng: &mut Rng) -> FaultPlan {
    let crash = if rng.bool() { Effect::CrashBefore } else { Effect::CrashAfter };
    let share = |per_mille| When::Share { per_mille };
    FaultPlan::none()
        .with_seed(seed)
        .with(Requests::writes(), When::Nth(rng.u64(5..200)), crash)
        .with(Requests::writes(), share(50), Effect::LoseReply)
        .with(Requests::writes(), share(100), Effect::Conflict)
        .with(Requests::watches(), share(500), Effect::CloseAfter { events: rng.u64(1..50) })
        .with(Requests::watches(), share(100), Effect::Freeze { length: Duration::from_secs(rng.u64(1..10)) })
}

/// Somebody who works with the cluster.
struct User {
    sim: Sim,
    client: kube::Client,
}

impl User {
    async fn make_a_move(&self, rng: &mut Rng, n: usize) {
        let name = ORDERS[rng.usize(0..ORDERS.len())];
        match rng.u8(0..22) {
            0..=3 => {
                let policy = ["Never", "OnClaim", "Always"][rng.usize(0..3)];
                // What always comes again would never be quiet if it did not last.
                let duration = if policy == "Always" { "1h" } else { ["5s", "30s", "1h"][rng.usize(0..3)] };
                if self.sim.object("orders.core.korder.dev", "default", name).is_none() {
                    create(&self.sim, order(name, rng.u32(0..5), policy, duration));
                }
            }
            4..=7 => create(&self.sim, claimant(&format!("pod-{n}"), Some(name))),
            8 | 18 => self.ask_in_a_special_way(rng, n, name),
            9 => create(&self.sim, claimant(&format!("pod-{n}"), None)),
            10..=11 => self.change_ones_mind(rng, &format!("pod-{n}"), name).await,
            12 => create(&self.sim, competitor(&format!("other-{n}"))),
            13..=14 => self.delete_one::<Pod>("pods", rng, |pod| !pod["metadata"]["labels"].is_object()).await,
            15 => self.delete_one::<Pod>("pods", rng, |pod| pod["metadata"]["labels"].is_object()).await,
            16 => self.delete_one::<Ticket>("tickets.core.korder.dev", rng, |_| true).await,
            17 => self.delete_one::<Order>("orders.core.korder.dev", rng, |_| true).await,
            19 => self.ask_together(rng, n, name),
            _ => self.scale(name, rng.u32(0..5)).await,
        }
    }

    /// Asks for a ticket without requiring it, or for some time only.
    fn ask_in_a_special_way(&self, rng: &mut Rng, n: usize, order: &str) {
        let timeout = ["1s", "20s", "2m"][rng.usize(0..3)];
        let then = ["Wait", "Fallback", "Fail"][rng.usize(0..3)];
        let optional = [("order", order), ("required", "false")];
        let impatient = [("order", order), ("timeout", timeout), ("on-timeout", then)];
        let annotations: &[_] = if rng.bool() { &optional } else { &impatient };
        create(&self.sim, asking(&format!("pod-{n}"), annotations));
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
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        self.expect_but_not_found(pods.delete(pod, &DeleteParams::default()).await.map(drop));
    }

    async fn scale(&self, name: &str, replicas: u32) {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let orders: Api<Order> = Api::default_namespaced(self.client.clone());
        let scaled = orders.patch(name, &PatchParams::default(), &patch).await;
        self.expect_but_not_found(scaled.map(drop));
    }

    async fn delete_one<K>(&self, resource: &str, rng: &mut Rng, which: fn(&Value) -> bool)
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let objects = self.sim.objects(resource);
        let objects: Vec<&Value> = objects.iter().map(|object| object.value()).filter(|value| which(value)).collect();
        if objects.is_empty() {
            return;
        }
        let name = objects[rng.usize(0..objects.len())]["metadata"]["name"].as_str().unwrap_or_default();
        let api: Api<K> = Api::default_namespaced(self.client.clone());
        let deleted = api.delete(name, &DeleteParams::default()).await;
        self.expect_but_not_found(deleted.map(drop));
    }

    fn expect_but_not_found(&self, result: kube::Result<()>) {
        match result {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => self.sim.fail(format!("a user's request failed: {error}")),
            Ok(()) => {}
        }
    }
}

fn create(sim: &Sim, object: Value) {
    if let Err(status) = sim.create(object) {
        sim.fail(format!("the scenario could not make an object: {status}"));
    }
}
