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
use crate::cache::tombstones::Tombstones;
use crate::key::Key;

/// A resourceVersion, or `None` if it is not a number: then whoever comes last is right.
pub(crate) type Version = Option<u64>;

pub(crate) fn version<K: Resource>(object: &K) -> Version {
    object.meta().resource_version.as_deref()?.parse().ok()
}

/// An object ready to be stored.
#[derive(Debug)]
pub(crate) struct Item<K> {
    key: Key,
    uid: String,
    version: Version,
    object: Arc<K>,
    /// The values of each index.
    terms: Vec<Vec<String>>,
}

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

impl<K: Resource> Item<K> {
    pub(crate) fn new(object: K, version: Version, terms: Vec<Vec<String>>) -> Self {
        Self {
            key: Key::of(&object),
            uid: object.meta().uid.clone().unwrap_or_default(),
            version,
            object: Arc::new(object),
            terms,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Store<K> {
    objects: BTreeMap<Key, Item<K>>,
    /// For each index: the keys by value.
    indexes: Vec<BTreeMap<String, BTreeSet<Key>>>,
    /// The newest version that the watch has shown.
    passed: Version,
    tombstones: Tombstones,
    unreadable: BTreeSet<Key>,
    /// There from the beginning of a list to its end, and before the first one.
    listing: Option<Listing<K>>,
    /// Written while a list was made that lacks them. They stay if the watch shows them before
    /// anything newer.
    unconfirmed: BTreeMap<Key, u64>,
}

#[derive(Debug)]
struct Listing<K> {
    items: BTreeMap<Key, Item<K>>,
    unreadable: BTreeMap<Key, String>,
    newest: Version,
    /// Written by us since it began.
    written: BTreeSet<Key>,
    /// Tombstones from before it began.
    mark: u64,
}

impl<K> Listing<K> {
    fn new(mark: u64) -> Self {
        Self { items: BTreeMap::new(), unreadable: BTreeMap::new(), newest: None, written: BTreeSet::new(), mark }
    }
}

impl<K> Store<K> {
    pub(crate) fn new(indexes: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            indexes: vec![BTreeMap::new(); indexes],
            passed: None,
            tombstones: Tombstones::default(),
            unreadable: BTreeSet::new(),
            listing: Some(Listing::new(0)),
            unconfirmed: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.objects.get(key).map(|item| Arc::clone(&item.object))
    }

    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        self.objects.values().map(|item| Arc::clone(&item.object)).collect()
    }

    pub(crate) fn by_index(&self, index: usize, value: &str) -> Vec<Arc<K>> {
        let keys = self.indexes.get(index).and_then(|values| values.get(value));
        keys.into_iter().flatten().filter_map(|key| self.get(key)).collect()
    }

    pub(crate) fn unreadable(&self) -> Vec<Key> {
        self.unreadable.iter().cloned().collect()
    }

    pub(crate) fn is_unreadable(&self, key: &Key) -> bool {
        self.unreadable.contains(key)
    }

    /// A list begins; nothing changes until it ends.
    pub(crate) fn list_begins(&mut self) {
        self.listing = Some(Listing::new(self.tombstones.mark()));
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
        for key in self.objects.keys().cloned().collect::<Vec<_>>() {
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
            return *uid == item.uid;
        }
        // Newer than all that was listed: then nobody can tell yet whether the list was made before
        // the write, or after a deletion that followed it.
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
                let replaced = self.objects.get(key).is_some_and(|item| item.uid != uid);
                (Vec::new(), if replaced { self.take_out(key) } else { None })
            }
        };
        changes.extend(change);
        changes
    }

    /// The watch shows a deletion.
    pub(crate) fn removed(&mut self, key: &Key, uid: &str, version: Version) -> Vec<Change<K>> {
        self.tombstones.remove(uid);
        self.unreadable.remove(key);
        let mut changes = self.pass(version);
        // One of another uid is its successor, of which we know by a write, unless it is older.
        let gone = self.objects.get(key).is_some_and(|item| item.uid == uid || !newer(item.version, version));
        if gone {
            changes.extend(self.take_out(key));
        }
        changes
    }

    /// We wrote an object, and this is the answer.
    pub(crate) fn wrote(&mut self, key: &Key, seen: Seen<K>) -> Vec<Change<K>> {
        let change = match seen {
            Seen::Kept(item) if newer(item.version, self.passed) => {
                if let Some(listing) = &mut self.listing {
                    listing.written.insert(key.clone());
                }
                if let (Some(unconfirmed), Some(version)) = (self.unconfirmed.get_mut(key), item.version) {
                    *unconfirmed = version;
                }
                self.put_if_newer(item)
            }
            Seen::Unkept(version) => self.take_out_if_older(key, version),
            // The watch will tell, if there is anything to tell.
            Seen::Kept(_) | Seen::Unreadable { .. } => None,
        };
        change.into_iter().collect()
    }

    /// We deleted an object, and it is gone.
    pub(crate) fn deleted(&mut self, key: &Key, uid: &str) -> Vec<Change<K>> {
        self.tombstones.insert(uid);
        let present = self.objects.get(key).is_some_and(|item| item.uid == uid);
        let change = if present { self.take_out(key) } else { None };
        change.into_iter().collect()
    }

    /// The watch has come to `version`: what it should have shown before, but has not, is not there.
    fn pass(&mut self, version: Version) -> Vec<Change<K>> {
        self.passed = self.passed.max(version);
        let Some(version) = version else { return Vec::new() };
        let missed: Vec<Key> =
            self.unconfirmed.iter().filter(|(_, written)| **written < version).map(|(key, _)| key.clone()).collect();
        missed.iter().filter_map(|key| self.take_out(key)).collect()
    }

    fn put_if_newer(&mut self, item: Item<K>) -> Option<Change<K>> {
        if self.tombstones.contains(&item.uid) {
            return None;
        }
        let known = self.objects.get(&item.key);
        if known.is_some_and(|known| !newer(item.version, known.version)) {
            return None;
        }
        let new = Arc::clone(&item.object);
        let old = self.remove(&item.key);
        self.insert(item);
        Some(Change { old, new: Some(new) })
    }

    fn take_out_if_older(&mut self, key: &Key, version: Version) -> Option<Change<K>> {
        let older = self.objects.get(key).is_some_and(|item| newer(version, item.version));
        if older { self.take_out(key) } else { None }
    }

    fn take_out(&mut self, key: &Key) -> Option<Change<K>> {
        self.unconfirmed.remove(key);
        let old = self.remove(key)?;
        Some(Change { old: Some(old), new: None })
    }

    fn insert(&mut self, item: Item<K>) {
        for (index, values) in self.indexes.iter_mut().zip(&item.terms) {
            for value in values {
                index.entry(value.clone()).or_default().insert(item.key.clone());
            }
        }
        self.objects.insert(item.key.clone(), item);
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let item = self.objects.remove(key)?;
        for (index, values) in self.indexes.iter_mut().zip(&item.terms) {
            for value in values {
                if let Some(keys) = index.get_mut(value) {
                    keys.remove(key);
                    if keys.is_empty() {
                        index.remove(value);
                    }
                }
            }
        }
        Some(item.object)
    }
}

/// Whether `a` is newer than `b`; without numbers, the later report counts as newer.
fn newer(a: Version, b: Version) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a > b,
        _ => true,
    }
}
