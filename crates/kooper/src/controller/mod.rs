//! Controllers: what runs, and how one is put together.

mod runner;

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::{Backoff, RetryPolicy};
use crate::cache::{Cache, Change, Readiness, Subscription};
use crate::clock::{Clock, SystemClock};
use crate::context::Context;
use crate::outcome::{BoxError, Failure, Outcome};
use crate::queue::Queue;
use crate::recorder::Recorder;
use crate::retriever::Object;
use crate::stop::Stop;
use crate::sync::lock;

/// Something that runs until it is told to stop: a controller, a [`Cache`], a [`Recorder`]'s sender, an
/// [`Operator`](crate::Operator).
///
/// It runs inside the future that [`run`](Self::run) returns and nowhere else: dropping that future
/// ends it, as a crash would.
pub trait Controller: Send + 'static {
    /// Its name in logs and errors.
    fn name(&self) -> &str;

    /// Runs until `stop`. Returns an error if it can't go on.
    fn run(self: Box<Self>, stop: Stop) -> BoxFuture<'static, Result<(), BoxError>>;
}

/// What a controller can be keyed by: most often [`Key`](crate::Key), but any sorted value will do,
/// such as the name of a node.
pub trait WorkKey: Ord + Clone + Hash + Debug + Send + Sync + 'static {}

impl<K: Ord + Clone + Hash + Debug + Send + Sync + 'static> WorkKey for K {}

/// Brings the world to the state that the objects behind a key ask for.
///
/// Level-triggered: it is told which key, never what has happened. It must stand being called again
/// at any time, and being dropped at any await point (when it takes too long, or at a crash).
///
/// An asynchronous closure `|cx, key|` is a reconciler.
pub trait Reconciler<K>: Send + Sync + 'static {
    /// Does what is to be done for `key`. Never called twice at a time with the same key.
    fn reconcile(&self, cx: Context, key: K) -> impl Future<Output = Result<Outcome, Failure>> + Send;
}

impl<K, F, R> Reconciler<K> for F
where
    F: Fn(Context, K) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outcome, Failure>> + Send,
{
    fn reconcile(&self, cx: Context, key: K) -> impl Future<Output = Result<Outcome, Failure>> + Send {
        self(cx, key)
    }
}

/// The queue of a controller, shared with those who add to it.
#[derive(Debug)]
pub(crate) struct Inbox<K> {
    queue: Mutex<Queue<K>>,
    added: Notify,
}

impl<K: WorkKey> Inbox<K> {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::new(Queue::new()), added: Notify::new() }
    }

    pub(crate) fn add(&self, keys: impl IntoIterator<Item = K>) {
        let now = Instant::now();
        let mut queue = lock(&self.queue);
        for key in keys {
            queue.add(key, now);
        }
        drop(queue);
        self.added.notify_one();
    }
}

/// What a controller may do; every value has a default that suits most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) concurrency: usize,
    pub(crate) timeout: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) retry: RetryPolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 4,
            timeout: Duration::from_mins(1),
            start_timeout: Duration::from_mins(2),
            stop_timeout: Duration::from_secs(20),
            retry: RetryPolicy::default(),
        }
    }
}

/// Puts a [`Controller`] together from a [`Reconciler`] and the caches it works from.
pub struct ControllerBuilder<K, R> {
    name: String,
    reconciler: R,
    inbox: Arc<Inbox<K>>,
    caches: Vec<Arc<Readiness>>,
    subscriptions: Vec<Subscription>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
}

impl<K: WorkKey, R: Reconciler<K>> ControllerBuilder<K, R> {
    /// A controller called `name` in logs and errors.
    pub fn new(name: impl Into<String>, reconciler: R) -> Self {
        Self::with_inbox(name, reconciler, Arc::new(Inbox::new()))
    }

    pub(crate) fn with_inbox(name: impl Into<String>, reconciler: R, inbox: Arc<Inbox<K>>) -> Self {
        Self {
            name: name.into(),
            reconciler,
            inbox,
            caches: Vec::new(),
            subscriptions: Vec::new(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            recorder: Recorder::disabled(),
        }
    }

    /// Reconciles the keys that `map` finds for each change in `cache`. When the cache is filled, every
    /// object in it is a change.
    ///
    /// `map` may read caches. It is called outside any lock, so that when changes come from several
    /// threads it may see them in another order than they happened; as it only names keys, that does
    /// not matter.
    #[must_use]
    pub fn watches<O: Object>(
        mut self,
        cache: &Cache<O>,
        map: impl Fn(&Change<O>) -> Vec<K> + Send + Sync + 'static,
    ) -> Self {
        let inbox = Arc::clone(&self.inbox);
        let subscription = cache.subscribe(move |change| inbox.add(map(change)));
        self.subscriptions.push(subscription);
        self.reads(cache)
    }

    /// Waits for `cache` to be filled before the first reconcile, without watching its changes.
    #[must_use]
    pub fn reads<O: Object>(mut self, cache: &Cache<O>) -> Self {
        self.caches.push(cache.readiness());
        self
    }

    /// How many keys are reconciled at a time (4).
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.limits.concurrency = concurrency.max(1);
        self
    }

    /// How long one reconcile may take before it is dropped and counts as failed (60 s).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// How long the caches may take to be filled before the controller fails (120 s).
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.limits.start_timeout = timeout;
        self
    }

    /// How long reconciles in flight may take after the stop before they are dropped (20 s).
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.limits.stop_timeout = timeout;
        self
    }

    /// How long a failed key waits (100 ms, doubled up to 60 s).
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.limits.retry.backoff = backoff;
        self
    }

    /// After how many failures in a row a key is stalled (12).
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.limits.retry.max_attempts = attempts;
        self
    }

    /// How often a stalled key is looked at (every 10 minutes).
    #[must_use]
    pub fn resync(mut self, every: Duration) -> Self {
        self.limits.retry.resync = every;
        self
    }

    /// The clock that reconciles are given (the operating system's).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The recorder that reconciles are given (one that discards everything).
    #[must_use]
    pub fn recorder(mut self, recorder: &Recorder) -> Self {
        self.recorder = recorder.clone();
        self
    }

    /// The controller.
    pub fn build(self) -> Box<dyn Controller> {
        Box::new(runner::Runner::new(self))
    }
}

#[cfg(test)]
mod tests;
