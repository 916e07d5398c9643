//! The API server's state and rules, without time, streams or HTTP: requests go in, objects or refusals come out.
//!
//! One integer counts the versions of everything, as in etcd. Every write is one step of it and one [`Write`], in the
//! history and in the log of its kind; watches read that log. Nothing is ever changed in place.

mod create;
mod definition;
mod delete;
mod list;
mod meta;
mod patch;
mod pod;
mod update;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use delete::{DeleteOptions, Deleted, FOREGROUND};
pub(crate) use list::{ListOptions, Page};
pub(crate) use patch::PatchType;
pub(crate) use update::Change;
pub(crate) use watch::{Event, EventType, Opened, Watch};

use crate::admission::Admission;
use crate::history::Write;
use crate::kind::Kind;
use crate::object::Object;
use crate::refusal::{Refusal, internal, not_found};
use crate::request::Verb;

/// All objects of a cluster, and all that was written.
#[derive(Debug)]
pub(crate) struct Store {
    seed: u64,
    revision: u64,
    watch_window: usize,
    collections: BTreeMap<Resource, Collection>,
    admission: Vec<Admission>,
    history: Vec<Arc<Write>>,
}

/// A kind's group and plural.
pub(crate) type Resource = (String, String);

/// The objects of one kind.
#[derive(Debug)]
struct Collection {
    kind: Arc<Kind>,
    objects: BTreeMap<Key, Arc<Object>>,
    /// The latest writes to the kind, at most as many as the window.
    log: VecDeque<Arc<Write>>,
    /// The oldest version from which a new watch may start.
    forgotten: u64,
    /// The version of the latest write that is no longer in the log. A watch that is already beyond it has missed
    /// nothing, even if everything is forgotten.
    lost: u64,
}

/// An object's namespace and name; the namespace is empty where the kind has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Who asks for what, and when.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) actor: Arc<str>,
    pub(crate) now: Timestamp,
    pub(crate) verb: Verb,
    pub(crate) resource: Resource,
    pub(crate) subresource: Option<String>,
    pub(crate) dry_run: bool,
}

impl Store {
    /// An empty store that serves nothing.
    pub(crate) fn new(seed: u64, watch_window: usize) -> Self {
        Self {
            seed,
            revision: 0,
            watch_window,
            collections: BTreeMap::new(),
            admission: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Serves one more kind. Registering one twice keeps its objects.
    pub(crate) fn register(&mut self, kind: Kind) {
        let resource = (kind.api.group.clone(), kind.api.plural.clone());
        let forgotten = self.revision;
        let kind = Arc::new(kind);
        self.collections
            .entry(resource)
            .and_modify(|collection| collection.kind = kind.clone())
            .or_insert_with(|| Collection { kind, objects: BTreeMap::new(), log: VecDeque::new(), forgotten, lost: 0 });
    }

    /// Asks one more rule before each create and update.
    pub(crate) fn admit(&mut self, rule: Admission) {
        self.admission.push(rule);
    }

    /// The kinds served.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.collections.values().map(|collection| &collection.kind)
    }

    /// The kind of a resource, if it is served.
    pub(crate) fn kind(&self, resource: &Resource) -> Option<&Arc<Kind>> {
        self.collections.get(resource).map(|collection| &collection.kind)
    }

    /// The version of the latest write.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Every write, in order.
    pub(crate) fn history(&self) -> &[Arc<Write>] {
        &self.history
    }

    /// Forgets for watches and lists what was written so far.
    pub(crate) fn compact(&mut self) {
        for collection in self.collections.values_mut() {
            if let Some(latest) = collection.log.back() {
                collection.lost = latest.revision;
            }
            collection.log.clear();
            collection.forgotten = self.revision;
        }
    }

    /// One object.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn get(&self, resource: &Resource, key: &Key) -> Result<&Arc<Object>, Refusal> {
        let collection = self.collection(resource)?;
        collection.objects.get(key).ok_or_else(|| not_found(&collection.kind, &key.name))
    }

    /// The objects of a kind, ordered by namespace and name; none where it isn't served.
    pub(crate) fn objects(&self, resource: &Resource) -> impl Iterator<Item = &Arc<Object>> {
        self.collections.get(resource).into_iter().flat_map(|collection| collection.objects.values())
    }

    fn collection(&self, resource: &Resource) -> Result<&Collection, Refusal> {
        self.collections.get(resource).ok_or_else(|| not_served(resource))
    }

    /// Whether a namespace exists, and may be created in.
    fn namespace(&self, name: &str) -> Option<&Arc<Object>> {
        let namespaces = self.collections.get(&(String::new(), "namespaces".to_owned()))?;
        namespaces.objects.get(&Key { namespace: String::new(), name: name.to_owned() })
    }

    /// Makes a write of a change: `after` is the new state, None if the object goes. What a dry run gets back is not
    /// stored, and has the version that its object had.
    fn commit(
        &mut self,
        call: &Call,
        before: Option<Arc<Object>>,
        after: Option<Value>,
    ) -> Result<Arc<Object>, Refusal> {
        if call.dry_run {
            return match (after, before) {
                (Some(after), _) => Ok(Object::unstored(after)),
                (None, Some(before)) => Ok(before),
                (None, None) => Err(nothing_to_write()),
            };
        }
        let revision = self.revision + 1;
        let collection = self.collections.get_mut(&call.resource).ok_or_else(|| not_served(&call.resource))?;
        let after = after.map(|value| Object::stored(value, revision));
        let Some(key) = after.as_ref().or(before.as_ref()).map(|object| Key::of(object.value())) else {
            return Err(nothing_to_write());
        };
        match &after {
            Some(object) => drop(collection.objects.insert(key.clone(), object.clone())),
            None => drop(collection.objects.remove(&key)),
        }
        let write = Arc::new(Write {
            revision,
            time: call.now,
            actor: call.actor.clone(),
            verb: call.verb,
            subresource: call.subresource.clone(),
            kind: collection.kind.clone(),
            namespace: collection.kind.is_namespaced().then_some(key.namespace),
            name: key.name,
            before,
            after,
            farewell: OnceLock::new(),
        });
        self.revision = revision;
        collection.log.push_back(write.clone());
        if collection.log.len() > self.watch_window
            && let Some(oldest) = collection.log.pop_front()
        {
            collection.forgotten = oldest.revision;
            collection.lost = oldest.revision;
        }
        let result = write.after.clone().or_else(|| write.farewell());
        self.history.push(write);
        result.ok_or_else(nothing_to_write)
    }
}

fn not_served((group, plural): &Resource) -> Refusal {
    internal(format!("`{plural}` of the group `{group}` is not served"))
}

fn nothing_to_write() -> Refusal {
    internal("a write from nothing to nothing")
}

impl Key {
    /// The key that an object's metadata states.
    pub(crate) fn of(object: &Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        Self { namespace: text("namespace"), name: text("name") }
    }
}
