//! The garbage collector: deletes in the background what has lost all its owners, or has one that is deleted in the foreground
//! and waits for it.
//!
//! It reads the history rather than watching every kind, so that its view is never behind; what it does goes through a
//! client, like all that actors do.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::pool::Pool;
use crate::hash::Hash;
use crate::history::Write;
use crate::object::Object;
use crate::options::Span;
use crate::sim::Sim;
use crate::store::FOREGROUND;

/// The actor's name.
const ACTOR: &str = "generic-garbage-collector";
/// How long it takes until an orphan is noticed.
const NOTICE: Span = Span::millis(10, 100);
/// How long it waits until it sends a request again that failed.
const RETRY: Duration = Duration::from_secs(1);

/// An object, as the collector remembers it.
#[derive(Clone, Debug)]
struct Known {
    api: ApiResource,
    namespace: Option<String>,
    name: String,
    owners: Vec<String>,
    /// Those of them that wait for it when they are deleted in the foreground.
    blocks: Vec<String>,
    /// Whether it is deleted and stays until what it owns is gone.
    waits: bool,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// It is deleted: its owners are gone, or wait for it.
    Collect,
    /// It is let go: what it owned is gone.
    Release,
}

#[derive(Default)]
struct Graph {
    /// Every object there is, by its uid.
    objects: BTreeMap<String, Known>,
    /// Who names an owner, by the owner's uid.
    dependents: BTreeMap<String, BTreeSet<String>>,
}

/// Runs the garbage collector of a cluster.
pub(crate) async fn run(sim: Sim) -> Infallible {
    let client = sim.client(ACTOR);
    let mut graph = Graph::default();
    let mut requests: Pool<Option<(String, Task)>> = Pool::new();
    let mut seen = 0;
    loop {
        for write in sim.history_since(seen) {
            seen = write.revision;
            for (uid, task) in graph.take(&write) {
                request(&mut requests, &sim, &client, &graph, uid, task, None);
            }
        }
        tokio::select! {
            biased;
            again = requests.next() => {
                if let Some((uid, task)) = again.filter(|(uid, task)| graph.is_due(uid, *task)) {
                    request(&mut requests, &sim, &client, &graph, uid, task, Some(RETRY));
                }
            }
            () = sim.written_since(seen) => {}
        }
    }
}

/// Does after a while what is to be done to an object.
fn request(
    requests: &mut Pool<Option<(String, Task)>>,
    sim: &Sim,
    client: &Client,
    graph: &Graph,
    uid: String,
    task: Task,
    wait: Option<Duration>,
) {
    let Some(object) = graph.objects.get(&uid).cloned() else { return };
    let wait = wait.unwrap_or_else(|| NOTICE.pick(Hash::new(sim.seed()).text(ACTOR).text(&uid)));
    let api: Api<DynamicObject> = match &object.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &object.api),
        None => Api::all_with(client.clone(), &object.api),
    };
    requests.push(async move {
        sleep(wait).await;
        let done = match task {
            Task::Collect => {
                let same = Preconditions { uid: Some(uid.clone()), resource_version: None };
                api.delete(&object.name, &DeleteParams::background().preconditions(same)).await.map(drop)
            }
            Task::Release => release(&api, &object.name, &uid).await,
        };
        match done {
            Err(kube::Error::Api(status)) if status.is_not_found() => None,
            Err(kube::Error::Api(status)) if status.is_conflict() && matches!(task, Task::Collect) => None,
            Err(_) => Some((uid, task)),
            Ok(()) => None,
        }
    });
}

/// Takes the finalizer off that an object was kept by.
async fn release(api: &Api<DynamicObject>, name: &str, uid: &str) -> Result<(), kube::Error> {
    let object = api.get(name).await?;
    if object.metadata.uid.as_deref() != Some(uid) {
        return Ok(());
    }
    let finalizers: Vec<String> =
        object.metadata.finalizers.into_iter().flatten().filter(|finalizer| finalizer != FOREGROUND).collect();
    let patch = json!({"metadata": {"resourceVersion": object.metadata.resource_version, "finalizers": finalizers}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

impl Graph {
    /// Takes note of a write. What is to be done because of it.
    fn take(&mut self, write: &Write) -> Vec<(String, Task)> {
        let uid = write.uid().to_owned();
        let before = self.objects.remove(&uid).map(|known| known.owners).unwrap_or_default();
        for owner in &before {
            self.dependents.entry(owner.clone()).or_default().remove(&uid);
        }
        let Some(after) = &write.after else {
            let dependents = self.dependents.remove(&uid).unwrap_or_default();
            let orphans = dependents.into_iter().filter(|dependent| self.is_orphan(dependent));
            let orphans: Vec<_> = orphans.map(|uid| (uid, Task::Collect)).collect();
            let free = before.into_iter().filter(|owner| self.is_due(owner, Task::Release));
            return free.map(|owner| (owner, Task::Release)).chain(orphans).collect();
        };
        let owners = owners(after);
        for owner in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(uid.clone());
        }
        let waiting = waits(after);
        let began_to_wait = waiting && !write.before.as_ref().is_some_and(waits);
        let known = Known {
            api: write.kind.api.clone(),
            namespace: write.namespace.clone(),
            name: write.name.clone(),
            owners,
            blocks: blocked(after),
            waits: waiting,
        };
        self.objects.insert(uid.clone(), known);
        if began_to_wait {
            let blocking: Vec<String> = self.blocking(&uid).cloned().collect();
            if blocking.is_empty() {
                return vec![(uid, Task::Release)];
            }
            return blocking.into_iter().map(|dependent| (dependent, Task::Collect)).collect();
        }
        let is_new = write.before.as_ref().is_none_or(|before| owners_differ(before, after));
        if is_new && self.is_due(&uid, Task::Collect) && !after.is_ending() {
            return vec![(uid, Task::Collect)];
        }
        Vec::new()
    }

    /// Whether something is still to be done to an object.
    fn is_due(&self, uid: &str, task: Task) -> bool {
        let waits = |uid: &str| self.objects.get(uid).is_some_and(|object| object.waits);
        match task {
            Task::Collect => {
                let blocks = self.objects.get(uid).map(|object| object.blocks.as_slice()).unwrap_or_default();
                self.is_orphan(uid) || blocks.iter().any(|owner| waits(owner))
            }
            Task::Release => waits(uid) && self.blocking(uid).next().is_none(),
        }
    }

    /// The uids of the objects that keep an owner that is deleted in the foreground.
    fn blocking(&self, owner: &str) -> impl Iterator<Item = &String> {
        let blocks = move |uid: &&String| {
            let blocks = self.objects.get(*uid).map(|object| object.blocks.as_slice()).unwrap_or_default();
            blocks.iter().any(|blocked| blocked == owner)
        };
        self.dependents.get(owner).into_iter().flatten().filter(blocks)
    }

    /// Whether an object names owners and none of them is there, or only in another namespace.
    fn is_orphan(&self, uid: &str) -> bool {
        let Some(object) = self.objects.get(uid) else { return false };
        let is_there = |owner: &String| {
            let namespace = self.objects.get(owner).map(|owner| &owner.namespace);
            namespace.is_some_and(|namespace| namespace.is_none() || *namespace == object.namespace)
        };
        !object.owners.is_empty() && !object.owners.iter().any(is_there)
    }
}

/// Whether an object is deleted and stays until what it owns is gone.
fn waits(object: &Arc<Object>) -> bool {
    let finalizers = object.value()["metadata"]["finalizers"].as_array();
    object.is_ending()
        && finalizers.is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == FOREGROUND))
}

fn owners(object: &Arc<Object>) -> Vec<String> {
    let owners = object.value()["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().filter_map(|owner| owner["uid"].as_str()).map(str::to_owned).collect()
}

/// The owners that wait for an object when they are deleted in the foreground.
fn blocked(object: &Arc<Object>) -> Vec<String> {
    let owners = object.value()["metadata"]["ownerReferences"].as_array();
    let blocked = owners.into_iter().flatten().filter(|owner| owner["blockOwnerDeletion"] == true);
    blocked.filter_map(|owner| owner["uid"].as_str()).map(str::to_owned).collect()
}

fn owners_differ(before: &Object, after: &Object) -> bool {
    let owners = |object: &Object| -> Value { object.value()["metadata"]["ownerReferences"].clone() };
    owners(before) != owners(after)
}
