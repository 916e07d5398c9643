//! Sending what the ledger holds.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::Instant;

use crate::context::Context;
use crate::controller::Reconciler;
use crate::outcome::{Failure, Outcome};
use crate::recorder::Shared;
use crate::recorder::ledger::{SeriesKey, Work};
use crate::sync::lock;

/// After so many tries an event is dropped: it is news, and news gets old.
const MAX_TRIES: u32 = 5;

/// Writes one series at a time; the queue, the retries and the timeout are those of any controller.
pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
}

impl Reconciler<SeriesKey> for Sender {
    async fn reconcile(&self, cx: Context, key: SeriesKey) -> Result<Outcome, Failure> {
        let due = |at| lock(&self.shared.ledger).due(&key, &self.shared.reporter, at);
        let (event, result) = match due(Instant::now()) {
            Work::Nothing => return Ok(Outcome::Done),
            Work::Wait(wait) => return Ok(Outcome::After(wait)),
            Work::Create(event) => {
                let result = self.create(&event).await;
                (event, result)
            }
            Work::Update(event) => {
                let result = self.update(&event).await;
                (event, result)
            }
        };
        match result {
            Ok(()) => {
                lock(&self.shared.ledger).written(&key, &event, Instant::now());
                // It may have happened again since.
                Ok(Outcome::After(Duration::ZERO))
            }
            Err(error) if cx.attempt >= MAX_TRIES || is_pointless(&error) => {
                lock(&self.shared.ledger).give_up(&key);
                Ok(Outcome::Done)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Sender {
    async fn create(&self, event: &Event) -> Result<(), kube::Error> {
        match self.api(event).create(&PostParams::default(), event).await {
            // Names are never given twice: it is ours, and the first answer was lost.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            result => result.map(drop),
        }
    }

    async fn update(&self, event: &Event) -> Result<(), kube::Error> {
        let name = event.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Merge(json!({ "series": event.series }));
        self.api(event).patch(name, &PatchParams::default(), &patch).await.map(drop)
    }

    fn api(&self, event: &Event) -> Api<Event> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
        Api::namespaced(self.shared.client.clone(), namespace)
    }
}

/// The namespace is gone or going, or somebody removed the event: whoever did that does not miss it.
fn is_pointless(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    status.is_not_found() || status.is_forbidden() && causes.any(|cause| cause.reason == "NamespaceTerminating")
}
