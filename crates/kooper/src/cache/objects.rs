//! Objects by key, and by what an index finds in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::Resource;

use crate::key::Key;

/// A resourceVersion, or `None` if it is not a number: then whoever comes last is right.
pub(crate) type Version = Option<u64>;

pub(crate) fn version<K: Resource>(object: &K) -> Version {
    object.meta().resource_version.as_deref()?.parse().ok()
}

/// An object ready to be stored.
#[derive(Debug)]
pub(crate) struct Item<K> {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) version: Version,
    pub(crate) object: Arc<K>,
    /// The values of each index.
    terms: Vec<Vec<String>>,
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
pub(crate) struct Objects<K> {
    items: BTreeMap<Key, Item<K>>,
    /// For each index: the keys by value.
    indexes: Vec<BTreeMap<String, BTreeSet<Key>>>,
}

impl<K> Objects<K> {
    pub(crate) fn new(indexes: usize) -> Self {
        Self { items: BTreeMap::new(), indexes: vec![BTreeMap::new(); indexes] }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Item<K>> {
        self.items.get(key)
    }

    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        self.items.values().map(|item| Arc::clone(&item.object)).collect()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.items.keys().cloned().collect()
    }

    pub(crate) fn by_index(&self, index: usize, value: &str) -> Vec<Arc<K>> {
        let keys = self.indexes.get(index).and_then(|values| values.get(value));
        let items = keys.into_iter().flatten().filter_map(|key| self.items.get(key));
        items.map(|item| Arc::clone(&item.object)).collect()
    }

    /// Puts `item` where nothing is.
    pub(crate) fn insert(&mut self, item: Item<K>) {
        for (index, values) in self.indexes.iter_mut().zip(&item.terms) {
            for value in values {
                index.entry(value.clone()).or_default().insert(item.key.clone());
            }
        }
        self.items.insert(item.key.clone(), item);
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let item = self.items.remove(key)?;
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

    #[cfg(test)]
    pub(crate) fn nothing_is_left_behind(&self) -> bool {
        self.items.is_empty() && self.indexes.iter().all(BTreeMap::is_empty)
    }
}
