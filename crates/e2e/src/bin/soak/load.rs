//! Orders and pods that come and go.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use e2e::objects::{self, Size};
use k8s_openapi::api::core::v1::Pod;
use korder_api::order::RefreshPolicy;
use korder_api::{Order, names};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::time::Instant;

/// What each pod takes.
const PLACE: Size = Size::SMALL;
const ORDERS: usize = 4;
/// Time between two new pods.
const POD_INTERVAL: Duration = Duration::from_millis(150);
/// So many pods at a time; the oldest goes when there are more.
const PODS: usize = 60;
/// A change of an order comes with every so many pods.
const PODS_PER_CHANGE: u64 = 8;

/// The load, drawn from a seed.
pub(crate) struct Load {
    orders: Api<Order>,
    pods: Api<Pod>,
    random: StdRng,
    made: Made,
}

/// How much was made.
#[derive(Default)]
pub(crate) struct Made {
    pods: u64,
    changes: u64,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pods and {} changes of orders", self.pods, self.changes)
    }
}

impl Load {
    pub(crate) fn new(client: Client, namespace: &str, seed: u64) -> Self {
        Self {
            orders: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client, namespace),
            random: StdRng::seed_from_u64(seed),
            made: Made::default(),
        }
    }

    /// Goes on until then; what was made. What is there stays.
    pub(crate) async fn run(mut self, until: Instant) -> anyhow::Result<Made> {
        for index in 0..ORDERS {
            self.make_order(index).await?;
        }
        let mut alive: VecDeque<String> = VecDeque::new();
        let mut ticks = tokio::time::interval(POD_INTERVAL);
        while Instant::now() < until {
            ticks.tick().await;
            if self.made.pods.is_multiple_of(PODS_PER_CHANGE) {
                self.change_an_order().await?;
            }
            alive.push_back(self.make_pod().await?);
            if alive.len() > PODS || self.random.random_bool(0.3) {
                // Any of them, waiting or running.
                let index = self.random.random_range(0..alive.len());
                if let Some(name) = alive.remove(index) {
                    gone(self.pods.delete(&name, &DeleteParams::default().grace_period(0)).await)?;
                }
            }
        }
        Ok(self.made)
    }

    async fn make_order(&mut self, index: usize) -> anyhow::Result<()> {
        let mut order = objects::order(&format!("shelf-{index}"), self.random.random_range(2..8), PLACE);
        let policies = [RefreshPolicy::OnClaim, RefreshPolicy::Always, RefreshPolicy::Never, RefreshPolicy::OnClaim];
        order.spec.strategy = Some(objects::refreshed(policies[index % policies.len()]));
        if let Some(template) = &mut order.spec.template {
            // Some expire while the load lasts.
            template.spec.duration = Some(["20s", "1m", "1h"][self.random.random_range(0..3)].parse()?);
        }
        match self.orders.create(&PostParams::default(), &order).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            made => made.map(drop).context("cannot make an order"),
        }
    }

    async fn change_an_order(&mut self) -> anyhow::Result<()> {
        self.made.changes += 1;
        let index = self.random.random_range(0..ORDERS);
        let name = format!("shelf-{index}");
        let spec = match self.random.random_range(0..10) {
            0 => {
                gone(self.orders.delete(&name, &DeleteParams::background()).await)?;
                return self.make_order(index).await;
            }
            1 => json!({"paused": true}),
            2 | 3 => json!({"paused": false}),
            _ => json!({"replicas": self.random.random_range(0..10)}),
        };
        let patch = Patch::Merge(json!({ "spec": spec }));
        match self.orders.patch(&name, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => self.make_order(index).await,
            patched => patched.map(drop).context("cannot change an order"),
        }
    }

    async fn make_pod(&mut self) -> anyhow::Result<String> {
        let name = format!("pod-{}", self.made.pods);
        self.made.pods += 1;
        let order = format!("shelf-{}", self.random.random_range(0..ORDERS));
        let mut pod = objects::pod(&name, PLACE);
        let asks: &[(&str, &str)] = match self.random.random_range(0..100) {
            0..15 => &[],
            15..65 => &[(names::ANNOTATION_ORDER, &order)],
            65..75 => &[(names::ANNOTATION_REQUIRED, "true")],
            75..85 => &[(names::ANNOTATION_REQUIRED, "false"), (names::ANNOTATION_ORDER, &order)],
            85..95 => &[
                (names::ANNOTATION_ORDER, &order),
                (names::ANNOTATION_TIMEOUT, "3s"),
                (names::ANNOTATION_ON_TIMEOUT, "Fallback"),
            ],
            _ => &[(names::ANNOTATION_ORDER, "there-is-no-such-order")],
        };
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.extend(asks.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        self.pods.create(&PostParams::default(), &pod).await.context("cannot make a pod")?;
        Ok(name)
    }
}

/// A deletion of what is gone is a success.
fn gone<T>(deleted: Result<T, kube::Error>) -> anyhow::Result<()> {
    match deleted {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        deleted => deleted.map(drop).context("cannot delete an object"),
    }
}
