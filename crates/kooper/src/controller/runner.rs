//! Running a controller: its queue, its reconciles in flight, and their ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::cache::{Readiness, Subscription};
use crate::clock::Clock;
use crate::context::Context;
use crate::controller::{Controller, ControllerBuilder, Inbox, Limits, Reconciler, WorkKey};
use crate::outcome::{BoxError, Failure, Outcome};
use crate::queue::{Job, Next};
use crate::recorder::Recorder;
use crate::report::panic_message;
use crate::stop::Stop;
use crate::sync::lock;

/// So many conflicts in a row are worth a line in the log.
const MANY_CONFLICTS: u32 = 10;

/// A controller as built.
pub(super) struct Runner<K, R> {
    name: String,
    reconciler: R,
    inbox: Arc<Inbox<K>>,
    caches: Vec<Arc<Readiness>>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    /// Kept, since dropping them ends them.
    _subscriptions: Vec<Subscription>,
}

impl<K: WorkKey, R: Reconciler<K>> Controller for Runner<K, R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(self: Box<Self>, stop: Stop) -> BoxFuture<'static, Result<(), BoxError>> {
        async move {
            tokio::select! {
                biased;
                () = stop.stopped() => return Ok(()),
                ready = self.wait_for_caches() => ready?,
            }
            info!(controller = self.name, "the controller runs");
            self.work(stop).await
        }
        .boxed()
    }
}

impl<K: WorkKey, R: Reconciler<K>> Runner<K, R> {
    pub(super) fn new(builder: ControllerBuilder<K, R>) -> Self {
        let ControllerBuilder { name, reconciler, inbox, caches, subscriptions, limits, clock, recorder } = builder;
        Self { name, reconciler, inbox, caches, limits, clock, recorder, _subscriptions: subscriptions }
    }

    async fn wait_for_caches(&self) -> Result<(), BoxError> {
        let all = async {
            for cache in &self.caches {
                cache.ready().await;
            }
        };
        let limit = self.limits.start_timeout;
        if timeout(limit, all).await.is_ok() {
            return Ok(());
        }
        let missing: Vec<_> =
            self.caches.iter().filter(|cache| !cache.is_ready()).map(|cache| cache.describe()).collect();
        Err(format!(
            "controller `{}` can't start: after {limit:?} these are still not filled: {}; \
             check that the kinds are installed, that the account may list and watch them, and that the caches run",
            self.name,
            missing.join("; "),
        )
        .into())
    }

    async fn work(&self, stop: Stop) -> Result<(), BoxError> {
        let mut stopped = std::pin::pin!(stop.stopped());
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < self.limits.concurrency {
                let Some(job) = lock(&self.inbox.queue).take(Instant::now()) else { break };
                in_flight.push(self.reconcile(job));
            }
            let full = in_flight.len() >= self.limits.concurrency;
            let due = lock(&self.inbox.queue).next_due();
            tokio::select! {
                biased;
                () = &mut stopped => break,
                Some((key, next)) = in_flight.next() => self.finish(&key, next),
                () = self.inbox.added.notified() => {}
                () = wait_until(due), if !full => {}
            }
        }
        let limit = self.limits.stop_timeout;
        let rest = async { while in_flight.next().await.is_some() {} };
        if timeout(limit, rest).await.is_ok() {
            return Ok(());
        }
        Err(format!(
            "controller `{}` was stopped, but {} reconciles still ran after {limit:?}; they were dropped, and their work is \
             taken up at the next start",
            self.name,
            in_flight.len(),
        )
        .into())
    }

    fn finish(&self, key: &K, next: Next) {
        lock(&self.inbox.queue).finish(key, next, Instant::now());
    }

    async fn reconcile(&self, job: Job<K>) -> (K, Next) {
        let Job { key, attempt, again } = job;
        let span = info_span!("reconcile", controller = self.name, ?key, attempt);
        let cx = Context {
            attempt,
            max_attempts: self.limits.retry.max_attempts,
            clock: Arc::clone(&self.clock),
            recorder: self.recorder.clone(),
            span: span.clone(),
        };
        async move {
            let result = self.attempt(cx, key.clone()).await;
            let next = self.limits.retry.next(&key, attempt, again, &result);
            log(&result, next, again);
            (key, next)
        }
        .instrument(span)
        .await
    }

    /// One call of the reconciler, which can neither hang nor take others down with it.
    async fn attempt(&self, cx: Context, key: K) -> Result<Outcome, Failure> {
        let call = async { self.reconciler.reconcile(cx, key).await };
        let limit = self.limits.timeout;
        match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                let message = panic_message(panic.as_ref());
                Err(Failure::Retry(format!("the reconcile panicked: {message}").into()))
            }
            Err(_) => Err(Failure::Retry(format!("the reconcile took longer than {limit:?} and was dropped").into())),
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn log(result: &Result<Outcome, Failure>, next: Next, again: u32) {
    let Err(failure) = result else {
        debug!(outcome = ?result, "reconciled");
        return;
    };
    let conflict = matches!(failure, Failure::Conflict(_));
    match next {
        Next::Stalled { resync, .. } => {
            error!(error = %failure, next_look = ?resync, "stalled: looked at only now and then, or when something changes");
        }
        Next::Again(wait) if conflict && again % MANY_CONFLICTS != MANY_CONFLICTS - 1 => {
            debug!(error = %failure, retry_in = ?wait, "somebody else was faster");
        }
        Next::Again(wait) if conflict => {
            warn!(error = %failure, retry_in = ?wait, conflicts = again + 1, "somebody else is always faster");
        }
        Next::Again(wait) => warn!(error = %failure, retry_in = ?wait, "the server can't be used"),
        Next::Retry(wait) => warn!(error = %failure, retry_in = ?wait, "the reconcile failed"),
        Next::Done | Next::After(_) => {}
    }
}
