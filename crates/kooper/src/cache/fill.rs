//! Filling a cache from a watch.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::cache::decode::Decoded;
use crate::cache::{Cache, store};
use crate::controller::Controller;
use crate::key::Key;
use crate::outcome::BoxError;
use crate::recorder::{EventType, NewEvent};
use crate::report::chain;
use crate::retriever::Object;
use crate::stop::Stop;

/// Each watch waits on its own: one that fails delays no other.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(800), max: Duration::from_secs(30) };

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
                    let wait = failures.next(&shared.kind, Instant::now());
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
        let error = chain(error).to_string();
        warn!(kind = self.shared.kind, error, ?wait, "the watch failed and is tried again");
        self.shared.readiness.set_error(error);
    }

    fn take(&self, event: Event<Decoded<K>>) {
        match event {
            Event::Init => self.change(|store, _| {
                store.list_begins();
                Vec::new()
            }),
            Event::InitApply(Decoded::Object(object)) => self.change(|store, rules| {
                store.listed(rules.item(object));
                Vec::new()
            }),
            Event::InitApply(Decoded::Unreadable { meta, error }) => {
                let object = Decoded::<K>::Unreadable { meta, error };
                let mut news = false;
                self.change(|store, _| {
                    news = store.listed_unreadable(Key::of(&object), uid(&object));
                    Vec::new()
                });
                self.report_unreadable(&object, news);
            }
            Event::InitDone => {
                self.change(|store, _| store.list_ends());
                if !self.is_ready() {
                    info!(kind = self.shared.kind, objects = self.list().len(), "the cache is filled");
                    self.shared.readiness.set_ready();
                }
            }
            Event::Apply(Decoded::Object(object)) => {
                let key = Key::of(&object);
                self.change(|store, rules| store.applied(&key, rules.item(object)));
            }
            Event::Apply(object @ Decoded::Unreadable { .. }) => {
                let mut news = false;
                self.change(|store, _| {
                    let (first, changes) = store.applied_unreadable(&Key::of(&object), &uid(&object));
                    news = first;
                    changes
                });
                self.report_unreadable(&object, news);
            }
            Event::Delete(object) => {
                let (key, uid, version) = (Key::of(&object), uid(&object), store::version(&object));
                self.change(|store, _| store.removed(&key, &uid, version));
            }
        }
    }

    fn report_unreadable(&self, object: &Decoded<K>, news: bool) {
        let Decoded::Unreadable { meta, error } = object else { return };
        if !news {
            return;
        }
        warn!(
            kind = self.shared.kind,
            key = ?Key::of(object),
            error,
            "an object can't be decoded and is not seen; correct it, or its definition"
        );
        let regarding = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(self.shared.kind.clone()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        };
        self.shared.recorder.publish(
            &regarding,
            NewEvent {
                type_: EventType::Warning,
                reason: "Unreadable".into(),
                action: "Decode".into(),
                note: format!("The object can't be decoded and is not seen: {error}"),
            },
        );
    }
}

fn uid<K: Resource>(object: &K) -> String {
    object.meta().uid.clone().unwrap_or_default()
}

/// Counts the errors of one watch. A successful event in between proves little, since a list often
/// works when a watch does not; only time does.
#[derive(Default)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

impl Failures {
    fn next(&mut self, kind: &str, now: Instant) -> Duration {
        let calm = self.last.is_some_and(|last| now.saturating_duration_since(last) > CALM);
        self.count = if calm { 1 } else { self.count.saturating_add(1) };
        self.last = Some(now);
        BACKOFF.delay(&kind, self.count)
    }
}
