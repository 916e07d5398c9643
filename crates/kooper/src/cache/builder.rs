//! Putting a cache together.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use kube::runtime::watcher;
use kube::{Api, Client};

use crate::cache::rules::Rules;
use crate::cache::store::Store;
use crate::cache::{Cache, Readiness, Shared, State, decode};
use crate::recorder::Recorder;
use crate::retriever::{Object, Retriever};

/// Says how a [`Cache`] is to be.
pub struct CacheBuilder<K> {
    api: Api<K>,
    config: watcher::Config,
    rules: Rules<K>,
    recorder: Recorder,
}

impl<K: Object> CacheBuilder<K> {
    pub(super) fn new(retriever: &impl Retriever<Object = K>) -> Self {
        Self {
            api: retriever.api(),
            config: retriever.config(),
            rules: Rules::default(),
            recorder: Recorder::disabled(),
        }
    }

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
