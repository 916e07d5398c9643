//! Objects known to be gone, until the watch knows it too.

use std::collections::BTreeMap;

/// How many deletions are remembered; the oldest are forgotten first. Far more than can be under way
/// at once: each is forgotten when its event arrives, normally within milliseconds.
const CAPACITY: usize = 4096;

/// A bounded memory of uids.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    by_uid: BTreeMap<String, u64>,
    by_age: BTreeMap<u64, String>,
    next: u64,
}

impl Tombstones {
    pub(crate) fn insert(&mut self, uid: &str) {
        if self.by_uid.contains_key(uid) {
            return;
        }
        self.by_uid.insert(uid.to_owned(), self.next);
        self.by_age.insert(self.next, uid.to_owned());
        self.next += 1;
        if self.by_age.len() > CAPACITY
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_uid.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    pub(crate) fn remove(&mut self, uid: &str) {
        if let Some(age) = self.by_uid.remove(uid) {
            self.by_age.remove(&age);
        }
    }

    /// A mark between those made so far and those to come.
    pub(crate) fn mark(&self) -> u64 {
        self.next
    }

    /// Forgets those made before `mark`.
    pub(crate) fn forget_before(&mut self, mark: u64) {
        let kept = self.by_age.split_off(&mark);
        for uid in std::mem::replace(&mut self.by_age, kept).values() {
            self.by_uid.remove(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let mut tombstones = Tombstones::default();
        for n in 0..=CAPACITY {
            tombstones.insert(&n.to_string());
        }
        assert!(!tombstones.contains("0"));
        assert!(tombstones.contains("1"));
        assert_eq!(tombstones.by_uid.len(), CAPACITY);
        assert_eq!(tombstones.by_age.len(), CAPACITY);
    }

    #[test]
    fn those_before_a_mark_are_forgotten() {
        let mut tombstones = Tombstones::default();
        tombstones.insert("before");
        let mark = tombstones.mark();
        tombstones.insert("after");
        tombstones.forget_before(mark);
        assert!(!tombstones.contains("before"));
        assert!(tombstones.contains("after"));
        tombstones.remove("after");
        assert!(!tombstones.contains("after"));
    }
}
