//! An in-memory copy of the objects of one kind, kept up to date by a watch.

mod builder;
mod change;
mod decode;
mod fill;
mod objects;
mod readiness;
mod rules;
mod store;
mod tombstones;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};

use kube::Api;
use kube::runtime::watcher;
use tracing::error;

pub use crate::cache::builder::CacheBuilder;
pub use crate::cache::change::Change;
use crate::cache::decode::Decoded;
pub(crate) use crate::cache::readiness::Readiness;
use crate::cache::rules::Rules;
use crate::cache::store::Store;
use crate::key::Key;
use crate::recorder::Recorder;
use crate::report::panic_message;
use crate::retriever::{Object, Retriever};
use crate::sync::lock;

/// A handle to the cached objects of one kind. Clones share the same objects.
///
/// It is filled, and kept up to date, while it runs as a [`Controller`](crate::Controller), normally in
/// an [`Operator`](crate::Operator). What it guarantees:
/// - everything it returns is sorted by [`Key`];
/// - it goes only forward: no event brings back an older version of an object than it has shown;
/// - you read your own writes, if you report them by [`wrote`](Self::wrote) and
///   [`deleted`](Self::deleted);
/// - an object that can't be decoded stops nobody else: it keeps its last readable state, is logged
///   once and listed by [`unreadable`](Self::unreadable);
/// - `metadata.managedFields` are dropped: they are half of most objects, and no controller needs them.
///
/// What it can't know: an object that somebody deleted in the short time between our writing it and
/// our listing anew may stay visible until the next event of its kind.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    kind: String,
    api: Api<Decoded<K>>,
    config: watcher::Config,
    rules: Rules<K>,
    state: Mutex<State<K>>,
    readiness: Arc<Readiness>,
    recorder: Recorder,
    running: AtomicBool,
}

struct State<K> {
    store: Store<K>,
    subscribers: Vec<Weak<Subscriber<K>>>,
}

type Subscriber<K> = dyn Fn(&Change<K>) + Send + Sync;

/// Keeps a subscriber: dropping it ends the subscription.
pub(crate) struct Subscription {
    _subscriber: Arc<dyn Any + Send + Sync>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("kind", &self.shared.kind).finish_non_exhaustive()
    }
}

impl<K: Object> Cache<K> {
    /// A cache of what `retriever` retrieves.
    pub fn builder(retriever: &impl Retriever<Object = K>) -> CacheBuilder<K> {
        CacheBuilder::new(retriever)
    }

    /// The object of that key.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.state().store.objects().get(key).map(|item| Arc::clone(&item.object))
    }

    /// All objects.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.state().store.objects().list()
    }

    /// The objects for which the index `name` gave `value`.
    ///
    /// # Panics
    /// If the cache was built without that index.
    pub fn by_index(&self, name: &'static str, value: &str) -> Vec<Arc<K>> {
        let indexes = &self.shared.rules.indexes;
        let Some(index) = indexes.iter().position(|(known, _)| *known == name) else {
            panic!("the cache of `{}` has no index `{name}`: add it when the cache is built", self.shared.kind);
        };
        self.state().store.objects().by_index(index, value)
    }

    /// Whether it has been filled. Stays true, however old its contents become.
    pub fn is_ready(&self) -> bool {
        self.shared.readiness.is_ready()
    }

    /// Waits until it has been filled. Without a deadline; [`Controller`](crate::Controller)s that use
    /// this cache have one.
    pub async fn ready(&self) {
        self.shared.readiness.ready().await;
    }

    /// Takes in the answer to a write at once, instead of when the watch shows it, so that the next
    /// reconcile sees it.
    ///
    /// Ignored if the cache has seen the same or a newer version already. An object that was deleted
    /// but is still there (a finalizer, a grace period) is reported here too. Must be one that the
    /// retriever selects: of another the watch would never show the end.
    pub fn wrote(&self, object: K) {
        let key = Key::of(&object);
        let seen = self.shared.rules.see(Decoded::Object(object));
        self.change(|store| store.wrote(&key, seen));
    }

    /// Takes an object out at once after it was deleted and is gone, or was found to be gone.
    ///
    /// Until the watch has shown the deletion, no event brings that `uid` back; a new object of the same
    /// name is welcome.
    pub fn deleted(&self, key: &Key, uid: &str) {
        self.change(|store| store.deleted(key, uid));
    }

    /// The objects that are there but can't be decoded.
    pub fn unreadable(&self) -> Vec<Key> {
        self.state().store.unreadable()
    }

    /// Calls `subscriber` for every change from now on, and first for every object that is there.
    pub(crate) fn subscribe(&self, subscriber: impl Fn(&Change<K>) + Send + Sync + 'static) -> Subscription {
        let subscriber = Arc::new(subscriber);
        let shared: Arc<Subscriber<K>> = subscriber.clone();
        let present = {
            let mut state = self.state();
            state.subscribers.retain(|old| old.strong_count() > 0);
            state.subscribers.push(Arc::downgrade(&shared));
            state.store.objects().list()
        };
        for object in present {
            self.notify(&shared, &Change { old: None, new: Some(object) });
        }
        Subscription { _subscriber: subscriber }
    }

    pub(crate) fn readiness(&self) -> Arc<Readiness> {
        Arc::clone(&self.shared.readiness)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<K>> {
        lock(&self.shared.state)
    }

    /// Changes the store, then tells the subscribers, with the lock released: they may read caches.
    fn change(&self, change: impl FnOnce(&mut Store<K>) -> Vec<Change<K>>) {
        let (changes, subscribers) = {
            let mut state = self.state();
            let changes = change(&mut state.store);
            let subscribers: Vec<_> = state.subscribers.iter().filter_map(Weak::upgrade).collect();
            (changes, subscribers)
        };
        for change in &changes {
            for subscriber in &subscribers {
                self.notify(subscriber, change);
            }
        }
    }

    /// A subscriber that panics loses this change; nobody else does.
    fn notify(&self, subscriber: &Arc<Subscriber<K>>, change: &Change<K>) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| subscriber(change))) {
            error!(
                kind = self.shared.kind,
                key = ?change.keys(),
                panic = panic_message(payload.as_ref()),
                "a mapping function panicked; its controller misses this change"
            );
        }
    }
}
