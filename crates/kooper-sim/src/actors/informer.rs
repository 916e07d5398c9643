//! What a program knows of a kind: the latest of each object, and every change of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

/// How long a watch that failed rests before it is opened again.
const REST: Duration = Duration::from_secs(1);

/// A namespace and a name.
pub(crate) type Name = (String, String);

/// A change of an object: made, if there is no old one; gone, if there is no new one.
#[derive(Debug)]
pub(crate) struct Change<K> {
    pub(crate) old: Option<Arc<K>>,
    pub(crate) new: Option<Arc<K>>,
}

/// A kind's objects, as far as a client has heard of them.
pub(crate) struct Informer<K> {
    events: Pin<Box<dyn Stream<Item = watcher::Result<Event<K>>> + Send>>,
    objects: BTreeMap<Name, Arc<K>>,
    /// During a list, what is still to be found in it; what isn't is gone.
    missing: BTreeSet<Name>,
    changes: VecDeque<Change<K>>,
    synced: bool,
    rests_until: Option<Instant>,
}

impl<K> Informer<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    pub(crate) fn new(client: kube::Client) -> Self {
        Self {
            events: watcher(Api::<K>::all(client), watcher::Config::default()).boxed(),
            objects: BTreeMap::new(),
            missing: BTreeSet::new(),
            changes: VecDeque::new(),
            synced: false,
            rests_until: None,
        }
    }

    /// Whether the first list has come in, and been taken by [`Informer::next`].
    pub(crate) fn is_synced(&self) -> bool {
        self.synced && self.changes.is_empty()
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    /// The next change; None when a list is complete. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Change<K>> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Some(change);
            }
            if let Some(time) = self.rests_until {
                sleep_until(time).await;
                self.rests_until = None;
            }
            match self.events.next().await {
                Some(Ok(event)) => {
                    let complete = matches!(event, Event::InitDone);
                    self.take(event);
                    if complete && self.changes.is_empty() {
                        return None;
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a watch failed and rests");
                    self.rests_until = Some(Instant::now() + REST);
                }
                None => self.rests_until = Some(Instant::now() + REST),
            }
        }
    }

    fn take(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.missing = self.objects.keys().cloned().collect(),
            Event::InitApply(object) | Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.remove(&name(&object)),
            Event::InitDone => {
                for name in std::mem::take(&mut self.missing) {
                    self.remove(&name);
                }
                self.synced = true;
            }
        }
    }

    fn apply(&mut self, object: K) {
        let name = name(&object);
        self.missing.remove(&name);
        // An object of the same name but another uid is another object.
        let same = |old: &Arc<K>| old.meta().uid == object.meta().uid;
        if self.objects.get(&name).is_some_and(|old| !same(old)) {
            self.remove(&name);
        }
        let new = Arc::new(object);
        let old = self.objects.insert(name, new.clone());
        let unchanged = old.as_ref().is_some_and(|old| old.meta().resource_version == new.meta().resource_version);
        if !unchanged {
            self.changes.push_back(Change { old, new: Some(new) });
        }
    }

    fn remove(&mut self, name: &Name) {
        if let Some(old) = self.objects.remove(name) {
            self.changes.push_back(Change { old: Some(old), new: None });
        }
    }
}

fn name<K: Resource>(object: &K) -> Name {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
