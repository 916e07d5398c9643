//! What was written, by whom, in order.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use crate::kind::Kind;
use crate::object::Object;
use crate::request::Verb;

/// One accepted write. A cluster's writes in the order of their revisions are its whole history: what an oracle needs
/// to judge a run by.
#[derive(Debug)]
pub struct Write {
    /// The resourceVersion it made. No two writes share one, across all kinds.
    pub revision: u64,
    /// When the API server applied it.
    pub time: Timestamp,
    /// Whose client sent it.
    pub actor: Arc<str>,
    /// How: an update or a patch may also remove an object, if it takes its last finalizer away.
    pub verb: Verb,
    /// Through which subresource, such as `status`.
    pub subresource: Option<String>,
    /// The kind written to.
    pub kind: Arc<Kind>,
    /// The object's namespace, if its kind has namespaces.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// The object before; None where this write made it.
    pub before: Option<Arc<Object>>,
    /// The object after; None where this write removed it.
    pub after: Option<Arc<Object>>,
    pub(crate) farewell: OnceLock<Arc<Object>>,
}

impl Write {
    /// Whether it is about objects of this kind, by the plural and the group as in `pods` or `shops.example.com`.
    pub fn is_of(&self, resource: &str) -> bool {
        match resource.split_once('.') {
            Some((plural, group)) => self.kind.api.plural == plural && self.kind.api.group == group,
            None => self.kind.api.plural == resource && self.kind.api.group.is_empty(),
        }
    }

    /// The uid of the object written to.
    pub fn uid(&self) -> &str {
        self.after.as_ref().or(self.before.as_ref()).map_or("", |object| object.uid())
    }

    /// The last state of an object that goes, at this write's revision: what a watch shows with DELETED.
    pub(crate) fn farewell(&self) -> Option<Arc<Object>> {
        let before = self.before.as_ref()?;
        Some(self.farewell.get_or_init(|| Object::stored(before.value().clone(), self.revision)).clone())
    }
}
