//! The garbage collector: deletes in the background what has lost all its owners.
//!
//! It reads the history rather than watching every kind, so that its view is never behind; what it does goes through a
//! client, like all that actors do.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, Preconditions};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::sleep;

use super::pool::Pool;
use crate::hash::Hash;
use crate::history::Write;
use crate::object::Object;
use crate::options::Span;
use crate::sim::Sim;

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
    let mut requests: Pool<Option<String>> = Pool::new();
    let mut seen = 0;
    loop {
        for write in sim.history_since(seen) {
            seen = write.revision;
            for uid in graph.take(&write) {
                collect(&mut requests, &sim, &client, &graph, uid, None);
            }
        }
        tokio::select! {
            biased;
            again = requests.next() => {
                if let Some(uid) = again.filter(|uid| graph.is_orphan(uid)) {
                    collect(&mut requests, &sim, &client, &graph, uid, Some(RETRY));
                }
            }
            () = sim.written_since(seen) => {}
        }
    }
}

/// Deletes an orphan after a while.
fn collect(
    requests: &mut Pool<Option<String>>,
    sim: &Sim,
    client: &Client,
    graph: &Graph,
    uid: String,
    wait: Option<Duration>,
) {
    let Some(orphan) = graph.objects.get(&uid).cloned() else { return };
    let wait = wait.unwrap_or_else(|| NOTICE.pick(Hash::new(sim.seed()).text(ACTOR).text(&uid)));
    let api: Api<DynamicObject> = match &orphan.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &orphan.api),
        None => Api::all_with(client.clone(), &orphan.api),
    };
    requests.push(async move {
        sleep(wait).await;
        let same = Preconditions { uid: Some(uid.clone()), resource_version: None };
        let options = DeleteParams::background().preconditions(same);
        match api.delete(&orphan.name, &options).await {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => None,
            Err(_) => Some(uid),
            Ok(_) => None,
        }
    });
}

impl Graph {
    /// Takes note of a write. The uids of those that are orphans by it.
    fn take(&mut self, write: &Write) -> Vec<String> {
        let uid = write.uid().to_owned();
        for owner in self.objects.remove(&uid).map(|known| known.owners).unwrap_or_default() {
            self.dependents.entry(owner).or_default().remove(&uid);
        }
        let Some(after) = &write.after else {
            let dependents = self.dependents.remove(&uid).unwrap_or_default();
            return dependents.into_iter().filter(|dependent| self.is_orphan(dependent)).collect();
        };
        let owners = owners(after);
        for owner in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(uid.clone());
        }
        let known =
            Known { api: write.kind.api.clone(), namespace: write.namespace.clone(), name: write.name.clone(), owners };
        self.objects.insert(uid.clone(), known);
        let is_new = write.before.as_ref().is_none_or(|before| owners_differ(before, after));
        if is_new && self.is_orphan(&uid) && !after.is_ending() { vec![uid] } else { Vec::new() }
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

fn owners(object: &Arc<Object>) -> Vec<String> {
    let owners = object.value()["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().filter_map(|owner| owner["uid"].as_str()).map(str::to_owned).collect()
}

fn owners_differ(before: &Object, after: &Object) -> bool {
    let owners = |object: &Object| -> Value { object.value()["metadata"]["ownerReferences"].clone() };
    owners(before) != owners(after)
}
