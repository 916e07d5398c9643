//! The simulated cluster.

use std::convert::Infallible;
use std::sync::Arc;

use kube::Client;
use serde_json::Value;

use crate::actors::{KubeletOptions, SchedulerOptions};
use crate::clock::Clock;
use crate::fault::{FaultPlan, Faults};
use crate::history::Write;
use crate::kind::Kind;
use crate::object::Object;
use crate::options::Options;

/// A simulated cluster: an API server in memory. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Sim {}

impl Sim {
    /// An empty cluster with [`Options::seeded`]. Call it within a tokio runtime, best one of [`run`](crate::run).
    pub fn new(seed: u64) -> Self {
        Self::with_options(Options::seeded(seed))
    }

    /// An empty cluster of one's choosing.
    pub fn with_options(options: Options) -> Self {
        todo!("{options:?}")
    }

    /// The clock that the cluster's timestamps come from.
    pub fn clock(&self) -> Clock {
        todo!()
    }

    /// Serves one more kind.
    pub fn register(&self, kind: Kind) {
        todo!("{kind}")
    }

    /// A client for the namespace `default`. What it does stands under the actor's name in history and digest.
    pub fn client(&self, actor: &str) -> Client {
        todo!("{actor}")
    }

    /// A client with faults between it and the API server, and what tells of them.
    pub fn client_with(&self, actor: &str, plan: FaultPlan) -> (Client, Faults) {
        todo!("{actor} {plan:?}")
    }

    /// Creates an object at once, without a request's latency, as the actor `setup`.
    ///
    /// # Errors
    /// The Status that a client would have got.
    pub fn create(&self, object: Value) -> Result<Arc<Object>, Box<kube::core::Status>> {
        todo!("{object}")
    }

    /// The objects of a kind as the API server has them now, ordered by namespace and name. The resource is named as in
    /// `pods` or `shops.example.com`.
    pub fn objects(&self, resource: &str) -> Vec<Arc<Object>> {
        todo!("{resource}")
    }

    /// Every accepted write so far, in the order of revisions.
    pub fn history(&self) -> Vec<Arc<Write>> {
        todo!()
    }

    /// A hash of all requests, replies and watch events so far, in order. Equal digests mean equal runs.
    pub fn digest(&self) -> u64 {
        todo!()
    }

    /// What went wrong in a way no test should overlook: requests that the simulation doesn't cover, and what actors
    /// found violated. Empty in a good run; [`run`](crate::run) checks it.
    pub fn failures(&self) -> Vec<String> {
        todo!()
    }

    /// Forgets the changes so far as etcd's compaction does: a watch from before now is answered with 410.
    pub fn compact(&self) {
        todo!()
    }

    /// A kube-scheduler. Dropping the future stops it; the next one starts knowing nothing but what the API holds.
    pub fn scheduler(&self, options: SchedulerOptions) -> impl Future<Output = Infallible> + Send + 'static {
        async move { todo!("{options:?}") }
    }

    /// The kubelets of all nodes.
    pub fn kubelet(&self, options: KubeletOptions) -> impl Future<Output = Infallible> + Send + 'static {
        async move { todo!("{options:?}") }
    }

    /// The garbage collector: deletes in the background what has lost all its owners.
    pub fn garbage_collector(&self) -> impl Future<Output = Infallible> + Send + 'static {
        async move { todo!() }
    }
}

/// Runs a scenario on a new cluster in virtual time, on a runtime of its own.
///
/// # Panics
/// With the seed, where the scenario leaves [`Sim::failures`].
pub fn run<T, F: Future<Output = T>>(seed: u64, scenario: impl FnOnce(Sim) -> F) -> T {
    todo!("{seed} {}", std::mem::size_of_val(&scenario))
}
