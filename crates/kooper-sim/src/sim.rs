//! The simulated cluster.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _};

use crate::actors::{JobOptions, KubeletOptions, SchedulerOptions, garbage, jobs, kubelet, scheduler};
use crate::admission::{Admission, AdmissionRequest, Denial};
use crate::clock::Clock;
use crate::fault::{FaultLayer, FaultPlan, Faults};
use crate::history::Write;
use crate::kind::Kind;
use crate::object::Object;
use crate::options::Options;
use crate::refusal::bad_request;
use crate::request::Verb;
use crate::service::serve;
use crate::shared::Shared;
use crate::store::{Call, Key, Resource};

/// A simulated cluster: an API server in memory. Clones are handles to the same one.
///
/// From the start it serves [`Kind::builtin`] and holds what every cluster holds: the namespaces `default`,
/// `kube-node-lease`, `kube-public` and `kube-system`, and the two priority classes for the system's own pods.
#[derive(Clone, Debug)]
pub struct Sim {
    shared: Arc<Shared>,
}

impl Sim {
    /// An empty cluster with [`Options::seeded`]. Call it within a tokio runtime, best one of [`run`](crate::run).
    pub fn new(seed: u64) -> Self {
        Self::with_options(Options::seeded(seed))
    }

    /// An empty cluster of one's choosing.
    pub fn with_options(options: Options) -> Self {
        let sim = Self { shared: Arc::new(Shared::new(options)) };
        for kind in Kind::builtin() {
            sim.register(kind);
        }
        for object in first_objects() {
            if let Err(status) = sim.create_as("kube-apiserver", object) {
                sim.fail(format!("a cluster could not be made: {status}"));
            }
        }
        sim
    }

    /// The seed that the cluster was made with.
    pub fn seed(&self) -> u64 {
        self.shared.options().seed
    }

    /// The clock that the cluster's timestamps come from.
    pub fn clock(&self) -> Clock {
        self.shared.clock()
    }

    /// Serves one more kind, or one that is served already by other rules.
    pub fn register(&self, kind: Kind) {
        self.shared.lock().store.register(kind);
    }

    /// Asks a rule before each create and update, as a webhook or an admission policy. It may change the object, and
    /// must decide by its arguments alone.
    pub fn admit<F>(&self, rule: F)
    where
        F: Fn(&AdmissionRequest<'_>, &mut Value) -> Result<(), Denial> + Send + Sync + 'static,
    {
        self.shared.lock().store.admit(Admission::new(rule));
    }

    /// A client for the namespace `default`. What it does stands under the actor's name in history and digest.
    pub fn client(&self, actor: &str) -> Client {
        self.client_with(actor, FaultPlan::none()).0
    }

    /// A client with faults between it and the API server, and what tells of them.
    pub fn client_with(&self, actor: &str, plan: FaultPlan) -> (Client, Faults) {
        self.client_hearing(actor, plan, |_| ())
    }

    /// The same, and `hear` is shown the headers of each answer that comes, among them the `Date` of the cluster's clock.
    pub fn client_hearing<F>(&self, actor: &str, plan: FaultPlan, hear: F) -> (Client, Faults)
    where
        F: Fn(&HeaderMap) + Clone + Send + 'static,
    {
        let (shared, actor) = (self.shared.clone(), Arc::<str>::from(actor));
        let service = tower::service_fn(move |request: Request<Body>| serve(shared.clone(), actor.clone(), request));
        let (layer, faults) = FaultLayer::new(plan);
        let service = layer.layer(service).map_response(move |response| {
            hear(response.headers());
            response
        });
        (Client::new(service, "default"), faults)
    }

    /// Creates an object at once, without a request's latency, as the actor `setup`. Where it has no namespace but needs
    /// one, it goes to `default`.
    ///
    /// # Errors
    /// The Status that a client would have got.
    pub fn create(&self, object: Value) -> Result<Arc<Object>, Box<Status>> {
        self.create_as("setup", object)
    }

    /// An object as the API server has it now. The resource is named as in `pods` or `shops.example.com`; the namespace
    /// is ignored where the kind has none.
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let (resource, state) = (parse_resource(resource), self.shared.lock());
        let namespaced = state.store.kind(&resource)?.is_namespaced();
        let namespace = if namespaced { namespace.to_owned() } else { String::new() };
        state.store.get(&resource, &Key { namespace, name: name.to_owned() }).ok().cloned()
    }

    /// The objects of a kind as the API server has them now, ordered by namespace and name. The resource is named as in
    /// `pods` or `shops.example.com`; one that isn't served has none.
    pub fn objects(&self, resource: &str) -> Vec<Arc<Object>> {
        self.shared.lock().store.objects(&parse_resource(resource)).cloned().collect()
    }

    /// Every accepted write so far, in the order of revisions.
    pub fn history(&self) -> Vec<Arc<Write>> {
        self.shared.lock().store.history().to_vec()
    }

    /// The accepted writes after a revision, in order: for oracles that look on while a scenario runs.
    pub fn history_since(&self, revision: u64) -> Vec<Arc<Write>> {
        let state = self.shared.lock();
        let history = state.store.history();
        history[history.partition_point(|write| write.revision <= revision)..].to_vec()
    }

    /// A hash of all requests, replies and watch events so far, in order. Equal digests mean equal runs.
    pub fn digest(&self) -> u64 {
        self.shared.lock().digest()
    }

    /// What went wrong in a way no test should overlook: requests that the simulation doesn't cover, and what was
    /// reported by [`Sim::fail`]. Empty in a good run; [`run`](crate::run) checks it.
    pub fn failures(&self) -> Vec<String> {
        self.shared.lock().failures.clone()
    }

    /// Adds to [`Sim::failures`]: for oracles and actors that find something violated.
    pub fn fail(&self, what: impl Into<String>) {
        self.shared.lock().failures.push(what.into());
    }

    /// Forgets the changes so far as etcd's compaction does: a watch from before now is answered with 410.
    pub fn compact(&self) {
        self.shared.lock().store.compact();
    }

    /// Waits until a write after a revision was accepted.
    pub async fn written_since(&self, revision: u64) {
        self.shared.written_since(revision).await;
    }

    /// Waits until a condition holds, looking after each write.
    ///
    /// # Panics
    /// If it doesn't hold within `limit` of virtual time.
    pub async fn wait_until(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) {
        let mut seen = 0;
        let watch = async {
            while !holds(self) {
                self.written_since(seen).await;
                seen = self.revision();
            }
        };
        let held = tokio::time::timeout(limit, watch).await;
        assert!(held.is_ok(), "within {limit:?} it did not come to pass that {what}");
    }

    /// The version of the latest write.
    pub fn revision(&self) -> u64 {
        self.shared.lock().store.revision()
    }

    /// A kube-scheduler. Dropping the future stops it; the next one starts knowing nothing but what the API holds.
    pub fn scheduler(&self, options: SchedulerOptions) -> impl Future<Output = Infallible> + Send + use<> {
        scheduler::run(self.clone(), options)
    }

    /// The kubelets of all nodes that there are and will be. They also judge the cluster's whole history by
    /// [`NodeUsage`](crate::oracle::NodeUsage), and report what they find to [`Sim::failures`].
    pub fn kubelet(&self, options: KubeletOptions) -> impl Future<Output = Infallible> + Send + use<> {
        kubelet::run(self.clone(), options)
    }

    /// The garbage collector: deletes in the background what has lost all its owners.
    pub fn garbage_collector(&self) -> impl Future<Output = Infallible> + Send + use<> {
        garbage::run(self.clone())
    }

    /// The controller of Jobs, which also plays their pods.
    pub fn jobs(&self, options: JobOptions) -> impl Future<Output = Infallible> + Send + use<> {
        jobs::run(self.clone(), options)
    }

    fn create_as(&self, actor: &str, object: Value) -> Result<Arc<Object>, Box<Status>> {
        let now = self.clock().now();
        self.shared.change(|state| {
            let (api_version, kind_name) = (&object["apiVersion"], &object["kind"]);
            let kind =
                state.store.kinds().find(|kind| *api_version == kind.api.api_version && *kind_name == kind.api.kind);
            let Some(kind) = kind.cloned() else {
                return Err(bad_request(format!("the kind {kind_name} of {api_version} is not registered")));
            };
            let namespace = match object["metadata"]["namespace"].as_str() {
                _ if !kind.is_namespaced() => String::new(),
                None | Some("") => "default".to_owned(),
                Some(namespace) => namespace.to_owned(),
            };
            let call = Call {
                actor: actor.into(),
                now,
                verb: Verb::Create,
                resource: (kind.api.group.clone(), kind.api.plural.clone()),
                subresource: None,
                dry_run: false,
            };
            state.store.create(&call, &namespace, object)
        })
    }
}

/// Runs a scenario on a new cluster in virtual time, on a runtime of its own: time passes only while everything waits.
///
/// # Panics
/// If the scenario leaves [`Sim::failures`]. The seed of a scenario that panics is printed.
pub fn run<T, F: Future<Output = T>>(seed: u64, scenario: impl FnOnce(Sim) -> F) -> T {
    run_with(Options::seeded(seed), scenario)
}

/// Like [`run`], with options of one's choosing.
pub fn run_with<T, F: Future<Output = T>>(options: Options, scenario: impl FnOnce(Sim) -> F) -> T {
    let _tell = TellSeed(options.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime to simulate on: {error}"));
    runtime.block_on(async {
        let sim = Sim::with_options(options);
        let result = scenario(sim.clone()).await;
        let failures = sim.failures();
        assert!(failures.is_empty(), "the simulation failed: {failures:#?}");
        result
    })
}

/// Prints the seed of a run that panics.
struct TellSeed(u64);

impl Drop for TellSeed {
    #[expect(clippy::print_stderr, reason = "a panicking test has no other way to tell its seed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed of this run is {}", self.0);
        }
    }
}

/// Reads `pods` or `shops.example.com`.
fn parse_resource(text: &str) -> Resource {
    let (plural, group) = text.split_once('.').unwrap_or((text, ""));
    (group.to_owned(), plural.to_owned())
}

fn first_objects() -> Vec<Value> {
    let namespaces = ["default", "kube-node-lease", "kube-public", "kube-system"]
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    let classes = [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)].map(|(name, value)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "preemptionPolicy": "PreemptLowerPriority",
        })
    });
    namespaces.into_iter().chain(classes).collect()
}
