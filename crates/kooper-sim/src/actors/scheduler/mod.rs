//! A kube-scheduler.

mod lease;
mod preemption;
mod queue;
mod state;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::preemption::Preemption;
use self::queue::{Entry, Queue};
use self::state::State;
use super::fit::beyond_simulation;
use super::informer::Informer;
use super::model::{Node, Pod};
use super::pool::Pool;
use crate::clock::{Clock, rfc3339};
use crate::hash::Hash;
use crate::options::Span;
use crate::sim::Sim;

/// What may be chosen about [`Sim::scheduler`](crate::Sim::scheduler).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// Its `schedulerName`, also the actor's name.
    pub name: String,
    /// The Lease in `kube-system` that it takes before it begins to schedule, by its name. It takes it from any other at
    /// once, and does not renew it.
    pub lease: Option<String>,
    /// How long it thinks about one pod.
    pub attempt: Span,
    /// How long a pod waits after its first failed attempt; doubles with each.
    pub initial_backoff: Duration,
    /// The longest such wait.
    pub max_backoff: Duration,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            name: "default-scheduler".to_owned(),
            lease: None,
            attempt: Span::millis(1, 3),
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
        }
    }
}

/// What came of a request that was sent on a pod's behalf.
enum Outcome {
    Bound(Entry, kube::Result<()>),
    /// A status or a deletion; if it failed, the next attempt sends it again.
    Told,
    /// The Lease is taken, or it must be tried again.
    Leads(bool),
}

struct Scheduler {
    sim: Sim,
    client: Client,
    options: SchedulerOptions,
    clock: Clock,
    started: Instant,
    state: State,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    requests: Pool<Outcome>,
    attempts: u64,
    /// It thinks about one pod at a time.
    busy_until: Instant,
    /// Whether it may schedule.
    leads: Leadership,
}

/// Whether a scheduler may schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leadership {
    Wanted,
    Asked,
    Held,
}

/// Runs a scheduler on a cluster.
pub(crate) async fn run(sim: Sim, options: SchedulerOptions) -> Infallible {
    let client = sim.client(&options.name);
    let queue = Queue::new(options.initial_backoff, options.max_backoff);
    let now = Instant::now();
    let scheduler = Scheduler {
        clock: sim.clock(),
        started: now,
        state: State::new(&options.name, sim.seed(), queue),
        pods: Informer::new(client.clone()),
        nodes: Informer::new(client.clone()),
        requests: Pool::new(),
        attempts: 0,
        busy_until: now,
        leads: if options.lease.is_some() { Leadership::Wanted } else { Leadership::Held },
        sim,
        client,
        options,
    };
    scheduler.run().await
}

impl Scheduler {
    async fn run(mut self) -> Infallible {
        loop {
            self.ask_for_lease();
            let next_attempt = self.next_attempt();
            let time = self.started.elapsed();
            tokio::select! {
                biased;
                change = self.nodes.next() => {
                    if let Some(change) = change {
                        self.state.node_changed(&change, time);
                    }
                }
                change = self.pods.next() => {
                    if let Some(change) = change {
                        self.state.pod_changed(&change, time);
                    }
                }
                outcome = self.requests.next() => self.take_outcome(outcome),
                () = sleep_until(next_attempt) => self.attempt(),
            }
        }
    }

    fn is_synced(&self) -> bool {
        self.pods.is_synced() && self.nodes.is_synced()
    }

    /// As kube-scheduler does: first it lists what there is, then it stands for election.
    fn ask_for_lease(&mut self) {
        let Some(name) = self.options.lease.clone() else { return };
        if self.leads != Leadership::Wanted || !self.is_synced() {
            return;
        }
        self.leads = Leadership::Asked;
        let (client, holder) = (self.client.clone(), self.options.name.clone());
        self.requests.push(async move { Outcome::Leads(lease::take(client, &name, &holder).await.is_ok()) });
    }

    /// When to think about a pod; None if there is none.
    fn next_attempt(&self) -> Option<Instant> {
        if !self.is_synced() || self.leads != Leadership::Held {
            return None;
        }
        self.state.queue.next_time().map(|time| self.busy_until.max(self.started + time))
    }

    fn attempt(&mut self) {
        let now = self.started.elapsed();
        let Some(entry) = self.state.queue.pop(now) else { return };
        self.attempts += 1;
        let hash = Hash::new(self.sim.seed()).text(&self.options.name).number(self.attempts);
        self.busy_until = Instant::now() + self.options.attempt.pick(hash);
        if entry.pod.is_ending() {
            return;
        }
        if let Some(what) = beyond_simulation(&entry.pod) {
            self.sim.fail(format!(
                "the pod `{}` asks for {what}: kooper-sim's scheduler knows nothing of that",
                entry.pod.name()
            ));
        }
        match self.state.find_node(&entry.pod) {
            Ok(node) => self.bind(entry, &node),
            Err(why) => self.make_room(entry, &why),
        }
    }

    fn bind(&mut self, entry: Entry, node: &str) {
        self.state.assume(&entry.pod, node);
        let (pod, client, thinks_until) = (entry.pod.clone(), self.client.clone(), self.busy_until);
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        self.requests.push(async move {
            tokio::time::sleep_until(thinks_until).await;
            let api: Api<Pod> = Api::namespaced(client, pod.namespace());
            let result: kube::Result<Value> =
                api.create_subresource("binding", pod.name(), &PostParams::default(), &binding).await;
            Outcome::Bound(entry, result.map(drop))
        });
    }

    fn make_room(&mut self, entry: Entry, why: &str) {
        let pod = entry.pod.clone();
        let nominated = match self.state.preempt(&pod) {
            Preemption::NotEligible => None,
            Preemption::Useless => Some(String::new()),
            Preemption::Evict { node, victims } => {
                for weaker in self.state.nominated_below(&node, pod.spec.priority) {
                    self.state.nominate(weaker.uid(), "");
                    self.tell(&weaker, json!({"nominatedNodeName": null}));
                }
                for victim in &victims {
                    self.evict(victim);
                }
                Some(node)
            }
        };
        self.fail(entry, "Unschedulable", why, nominated);
    }

    /// Puts a pod back and says why in its status. `nominated`, if given, is its nomination from now on.
    fn fail(&mut self, entry: Entry, reason: &str, message: &str, nominated: Option<String>) {
        let pod = entry.pod.clone();
        let latest = self.pods.get(pod.namespace(), pod.name()).cloned();
        if !self.state.put_back(entry, latest.as_ref(), reason == "SchedulerError", self.started.elapsed()) {
            return;
        }
        let pod = latest.unwrap_or(pod);
        match &nominated {
            Some(node) => self.state.nominate(pod.uid(), node),
            None => self.state.nominate(pod.uid(), &pod.status.nominated_node_name),
        }
        let mut status = json!({});
        let condition = pod.condition("PodScheduled");
        if condition.is_none_or(|old| {
            (old.status.as_str(), old.reason.as_str(), old.message.as_str()) != ("False", reason, message)
        }) {
            let since = rfc3339(self.clock.now());
            let mut new = json!({"type": "PodScheduled", "status": "False", "reason": reason, "message": message});
            if condition.is_none_or(|old| old.status != "False") {
                new["lastTransitionTime"] = since.into();
            }
            status["conditions"] = json!([new]);
        }
        if let Some(node) = nominated.filter(|node| *node != pod.status.nominated_node_name) {
            status["nominatedNodeName"] = if node.is_empty() { Value::Null } else { node.into() };
        }
        if status.as_object().is_some_and(|status| !status.is_empty()) {
            self.tell(&pod, status);
        }
    }

    fn tell(&mut self, pod: &Arc<Pod>, status: Value) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), pod.namespace());
        let name = pod.name().to_owned();
        self.requests.push(async move {
            let patch = Patch::Strategic(json!({"status": status}));
            // The next attempt says it again.
            api.patch_status(&name, &PatchParams::default(), &patch).await.ok();
            Outcome::Told
        });
    }

    fn evict(&mut self, victim: &Arc<Pod>) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), victim.namespace());
        let victim = victim.clone();
        self.requests.push(async move {
            let same = Preconditions { uid: Some(victim.uid().to_owned()), resource_version: None };
            // A victim that is still there makes the next attempt delete it again.
            api.delete(victim.name(), &DeleteParams::default().preconditions(same)).await.ok();
            Outcome::Told
        });
    }

    fn take_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Bound(entry, Err(error)) => {
                self.state.forget(entry.pod.uid(), self.started.elapsed());
                self.fail(entry, "SchedulerError", &format!("binding rejected: {error}"), Some(String::new()));
            }
            Outcome::Leads(taken) => self.leads = if taken { Leadership::Held } else { Leadership::Wanted },
            Outcome::Bound(_, Ok(())) | Outcome::Told => {}
        }
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
