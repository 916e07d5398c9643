//! Filling a cache from a watch.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::Resource;
use kube::runtime::watcher::{self, watcher};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::cache::Cache;
use crate::cache::decode::Decoded;
use crate::cache::objects::version;
use crate::cache::store::{Seen, Store};
use crate::controller::Controller;
use crate::key::Key;
use crate::outcome::BoxError;
use crate::recorder::{Event, EventType};
use crate::report::chain;
use crate::retriever::Object;
use crate::stop::Stop;

/// Each watch waits on its own: one that fails delays no other.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(800), max: Duration::from_secs(10) };

/// Errors further apart than this are not counted together.
const CALM: Duration = Duration::from_mins(2);

impl<K: Object> Controller for Cache<K> {
    fn name(&self) -> &str {
        &self.shared.kind
    }

    /// Keeps the cache up to date until `stop`. Runs once: a second run is an error.
    fn run(self: Box<Self>, stop: Stop) -> BoxFuture<'static, Result<(), BoxError>> {
        async move {
            if self.shared.running.swap(true, Ordering::Relaxed) {
                let kind = &self.shared.kind;
                return Err(format!("the cache of `{kind}` runs already: add it to one operator only").into());
            }
            self.fill(stop).await
        }
        .boxed()
    }
}

impl<K: Object> Cache<K> {
    async fn fill(&self, stop: Stop) -> Result<(), BoxError> {
        let shared = &self.shared;
        let mut events = pin!(watcher(shared.api.clone(), shared.config.clone()));
        let mut stopped = pin!(stop.stopped());
        let mut failures = Failures::default();
        loop {
            let event = tokio::select! {
                biased;
                () = &mut stopped => return Ok(()),
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => {
                    let wait = failures.next(&shared.kind, &error, Instant::now());
                    self.report(&error, wait);
                    tokio::select! {
                        biased;
                        () = &mut stopped => return Ok(()),
                        () = sleep(wait) => {}
                    }
                }
                None => return Err(format!("the watch of `{}` ended for good", shared.kind).into()),
            }
        }
    }

    fn report(&self, error: &watcher::Error, wait: Duration) {
        let expired = is_expired(error);
        let error = chain(error).to_string();
        if expired {
            info!(kind = self.shared.kind, error, ?wait, "the watch was left behind; everything is listed anew");
        } else {
            warn!(kind = self.shared.kind, error, ?wait, "the watch failed and is tried again");
        }
        self.shared.readiness.set_error(error);
    }

    fn take(&self, event: watcher::Event<Decoded<K>>) {
        match event {
            watcher::Event::Init => self.change(|store| {
                store.list_begins();
                Vec::new()
            }),
            watcher::Event::InitApply(object) => {
                let (key, seen) = self.see(object);
                self.change(|store| {
                    store.listed(key, seen);
                    Vec::new()
                });
            }
            watcher::Event::InitDone => {
                self.change(Store::list_ends);
                if !self.is_ready() {
                    info!(kind = self.shared.kind, objects = self.list().len(), "the cache is filled");
                    self.shared.readiness.set_ready();
                }
            }
            watcher::Event::Apply(object) => {
                let (key, seen) = self.see(object);
                self.change(|store| store.applied(&key, seen));
            }
            watcher::Event::Delete(object) => {
                let (key, version) = (Key::of(&object), version(&object));
                let uid = object.meta().uid.clone().unwrap_or_default();
                self.change(|store| store.removed(&key, &uid, version));
            }
        }
    }

    /// Applies the rules to an object, and tells of one that is not readable, the first time.
    fn see(&self, object: Decoded<K>) -> (Key, Seen<K>) {
        let key = Key::of(&object);
        let regarding = object.object_ref(&());
        let seen = self.shared.rules.see(object);
        if let Seen::Unreadable { error, .. } = &seen
            && !self.state().store.is_unreadable(&key)
        {
            warn!(
                kind = self.shared.kind,
                ?key,
                error,
                "an object can't be read and is ignored; correct it, or its definition"
            );
            let event = Event {
                type_: EventType::Warning,
                reason: "Unreadable".into(),
                action: "Read".into(),
                note: format!("This object can't be read and is ignored: {error}"),
            };
            self.shared.recorder.publish(&regarding, event);
        }
        (key, seen)
    }
}

/// Counts the errors of one watch. A successful event in between proves little, since a list often
/// works when a watch does not; only time does.
#[derive(Default)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

impl Failures {
    fn next(&mut self, kind: &str, error: &watcher::Error, now: Instant) -> Duration {
        if is_expired(error) {
            return BACKOFF.delay(&kind, 1);
        }
        let calm = self.last.is_some_and(|last| now.saturating_duration_since(last) > CALM);
        self.count = if calm { 1 } else { self.count.saturating_add(1) };
        self.last = Some(now);
        BACKOFF.delay(&kind, self.count)
    }
}

/// Whether the server says that it has forgotten the version (410): normal after a restart, and cured by a list.
fn is_expired(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
    }
}
