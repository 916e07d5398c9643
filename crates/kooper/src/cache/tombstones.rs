//! Objects known to be gone, until the watch knows it too.

use std::collections::BTreeMap;

use crate::cache::objects::Version;
use crate::key::Key;

/// How many deletions are remembered; the oldest are forgotten first. Far more than can be under way
/// at once: each is forgotten when its event arrives, normally within milliseconds.
const CAPACITY: usize = 4096;

/// A bounded memory of deletions.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    by_object: BTreeMap<Object, Tombstone>,
    by_age: BTreeMap<u64, Object>,
    next: u64,
}

/// Name and uid.
type Object = (Key, String);

#[derive(Debug)]
struct Tombstone {
    age: u64,
    /// The newest version that was known of it.
    last: Version,
}

impl Tombstones {
    pub(crate) fn insert(&mut self, key: &Key, uid: &str, last: Version) {
        let object = (key.clone(), uid.to_owned());
        if self.by_object.contains_key(&object) {
            return;
        }
        self.by_object.insert(object.clone(), Tombstone { age: self.next, last });
        self.by_age.insert(self.next, object);
        self.next += 1;
        if self.by_age.len() > CAPACITY
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_object.remove(&oldest);
        }
    }

    /// Whether an object is gone, or older than one of the same name that is.
    pub(crate) fn covers(&self, key: &Key, uid: &str, version: Version) -> bool {
        let same_key = self.by_object.range((key.clone(), String::new())..).take_while(|((other, _), _)| other == key);
        same_key.into_iter().any(|((_, gone), tombstone)| gone == uid || version.is_some() && version <= tombstone.last)
    }

    pub(crate) fn remove(&mut self, key: &Key, uid: &str) {
        if let Some(tombstone) = self.by_object.remove(&(key.clone(), uid.to_owned())) {
            self.by_age.remove(&tombstone.age);
        }
    }

    /// A mark between those made so far and those to come.
    pub(crate) fn mark(&self) -> u64 {
        self.next
    }

    /// Forgets those made before `mark`.
    pub(crate) fn forget_before(&mut self, mark: u64) {
        let kept = self.by_age.split_off(&mark);
        for object in std::mem::replace(&mut self.by_age, kept).values() {
            self.by_object.remove(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::namespaced("ns", "a")
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let mut tombstones = Tombstones::default();
        for n in 0..=CAPACITY {
            tombstones.insert(&key(), &n.to_string(), None);
        }
        assert!(!tombstones.covers(&key(), "0", None));
        assert!(tombstones.covers(&key(), "1", None));
        assert_eq!(tombstones.by_object.len(), CAPACITY);
        assert_eq!(tombstones.by_age.len(), CAPACITY);
    }

    #[test]
    fn those_before_a_mark_are_forgotten() {
        let mut tombstones = Tombstones::default();
        tombstones.insert(&key(), "before", None);
        let mark = tombstones.mark();
        tombstones.insert(&key(), "after", None);
        tombstones.forget_before(mark);
        assert!(!tombstones.covers(&key(), "before", None));
        assert!(tombstones.covers(&key(), "after", None));
        tombstones.remove(&key(), "after");
        assert!(!tombstones.covers(&key(), "after", None));
    }

    #[test]
    fn predecessors_are_covered_and_successors_are_not() {
        let mut tombstones = Tombstones::default();
        tombstones.insert(&key(), "gone", Some(5));
        for (uid, version, covered) in [("gone", 9, true), ("older", 5, true), ("newer", 6, false)] {
            assert_eq!(tombstones.covers(&key(), uid, Some(version)), covered, "{uid}");
        }
        assert!(!tombstones.covers(&Key::namespaced("ns", "b"), "gone", Some(1)));
    }
}
