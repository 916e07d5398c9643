//! What all handles of a cluster share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::hash::Hash;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::store::{Event, Resource, Store, Watch};

/// A cluster's state, its clock and its options. The lock is never held across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    options: Options,
    clock: Clock,
    state: Mutex<State>,
    written: Notify,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    /// How many requests each actor has sent.
    requests: BTreeMap<Arc<str>, u64>,
    watches: u64,
    /// Who waits for writes to a kind, in the order of the watches.
    waiting: BTreeMap<(Resource, u64), Waker>,
    digest: Hash,
    pub(crate) failures: Vec<String>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let state = State {
            store: Store::new(options.seed, options.watch_window),
            requests: BTreeMap::new(),
            watches: 0,
            waiting: BTreeMap::new(),
            digest: Hash::new(options.seed),
            failures: Vec::new(),
        };
        Self { options, clock: Clock::start(), state: Mutex::new(state), written: Notify::new() }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// The state. A test that panicked while it held the lock leaves a state that is still whole: every write is made
    /// in one step.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes the watches of the kinds that were written to.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let written = state.store.history().len();
        let result = change(&mut state);
        let mut resources: Vec<Resource> = state.store.history()[written..]
            .iter()
            .map(|write| (write.kind.api.group.clone(), write.kind.api.plural.clone()))
            .collect();
        resources.sort();
        resources.dedup();
        let wakers: Vec<Waker> = resources.iter().flat_map(|resource| state.take_waiting(resource)).collect();
        drop(state);
        if !resources.is_empty() {
            wakers.into_iter().for_each(Waker::wake);
            self.written.notify_waiters();
        }
        result
    }

    /// Waits until a write after a version was accepted.
    pub(crate) async fn written_since(&self, revision: u64) {
        loop {
            let mut written = std::pin::pin!(self.written.notified());
            // From here on no write is missed.
            written.as_mut().enable();
            if self.lock().store.revision() > revision {
                return;
            }
            written.await;
        }
    }

    /// The number of an actor's next request, counted from 1.
    pub(crate) fn next_request(&self, actor: &Arc<str>) -> u64 {
        let mut state = self.lock();
        let count = state.requests.entry(actor.clone()).or_default();
        *count += 1;
        *count
    }

    /// The number of the next watch.
    pub(crate) fn next_watch(&self) -> u64 {
        let mut state = self.lock();
        state.watches += 1;
        state.watches
    }

    /// What was written since a watch last asked.
    pub(crate) fn events(&self, watch: &mut Watch) -> Result<Vec<Event>, Refusal> {
        self.lock().store.events(watch)
    }

    /// Ready as soon as the watched kind was written to since the watch last asked.
    pub(crate) fn poll_change(&self, id: u64, watch: &Watch, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.store.has_events(watch) {
            return Poll::Ready(());
        }
        state.waiting.insert((watch.resource().clone(), id), context.waker().clone());
        Poll::Pending
    }

    /// Nobody waits for a watch any longer.
    pub(crate) fn forget_watch(&self, id: u64, watch: &Watch) {
        self.lock().waiting.remove(&(watch.resource().clone(), id));
    }

    /// Adds what an actor got or sent to the digest.
    pub(crate) fn record(&self, actor: &str, bytes: &[u8]) {
        let mut state = self.lock();
        state.record(actor, bytes);
    }
}

impl State {
    pub(crate) fn record(&mut self, actor: &str, bytes: &[u8]) {
        self.digest = self.digest.text(actor).bytes(bytes);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.value()
    }

    fn take_waiting(&mut self, resource: &Resource) -> Vec<Waker> {
        let keys: Vec<(Resource, u64)> = self
            .waiting
            .range((resource.clone(), 0)..=(resource.clone(), u64::MAX))
            .map(|(key, _)| key.clone())
            .collect();
        keys.iter().filter_map(|key| self.waiting.remove(key)).collect()
    }
}
