//! An in-memory copy of the objects of one kind, kept up to date by a watch.

mod decode;
mod fill;
mod readiness;
mod store;
mod tombstones;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};

use k8s_openapi::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use tracing::error;

use crate::cache::decode::Decoded;
pub(crate) use crate::cache::readiness::Readiness;
use crate::cache::store::{Item, Seen, Store};
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

/// What of the objects is kept, and what they are found by.
struct Rules<K> {
    keep: Box<dyn Fn(&K) -> bool + Send + Sync>,
    map: Box<dyn Fn(K) -> K + Send + Sync>,
    indexes: Vec<(&'static str, IndexFn<K>)>,
}

type IndexFn<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// A change in a [`Cache`]. At least one of the two is there.
#[derive(Debug)]
pub struct Change<K> {
    /// The object before; `None` if it is new here.
    pub old: Option<Arc<K>>,
    /// The object now; `None` if it is gone from here.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The object now, or what it was before it went.
    pub fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// Both sides of the change that are there, the old one first: for mapping functions that must look
    /// at what an object has left as well as at what it has come to.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(&self.new)
    }
}

impl<K: Resource> Change<K> {
    /// The key of the object itself, as a mapping function for controllers keyed by it.
    pub fn keys(&self) -> Vec<Key> {
        self.latest().map(|object| Key::of(object.as_ref())).into_iter().collect()
    }

    /// The keys of the objects of the namespaced kind `O` that own this one as their controller, before or
    /// after the change: a mapping function for controllers of owners.
    pub fn owners<O: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.sides().filter_map(|side| owner::<K, O>(side)).collect();
        keys.dedup();
        keys
    }
}

fn owner<K: Resource, O: Resource<DynamicType = ()>>(object: &K) -> Option<Key> {
    let references = object.meta().owner_references.as_ref()?;
    let reference = references.iter().find(|reference| {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        reference.controller == Some(true) && reference.kind == O::kind(&()) && group == O::group(&())
    })?;
    Some(Key { namespace: object.meta().namespace.clone(), name: reference.name.clone() })
}

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
        CacheBuilder {
            api: retriever.api(),
            config: retriever.config(),
            rules: Rules { keep: Box::new(|_| true), map: Box::new(|object| object), indexes: Vec::new() },
            recorder: Recorder::disabled(),
        }
    }

    /// The object of that key.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.state().store.get(key)
    }

    /// All objects.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.state().store.list()
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
        self.state().store.by_index(index, value)
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
            state.store.list()
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

impl<K: Object> Rules<K> {
    /// What becomes of an object. One on which a rule panics is as unreadable as one that can't be decoded.
    fn see(&self, object: Decoded<K>) -> Seen<K> {
        let uid = object.meta().uid.clone().unwrap_or_default();
        let object = match object {
            Decoded::Object(object) => object,
            Decoded::Unreadable { error, .. } => return Seen::Unreadable { uid, error },
        };
        catch_unwind(AssertUnwindSafe(|| self.judge(object))).unwrap_or_else(|panic| Seen::Unreadable {
            uid,
            error: format!("a rule of the cache panicked: {}", panic_message(panic.as_ref())),
        })
    }

    fn judge(&self, mut object: K) -> Seen<K> {
        let version = store::version(&object);
        if !(self.keep)(&object) {
            return Seen::Unkept(version);
        }
        object.meta_mut().managed_fields = None;
        let object = (self.map)(object);
        let terms = self.indexes.iter().map(|(_, index)| index(&object)).collect();
        Seen::Kept(Item::new(object, version, terms))
    }
}

/// Says how a [`Cache`] is to be.
pub struct CacheBuilder<K> {
    api: Api<K>,
    config: watcher::Config,
    rules: Rules<K>,
    recorder: Recorder,
}

impl<K: Object> CacheBuilder<K> {
    /// Keeps only objects of which this holds; others are as good as not there. Selectors of the
    /// [`Retriever`] are better where they can say it: what they exclude is not even sent.
    #[must_use]
    pub fn keep(mut self, keep: impl Fn(&K) -> bool + Send + Sync + 'static) -> Self {
        self.rules.keep = Box::new(keep);
        self
    }

    /// Changes what is kept, mostly to drop what nobody reads. Must leave the metadata's name,
    /// namespace, uid and resourceVersion alone.
    #[must_use]
    pub fn map(mut self, map: impl Fn(K) -> K + Send + Sync + 'static) -> Self {
        self.rules.map = Box::new(map);
        self
    }

    /// Lets objects be found by the values that `index` gives for them, in
    /// [`by_index`](Cache::by_index). It sees what [`map`](Self::map) has left.
    #[must_use]
    pub fn index(mut self, name: &'static str, index: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.rules.indexes.push((name, Box::new(index)));
        self
    }

    /// Tells users of objects that can't be decoded, by an event on each.
    #[must_use]
    pub fn recorder(mut self, recorder: &Recorder) -> Self {
        self.recorder = recorder.clone();
        self
    }

    /// The cache, empty until it runs.
    pub fn build(self) -> Cache<K> {
        let kind = K::kind(&()).into_owned();
        let namespace = self.api.namespace().map(str::to_owned);
        let client: Client = self.api.into_client();
        let store = Store::new(self.rules.indexes.len());
        let shared = Shared {
            api: decode::api(client, namespace.as_deref()),
            config: self.config,
            rules: self.rules,
            state: Mutex::new(State { store, subscribers: Vec::new() }),
            readiness: Arc::new(Readiness::new(kind.clone())),
            recorder: self.recorder,
            running: AtomicBool::new(false),
            kind,
        };
        Cache { shared: Arc::new(shared) }
    }
}
