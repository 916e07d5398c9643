//! Following collections.
//!
//! A watch is a place in a kind's log. It takes what was written since whenever it likes: however slow it is, it holds
//! up nobody, and nothing gets lost between opening it and reading from it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::list::{ListOptions, invalid_options, parse_version};
use super::{Resource, Store};
use crate::history::Write;
use crate::kind::Kind;
use crate::object::Object;
use crate::refusal::{FieldError, Refusal, expired, internal, version_too_large};
use crate::selector::Selector;

/// What a watch tells.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) event_type: EventType,
    pub(crate) object: Arc<Object>,
    /// When it came about; None for what was there when the watch began.
    pub(crate) time: Option<Timestamp>,
}

/// The kinds of events about objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    Added,
    Modified,
    Deleted,
}

/// A watch: whose events, and from where on.
#[derive(Debug)]
pub(crate) struct Watch {
    resource: Resource,
    kind: Arc<Kind>,
    namespace: Option<String>,
    selector: Selector,
    /// The latest version whose write this watch has seen.
    revision: u64,
}

/// How a watch begins.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) watch: Watch,
    /// What is there already, if the watch asked for it.
    pub(crate) initial: Vec<Event>,
    /// Whether a bookmark tells where the initial events end.
    pub(crate) marks_end_of_initial: bool,
}

impl Store {
    /// Opens a watch; without a namespace, on all namespaces.
    ///
    /// # Errors
    /// 400 for bad selectors, 410 for versions forgotten (to be sent as an event), 422 for options that don't go
    /// together, 500 for what is no version (a list answers 400), 504 for versions to come.
    pub(crate) fn watch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Opened, Refusal> {
        check_options(options)?;
        let collection = self.collection(resource)?;
        let selector = Selector::parse(&collection.kind, &options.label_selector, &options.field_selector)?;
        let version = parse_version(&options.resource_version).map_err(|refusal| internal(refusal.message))?;
        let version = version.filter(|version| *version > 0);
        let wants_initial = options.send_initial_events.unwrap_or(version.is_none());
        if wants_initial && let Some(version) = version.filter(|version| *version > self.revision) {
            return Err(version_too_large(version, self.revision));
        }
        let revision = match version {
            Some(version) if !wants_initial => version,
            _ => self.revision,
        };
        if revision < collection.forgotten {
            return Err(too_old(revision, collection.forgotten));
        }
        let kind = collection.kind.clone();
        let watch =
            Watch { resource: resource.clone(), kind, namespace: namespace.map(str::to_owned), selector, revision };
        let initial = collection
            .objects
            .values()
            .filter(|object| wants_initial && watch.is_about(&object.value()["metadata"]["namespace"]))
            .filter(|object| watch.selector.matches(object.value()))
            .map(|object| Event { event_type: EventType::Added, object: object.clone(), time: None })
            .collect();
        let marks_end_of_initial = options.send_initial_events == Some(true) && options.allow_watch_bookmarks;
        Ok(Opened { watch, initial, marks_end_of_initial })
    }

    /// Whether anything was written to the watched kind since the watch last asked.
    pub(crate) fn has_events(&self, watch: &Watch) -> bool {
        let Some(collection) = self.collections.get(&watch.resource) else { return false };
        let latest = collection.log.back().map_or(collection.lost, |write| write.revision);
        latest > watch.revision
    }

    /// What was written since the watch last asked.
    ///
    /// # Errors
    /// 410, if it asks so late that some of it is forgotten.
    pub(crate) fn events(&self, watch: &mut Watch) -> Result<Vec<Event>, Refusal> {
        let collection = self.collection(&watch.resource)?;
        if watch.revision < collection.lost {
            return Err(too_old(watch.revision, collection.forgotten));
        }
        let first = collection.log.partition_point(|write| write.revision <= watch.revision);
        let events = collection.log.range(first..).filter_map(|write| watch.event(write)).collect();
        watch.revision = watch.revision.max(self.revision);
        Ok(events)
    }
}

impl Watch {
    /// The resource that is watched.
    pub(crate) fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The object of a bookmark: nothing but the version reached.
    pub(crate) fn bookmark(&self, ends_initial: bool) -> Value {
        let mut object = json!({
            "kind": self.kind.api.kind,
            "apiVersion": self.kind.api.api_version,
            "metadata": {"resourceVersion": self.revision.to_string()},
        });
        if ends_initial {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        object
    }

    fn is_about(&self, namespace: &Value) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| namespace == wanted)
    }

    /// How a write looks from here: an object that starts or ceases to match comes or goes, whatever was done to it.
    fn event(&self, write: &Write) -> Option<Event> {
        if self.namespace.is_some() && self.namespace != write.namespace {
            return None;
        }
        let shows = |object: &Option<Arc<Object>>| {
            object.as_ref().filter(|object| self.selector.matches(object.value())).cloned()
        };
        let (event_type, object) = match (shows(&write.before), shows(&write.after)) {
            (None, None) => return None,
            (None, Some(after)) => (EventType::Added, after),
            (Some(_), Some(after)) => (EventType::Modified, after),
            (Some(_), None) => (EventType::Deleted, write.farewell()?),
        };
        Some(Event { event_type, object, time: Some(write.time) })
    }
}

/// The rules of `k8s.io/apimachinery/pkg/apis/meta/internalversion/validation` for watches.
fn check_options(options: &ListOptions) -> Result<(), Refusal> {
    let forbidden = |why: &str| Err(invalid_options(FieldError::forbidden("resourceVersionMatch", why)));
    match (options.send_initial_events, options.resource_version_match.as_str()) {
        (None, "") | (Some(_), "NotOlderThan") => Ok(()),
        (Some(_), _) => forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        (None, _) => forbidden("forbidden for watch unless sendInitialEvents is provided"),
    }
}

fn too_old(wanted: u64, oldest: u64) -> Refusal {
    expired(format!("too old resource version: {wanted} ({oldest})"))
}
