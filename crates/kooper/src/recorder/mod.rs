//! Kubernetes events: what happened to an object, told to its users.

mod ledger;
mod send;

use std::fmt;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::controller::{Controller, ControllerBuilder, Inbox};
use crate::recorder::ledger::{Ledger, SeriesKey};
use crate::recorder::send::Sender;
use crate::sync::lock;

/// Publishes Kubernetes events. Clones are the same recorder.
///
/// [`publish`](Self::publish) never waits: it notes the event down, and the recorder's
/// [`controller`](Self::controller) sends it. Of events that say the same about the same object only
/// the first is written at once; repetitions within six minutes are counted in it. Each object has a
/// budget of 25 different events, and one more every five minutes. What exceeds that, or the room for
/// 4,096 notes, or is refused five times, is dropped and counted.
///
/// `kubectl describe` shows them. Needs the rights to `create` and `patch` `events.events.k8s.io` in the
/// namespaces of the objects, and in `default` for those of cluster-scoped objects.
#[derive(Clone)]
pub struct Recorder {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    client: Client,
    reporter: Reporter,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
    inbox: Arc<Inbox<SeriesKey>>,
}

/// Who publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The controller, as a qualified name such as `example.com/echo`. Shown as `From`.
    pub controller: String,
    /// Which process of it, mostly the name of its pod. At most 128 characters.
    pub instance: String,
}

/// Whether users should worry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// No.
    Normal,
    /// It might be worth a look.
    Warning,
}

impl EventType {
    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What happened. Texts that are longer than the API allows are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether users should worry.
    pub type_: EventType,
    /// Why, in one `CamelCase` word of at most 128 characters. Not empty.
    pub reason: String,
    /// What was done or tried, in one `CamelCase` word of at most 128 characters. Not empty.
    pub action: String,
    /// The story, in a sentence of at most 1,024 bytes. Equal notes are counted as one event, so
    /// leave out what changes every time.
    pub note: String,
}

impl Recorder {
    /// A recorder that publishes as `reporter`.
    pub fn new(client: Client, reporter: Reporter, clock: Arc<dyn Clock>) -> Self {
        let shared =
            Shared { client, reporter, clock, ledger: Mutex::new(Ledger::default()), inbox: Arc::new(Inbox::new()) };
        Self { shared: Some(Arc::new(shared)) }
    }

    /// A recorder that discards everything.
    pub fn disabled() -> Self {
        Self { shared: None }
    }

    /// Publishes `event` about the object that `regarding` refers to, which
    /// [`Resource::object_ref`](kube::Resource::object_ref) makes.
    pub fn publish(&self, regarding: &ObjectReference, event: Event) {
        let Some(shared) = &self.shared else { return };
        let noted = lock(&shared.ledger).note(regarding, event, shared.clock.now(), Instant::now());
        if let Some(key) = noted {
            shared.inbox.add([key]);
        }
    }

    /// How many events were dropped.
    pub fn dropped(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| lock(&shared.ledger).dropped())
    }

    /// What sends the events. An [`Operator`](crate::Operator) runs it; whoever runs it himself does so
    /// once, and stops it last.
    pub fn controller(&self) -> Option<Box<dyn Controller>> {
        let shared = self.shared.as_ref()?;
        let sender = Sender { shared: Arc::clone(shared) };
        let builder = ControllerBuilder::with_inbox("events", sender, Arc::clone(&shared.inbox));
        Some(builder.build())
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("reporter", &self.shared.as_ref().map(|shared| &shared.reporter))
            .finish_non_exhaustive()
    }
}
