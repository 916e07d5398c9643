//! What of the objects a cache keeps, and how they are found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kube::Resource;

use crate::cache::decode::Decoded;
use crate::cache::objects::{Item, version};
use crate::cache::store::Seen;
use crate::report::panic_message;
use crate::retriever::Object;

/// What of the objects is kept, and what they are found by.
pub(crate) struct Rules<K> {
    pub(crate) keep: Box<dyn Fn(&K) -> bool + Send + Sync>,
    pub(crate) map: Box<dyn Fn(K) -> K + Send + Sync>,
    pub(crate) indexes: Vec<(&'static str, IndexFn<K>)>,
}

pub(crate) type IndexFn<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

impl<K> Default for Rules<K> {
    fn default() -> Self {
        Self { keep: Box::new(|_| true), map: Box::new(|object| object), indexes: Vec::new() }
    }
}

impl<K: Object> Rules<K> {
    /// What becomes of an object. One on which a rule panics is as unreadable as one that can't be decoded.
    pub(crate) fn see(&self, object: Decoded<K>) -> Seen<K> {
        let uid = object.meta().uid.clone().unwrap_or_default();
        let object = match object {
            Decoded::Object(object) => object,
            Decoded::Unreadable { error, .. } => return Seen::Unreadable { uid, error },
        };
        catch_unwind(AssertUnwindSafe(|| self.judge(object))).unwrap_or_else(|panic| Seen::Unreadable {
            uid,
            error: format!("a rule of the cache panicked: {}", panic_message(panic.as_ref())),
        })
    }

    fn judge(&self, mut object: K) -> Seen<K> {
        let version = version(&object);
        if !(self.keep)(&object) {
            return Seen::Unkept(version);
        }
        object.meta_mut().managed_fields = None;
        let object = (self.map)(object);
        let terms: Vec<_> = self.indexes.iter().map(|(_, index)| index(&object)).collect();
        Seen::Kept(Item::new(object, version, terms))
    }
}
