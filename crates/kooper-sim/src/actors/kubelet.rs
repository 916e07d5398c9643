//! The kubelets of all nodes, as one actor.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::amounts::Amounts;
use super::fit::Room;
use super::informer::{Change, Informer};
use super::model::{Node, Pod};
use super::pool::Pool;
use crate::clock::rfc3339;
use crate::hash::Hash;
use crate::options::Span;
use crate::oracle::NodeUsage;
use crate::sim::Sim;

/// The actor's name.
const ACTOR: &str = "kubelet";
/// How long a kubelet waits until it sends a request again that failed.
const RETRY: Duration = Duration::from_secs(1);

/// What may be chosen about [`Sim::kubelet`](crate::Sim::kubelet).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletOptions {
    /// How long a bound pod takes to be Running and Ready.
    pub start: Span,
    /// How long containers take to stop, though never longer than the pod's grace period.
    pub stop: Span,
}

impl Default for KubeletOptions {
    fn default() -> Self {
        Self { start: Span::millis(100, 400), stop: Span::millis(50, 500) }
    }
}

/// What is done to a pod when its time has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// It is shown as running.
    Start,
    /// It is shown as refused, for want of this.
    Refuse(String),
    /// It is removed: its containers have stopped.
    Remove,
}

struct Kubelet {
    sim: Sim,
    api: kube::Client,
    options: KubeletOptions,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    /// The pods that the kubelets have taken in, by uid, with what they request.
    accepted: BTreeMap<String, (String, Amounts)>,
    /// Pods whose removal is planned.
    stopping: BTreeSet<String>,
    tasks: BTreeMap<(Instant, String), Task>,
    requests: Pool<Option<(String, Task)>>,
    usage: NodeUsage,
    /// The latest version that the usage covers.
    seen: u64,
}

/// Runs the kubelets of a cluster's nodes.
pub(crate) async fn run(sim: Sim, options: KubeletOptions) -> Infallible {
    let client = sim.client(ACTOR);
    let kubelet = Kubelet {
        pods: Informer::new(client.clone()),
        nodes: Informer::new(client.clone()),
        sim,
        api: client,
        options,
        accepted: BTreeMap::new(),
        stopping: BTreeSet::new(),
        tasks: BTreeMap::new(),
        requests: Pool::new(),
        usage: NodeUsage::default(),
        seen: 0,
    };
    kubelet.run().await
}

impl Kubelet {
    async fn run(mut self) -> Infallible {
        loop {
            self.check_usage();
            let next = self.tasks.keys().next().map(|(time, _)| *time);
            tokio::select! {
                biased;
                _ = self.nodes.next() => self.look_at_all(),
                change = self.pods.next() => match change {
                    Some(change) => self.pod_changed(&change),
                    None => self.look_at_all(),
                },
                again = self.requests.next() => {
                    if let Some((uid, task)) = again {
                        self.plan(&uid, RETRY, task);
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.work(),
            }
        }
    }

    /// Judges every write by whether it leaves a node with more requests than it can hold.
    fn check_usage(&mut self) {
        for write in self.sim.history_since(self.seen) {
            self.seen = write.revision;
            if let Some(violation) = self.usage.observe(&write) {
                self.sim.fail(violation);
            }
        }
    }

    /// A node that comes may have pods already.
    fn look_at_all(&mut self) {
        let pods: Vec<Arc<Pod>> = self.pods.objects().cloned().collect();
        for pod in &pods {
            self.look_at(pod);
        }
    }

    fn pod_changed(&mut self, change: &Change<Pod>) {
        if let Some(pod) = &change.new {
            self.look_at(pod);
        } else if let Some(old) = &change.old {
            self.accepted.remove(old.uid());
            self.stopping.remove(old.uid());
        }
    }

    fn look_at(&mut self, pod: &Arc<Pod>) {
        let Some(node) = self.nodes.objects().find(|node| node.name() == pod.spec.node_name).cloned() else { return };
        let uid = pod.uid().to_owned();
        if pod.is_ending() {
            if self.stopping.insert(uid.clone()) {
                let grace = pod.metadata.deletion_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
                let stop = self.options.stop.pick(self.hash(&uid, "stop"));
                self.plan(&uid, stop.min(Duration::from_secs(grace.unwrap_or_default())), Task::Remove);
            }
        } else if !pod.occupies() {
            self.accepted.remove(&uid);
        } else if !self.accepted.contains_key(&uid) {
            let wanted = pod.requests().clone();
            let started = pod.status.phase == "Running";
            let mut room = Room::of(&node);
            let here = self.accepted.values().filter(|(name, _)| *name == pod.spec.node_name);
            here.for_each(|(_, amounts)| room.take(amounts));
            let shortage = room.shortage(&wanted).filter(|_| !started);
            if let Some(shortage) = shortage {
                self.plan(&uid, Duration::ZERO, Task::Refuse(shortage));
                return;
            }
            self.accepted.insert(uid.clone(), (pod.spec.node_name.clone(), wanted));
            if !started {
                let start = self.options.start.pick(self.hash(&uid, "start"));
                self.plan(&uid, start, Task::Start);
            }
        }
    }

    fn hash(&self, uid: &str, what: &str) -> Hash {
        Hash::new(self.sim.seed()).text(ACTOR).text(uid).text(what)
    }

    fn plan(&mut self, uid: &str, after: Duration, task: Task) {
        self.tasks.insert((Instant::now() + after, uid.to_owned()), task);
    }

    /// Does what is due.
    fn work(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.tasks.first_entry().filter(|task| task.key().0 <= now) {
            let ((_, uid), task) = due.remove_entry();
            let Some(pod) = self.pods.objects().find(|pod| pod.uid() == uid).cloned() else { continue };
            let api: Api<Pod> = Api::namespaced(self.api.clone(), pod.namespace());
            let time = rfc3339(self.sim.clock().now());
            self.requests.push(async move {
                match carry_out(&api, &pod, &task, &time).await {
                    Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => None,
                    Err(_) => Some((uid, task)),
                    Ok(()) => None,
                }
            });
        }
    }
}

async fn carry_out(api: &Api<Pod>, pod: &Pod, task: &Task, time: &str) -> kube::Result<()> {
    let status = match task {
        Task::Remove => {
            let same = Preconditions { uid: Some(pod.uid().to_owned()), resource_version: None };
            let options = DeleteParams::default().grace_period(0).preconditions(same);
            return api.delete(pod.name(), &options).await.map(drop);
        }
        Task::Start if pod.is_ending() => return Ok(()),
        Task::Start => running(pod, time),
        Task::Refuse(shortage) => json!({
            "phase": "Failed",
            "reason": shortage.replace("Insufficient ", "OutOf"),
            "message": format!("Pod was rejected: {shortage}"),
        }),
    };
    let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
    api.patch_status(pod.name(), &PatchParams::default(), &patch).await.map(drop)
}

fn running(pod: &Pod, time: &str) -> Value {
    let conditions = ["Initialized", "Ready", "ContainersReady"];
    let conditions = conditions.map(|name| json!({"type": name, "status": "True", "lastTransitionTime": time}));
    json!({"phase": "Running", "startTime": time, "conditions": conditions, "observedGeneration": pod.metadata.generation})
}
