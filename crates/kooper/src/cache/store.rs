//! The objects of a cache, and how events and our own writes change them. Pure.
//!
//! Two sources tell of the same objects: the watch, in order but late, and the answers to our own
//! writes, early but in any order. resourceVersions decide between them: they are integers that grow
//! over all objects of a kind (Kubernetes enhancement proposal 5504), and the watch shows every change
//! of the kind in their order. So a write whose version the watch has passed already tells nothing new,
//! and if its object is not here, it has been deleted since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::Resource;

use crate::cache::Change;
use crate::cache::objects::{Item, Objects, Version};
use crate::cache::tombstones::Tombstones;
use crate::key::Key;

/// What the rules of a cache make of an object.
#[derive(Debug)]
pub(crate) enum Seen<K> {
    Kept(Item<K>),
    /// It is there, but not wanted.
    Unkept(Version),
    /// It is there, but nobody knows what it says.
    Unreadable {
        uid: String,
        error: String,
    },
}

#[derive(Debug)]
pub(crate) struct Store<K> {
    objects: Objects<K>,
    /// The newest version known, from wherever.
    newest: Version,
    /// The watch, or a list, has shown everything up to here.
    passed: Version,
    tombstones: Tombstones,
    unreadable: BTreeSet<Key>,
    /// There from the beginning of a list to its end, and before the first one.
    listing: Option<Listing<K>>,
    /// No event has come since the last list, whose own version is not told.
    fresh: bool,
    /// Written before or after the last list, which lacks them, and nobody can tell which: so they are
    /// new, or deleted. They stay if the watch shows them before anything newer.
    unconfirmed: BTreeMap<Key, u64>,
}

#[derive(Debug)]
struct Listing<K> {
    items: BTreeMap<Key, Item<K>>,
    unreadable: BTreeMap<Key, String>,
    /// The list is not older than this: the newest version listed, or known when it began.
    newest: Version,
    /// Written by us since it began.
    written: BTreeSet<Key>,
    /// Tombstones from before it began.
    mark: u64,
}

impl<K> Listing<K> {
    fn new(mark: u64, newest: Version) -> Self {
        Self { items: BTreeMap::new(), unreadable: BTreeMap::new(), newest, written: BTreeSet::new(), mark }
    }
}

impl<K: Resource + 'static> Store<K> {
    pub(crate) fn new(indexes: usize) -> Self {
        Self {
            objects: Objects::new(indexes),
            newest: None,
            passed: None,
            tombstones: Tombstones::default(),
            unreadable: BTreeSet::new(),
            listing: Some(Listing::new(0, None)),
            fresh: true,
            unconfirmed: BTreeMap::new(),
        }
    }

    pub(crate) fn objects(&self) -> &Objects<K> {
        &self.objects
    }

    pub(crate) fn unreadable(&self) -> Vec<Key> {
        self.unreadable.iter().cloned().collect()
    }

    pub(crate) fn is_unreadable(&self, key: &Key) -> bool {
        self.unreadable.contains(key)
    }

    /// A list begins; nothing changes until it ends.
    pub(crate) fn list_begins(&mut self) {
        self.listing = Some(Listing::new(self.tombstones.mark(), self.newest));
    }

    /// An object of the list.
    pub(crate) fn listed(&mut self, key: Key, seen: Seen<K>) {
        let Some(listing) = &mut self.listing else { return };
        match seen {
            Seen::Kept(item) => {
                listing.newest = listing.newest.max(item.version);
                listing.items.insert(key, item);
            }
            Seen::Unkept(version) => listing.newest = listing.newest.max(version),
            Seen::Unreadable { uid, .. } => {
                listing.unreadable.insert(key, uid);
            }
        }
    }

    /// The list is complete: it replaces everything but what is newer.
    pub(crate) fn list_ends(&mut self) -> Vec<Change<K>> {
        let Some(listing) = self.listing.take() else { return Vec::new() };
        let mut changes = Vec::new();
        self.passed = self.passed.max(listing.newest);
        self.fresh = true;
        self.unconfirmed.clear();
        for key in self.objects.keys() {
            if !listing.items.contains_key(&key) && !self.outlives(&key, &listing) {
                changes.extend(self.take_out(&key));
            }
        }
        for item in listing.items.into_values() {
            changes.extend(self.put_if_newer(item));
        }
        self.tombstones.forget_before(listing.mark);
        self.unreadable = listing.unreadable.into_keys().collect();
        changes
    }

    /// Whether the object of `key` stays though the list has no readable one.
    fn outlives(&mut self, key: &Key, listing: &Listing<K>) -> bool {
        let Some(item) = self.objects.get(key) else { return false };
        if let Some(uid) = listing.unreadable.get(key) {
            return uid == item.uid();
        }
        let newer = item.version > listing.newest && listing.written.contains(key);
        if let (true, Some(version)) = (newer, item.version) {
            self.unconfirmed.insert(key.clone(), version);
        }
        newer
    }

    /// The watch shows an object that is new or has changed.
    pub(crate) fn applied(&mut self, key: &Key, seen: Seen<K>) -> Vec<Change<K>> {
        self.unreadable.remove(key);
        self.unconfirmed.remove(key);
        let (mut changes, change) = match seen {
            Seen::Kept(item) => (self.pass(item.version), self.put_if_newer(item)),
            Seen::Unkept(version) => (self.pass(version), self.take_out_if_older(key, version)),
            Seen::Unreadable { uid, .. } => {
                self.unreadable.insert(key.clone());
                let replaced = self.objects.get(key).is_some_and(|item| item.uid() != uid);
                (Vec::new(), if replaced { self.take_out(key) } else { None })
            }
        };
        changes.extend(change);
        changes
    }

    /// The watch shows a deletion.
    pub(crate) fn removed(&mut self, key: &Key, uid: &str, version: Version) -> Vec<Change<K>> {
        self.tombstones.remove(key, uid);
        self.unreadable.remove(key);
        let mut changes = self.pass(version);
        // One of another uid is its successor, of which we know by a write, unless it is older.
        let gone = self.objects.get(key).is_some_and(|item| item.uid() == uid || !newer(item.version, version));
        if gone {
            changes.extend(self.take_out(key));
        }
        changes
    }

    /// We wrote an object, and this is the answer.
    pub(crate) fn wrote(&mut self, key: &Key, seen: Seen<K>) -> Vec<Change<K>> {
        let change = match seen {
            Seen::Kept(item) if newer(item.version, self.passed) => self.put_written(item),
            Seen::Unkept(version) => self.take_out_if_older(key, version),
            // The watch will tell, if there is anything to tell.
            Seen::Kept(_) | Seen::Unreadable { .. } => None,
        };
        change.into_iter().collect()
    }

    fn put_written(&mut self, item: Item<K>) -> Option<Change<K>> {
        let (key, version) = (item.key(), item.version);
        let unsure = self.unconfirmed.contains_key(&key) || self.fresh && self.objects.get(&key).is_none();
        let change = self.put_if_newer(item)?;
        if let Some(listing) = &mut self.listing {
            listing.written.insert(key);
        } else if let (true, Some(version)) = (unsure, version) {
            self.unconfirmed.insert(key, version);
        }
        Some(change)
    }

    /// We deleted an object, and it is gone.
    pub(crate) fn deleted(&mut self, key: &Key, uid: &str) -> Vec<Change<K>> {
        let known = self.objects.get(key).filter(|item| item.uid() == uid).map(|item| item.version);
        self.tombstones.insert(key, uid, known.flatten());
        let change = if known.is_some() { self.take_out(key) } else { None };
        change.into_iter().collect()
    }

    /// The watch has come to `version`: what it should have shown before, but has not, is not there.
    fn pass(&mut self, version: Version) -> Vec<Change<K>> {
        self.passed = self.passed.max(version);
        self.fresh = false;
        let Some(version) = version else { return Vec::new() };
        let missed: Vec<Key> =
            self.unconfirmed.iter().filter(|(_, written)| **written < version).map(|(key, _)| key.clone()).collect();
        missed.iter().filter_map(|key| self.take_out(key)).collect()
    }

    fn put_if_newer(&mut self, item: Item<K>) -> Option<Change<K>> {
        let key = item.key();
        if self.tombstones.covers(&key, item.uid(), item.version) {
            return None;
        }
        let known = self.objects.get(&key);
        if known.is_some_and(|known| !newer(item.version, known.version)) {
            return None;
        }
        self.newest = self.newest.max(item.version);
        let new = Arc::clone(&item.object);
        let old = self.objects.remove(&key);
        self.objects.insert(item);
        Some(Change { old, new: Some(new) })
    }

    fn take_out_if_older(&mut self, key: &Key, version: Version) -> Option<Change<K>> {
        let older = self.objects.get(key).is_some_and(|item| newer(version, item.version));
        if older { self.take_out(key) } else { None }
    }

    fn take_out(&mut self, key: &Key) -> Option<Change<K>> {
        self.unconfirmed.remove(key);
        let old = self.objects.remove(key)?;
        Some(Change { old: Some(old), new: None })
    }
}

/// Whether `a` is newer than `b`; without numbers, the later report counts as newer.
fn newer(a: Version, b: Version) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a > b,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
