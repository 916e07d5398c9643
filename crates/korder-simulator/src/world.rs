//! A simulated cluster with korder's controllers in it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, future};
use jiff::SignedDuration;
use kooper::{BoxError, Clock, Controller as _, SteadyClock, Stop};
use kooper_sim::actors::{JobOptions, KubeletOptions, SchedulerOptions};
use kooper_sim::fault::{FaultPlan, Faults};
use kooper_sim::{AdmissionRequest, Kind, Sim, Verb};
use korder_api::{Inventory, Order, Stock, Ticket, names};
use korder_controllers::Config;
use korder_core::scheduler::DEFAULT_LEASE;
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

/// The definitions of korder's kinds: making their schemas takes longer than a run.
static DEFINITIONS: LazyLock<[Value; 4]> =
    LazyLock::new(|| [json!(Order::crd()), json!(Ticket::crd()), json!(Inventory::crd()), json!(Stock::crd())]);

/// The name of the controllers' client in the history.
const CONTROLLERS: &str = "korder";
/// The name of the client of further controllers beside the first.
const SECOND_LEADER: &str = "korder-2";

/// Whether a write is one of the controllers', by whose client sent it.
pub fn is_controllers(actor: &str) -> bool {
    [CONTROLLERS, SECOND_LEADER].contains(&actor)
}

/// How long dead controllers take to be started anew.
const RESTART: Duration = Duration::from_secs(2);

/// A cluster in which everything runs that a scenario needs.
pub struct World {
    /// The cluster.
    pub sim: Sim,
    /// By how many seconds the clock of the controllers' machine is ahead of the cluster's.
    ahead: Arc<AtomicI64>,
    scheduler: BoxFuture<'static, Infallible>,
    kubelet: BoxFuture<'static, Infallible>,
    garbage: BoxFuture<'static, Infallible>,
    jobs: BoxFuture<'static, Infallible>,
    controllers: BoxFuture<'static, Result<(), BoxError>>,
    faults: Faults,
    /// Further controllers that take themselves for leaders, too.
    second: BoxFuture<'static, Result<(), BoxError>>,
    /// Whether the first controllers stand still: they are not polled.
    still: bool,
    /// What those live through that come after the next crashes.
    plans: VecDeque<FaultPlan>,
    crashes: usize,
}

impl World {
    /// A cluster whose controllers live through a plan of faults; after a crash others go on without any.
    pub fn new(sim: Sim, plan: FaultPlan) -> Self {
        for kind in [
            Kind::of::<Order>().with_selectable_field("status.stockName"),
            Kind::of::<Ticket>(),
            Kind::of::<Inventory>(),
            Kind::of::<Stock>().with_selectable_field("status.claimRef.uid"),
        ] {
            sim.register(kind.with_status());
        }
        let definitions = kube::core::ApiResource::erase::<Definition>(&());
        // Without the subresource, so that the status can be given with the object.
        sim.register(Kind::custom(definitions).cluster_scoped());
        for definition in DEFINITIONS.iter() {
            define(&sim, definition.clone());
        }
        sim.admit(gate);
        let ahead = Arc::default();
        let (controllers, faults) = controllers(&sim, CONTROLLERS, plan, &ahead);
        Self {
            ahead,
            scheduler: sim.scheduler(scheduler()).boxed(),
            kubelet: sim.kubelet(KubeletOptions::default()).boxed(),
            garbage: sim.garbage_collector().boxed(),
            jobs: future::pending().boxed(),
            controllers,
            faults,
            second: future::pending().boxed(),
            still: false,
            plans: VecDeque::new(),
            crashes: 0,
            sim,
        }
    }

    /// The controllers that come after the next crashes live through these plans.
    #[must_use]
    pub fn then(self, plans: impl IntoIterator<Item = FaultPlan>) -> Self {
        Self { plans: plans.into_iter().collect(), ..self }
    }

    /// The same, in which Jobs run.
    #[must_use]
    pub fn with_jobs(self, options: JobOptions) -> Self {
        Self { jobs: self.sim.jobs(options).boxed(), ..self }
    }

    /// Lets the cluster live while a future runs.
    pub async fn during<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                done = &mut future => return done,
                never = &mut self.scheduler => match never {},
                never = &mut self.kubelet => match never {},
                never = &mut self.garbage => match never {},
                never = &mut self.jobs => match never {},
                ended = &mut self.second => {
                    self.sim.fail(format!("the second controllers ended by themselves: {ended:?}"));
                    self.second = future::pending().boxed();
                }
                ended = &mut self.controllers, if !self.still => {
                    self.sim.fail(format!("the controllers ended by themselves: {ended:?}"));
                    self.controllers = future::pending().boxed();
                }
                () = self.faults.crashed() => {
                    let plan = self.plans.pop_front().unwrap_or_default();
                    self.restart(plan, RESTART);
                }
            }
        }
    }

    /// Lets the cluster live for a time.
    pub async fn run(&mut self, time: Duration) {
        self.during(tokio::time::sleep(time)).await;
    }

    /// Lets the cluster live until a condition holds.
    ///
    /// # Panics
    /// If it doesn't within five virtual minutes.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Sim) -> bool) {
        let sim = self.sim.clone();
        self.during(async move { sim.wait_until(what, Duration::from_mins(5), holds).await }).await;
    }

    /// Lets the cluster live until the present controllers have sent so many writes.
    pub async fn until_writes(&mut self, writes: u64) {
        let (sim, faults) = (self.sim.clone(), self.faults.clone());
        let sent = |_: &Sim| faults.writes() >= writes;
        self.during(async move { sim.wait_until("so many writes are sent", Duration::from_mins(5), sent).await }).await;
    }

    /// Kills the controllers, and starts others after a time, with faults of their own.
    pub fn restart(&mut self, plan: FaultPlan, after: Duration) {
        let (controllers, faults) = controllers(&self.sim, CONTROLLERS, plan, &self.ahead);
        self.faults = faults;
        self.crashes += 1;
        self.controllers = async move {
            tokio::time::sleep(after).await;
            controllers.await
        }
        .boxed();
    }

    /// Starts further controllers beside the first.
    pub fn second_leader(&mut self) {
        self.second = controllers(&self.sim, SECOND_LEADER, FaultPlan::none(), &self.ahead).0;
    }

    /// Ends the further controllers.
    pub fn only_one_leader(&mut self) {
        self.second = future::pending().boxed();
    }

    /// Lets the first controllers stand still for a time, as a process does that gets no processor; what they had under
    /// way comes late.
    pub async fn first_stands_still(&mut self, time: Duration) {
        self.still = true;
        self.run(time).await;
        self.still = false;
    }

    /// Sets the clock of the controllers' machine so far ahead of the cluster's; below zero, behind it.
    pub fn set_clock_ahead(&self, by: SignedDuration) {
        self.ahead.store(by.as_secs(), Ordering::SeqCst);
    }

    /// Kills the scheduler, and starts another after a time.
    pub fn restart_scheduler(&mut self, after: Duration) {
        let scheduler = self.sim.scheduler(scheduler());
        self.scheduler = async move {
            tokio::time::sleep(after).await;
            scheduler.await
        }
        .boxed();
    }

    /// How many writes the present controllers have sent.
    pub fn writes(&self) -> u64 {
        self.faults.writes()
    }

    /// How often the controllers have died.
    pub fn crashes(&self) -> usize {
        self.crashes
    }
}

fn scheduler() -> SchedulerOptions {
    SchedulerOptions { lease: Some(DEFAULT_LEASE.to_owned()), ..SchedulerOptions::default() }
}

/// What the definition of a kind is called.
#[derive(kube::Resource, Clone, Debug, serde::Serialize, serde::Deserialize)]
#[resource(inherit = k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition)]
struct Definition {
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
}

/// Registers a definition as established, as an API server does with one that it accepts.
fn define(sim: &Sim, mut definition: Value) {
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "Accepted", "message": ""});
    definition["status"] = json!({
        "conditions": [condition("NamesAccepted"), condition("Established")],
        "acceptedNames": definition["spec"]["names"],
        "storedVersions": [names::VERSION],
    });
    if let Err(status) = sim.create(definition) {
        sim.fail(format!("a definition was refused: {status}"));
    }
}

/// The gate at admission, as the policy and the webhook put it.
#[expect(clippy::unnecessary_wraps, reason = "a rule of admission may refuse; this one never does")]
fn gate(request: &AdmissionRequest<'_>, pod: &mut Value) -> Result<(), kooper_sim::Denial> {
    let asks = |key: &&str| pod["metadata"]["annotations"][*key].is_string();
    if request.verb == Verb::Create && request.kind.api.kind == "Pod" && names::CLAIM_ANNOTATIONS.iter().any(asks) {
        pod["spec"]["schedulingGates"] = json!([{"name": names::GATE}]);
    }
    Ok(())
}

fn controllers(
    sim: &Sim,
    name: &str,
    plan: FaultPlan,
    ahead: &Arc<AtomicI64>,
) -> (BoxFuture<'static, Result<(), BoxError>>, Faults) {
    let (local, ahead) = (sim.clock(), Arc::clone(ahead));
    let local = move || local.now() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst));
    let clock = SteadyClock::new(Arc::new(local));
    let heard = clock.clone();
    let (client, faults) = sim.client_hearing(name, plan, move |headers| heard.hear(headers));
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let operator = korder_controllers::controllers(&client, &Config::default(), &clock).operator;
    let running = async move {
        // Kept: without a stopper nothing could ever stop it, and a crash is a dropped future.
        let (_stopper, stop) = Stop::pair();
        Box::new(operator).run(stop).await
    };
    (running.boxed(), faults)
}
