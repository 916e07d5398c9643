//! Objects by key, and by what an index finds in them.

use std::collections::BTreeMap;
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
    pub(crate) key: Arc<Key>,
    pub(crate) uid: String,
    pub(crate) version: Version,
    pub(crate) object: Arc<K>,
    /// By which indexes it is found, and their values.
    terms: Box<[(usize, String)]>,
}

impl<K: Resource> Item<K> {
    /// `terms` are the values of each index.
    pub(crate) fn new(object: K, version: Version, terms: impl IntoIterator<Item = Vec<String>>) -> Self {
        let terms = terms.into_iter().enumerate();
        Self {
            key: Arc::new(Key::of(&object)),
            uid: object.meta().uid.clone().unwrap_or_default(),
            version,
            object: Arc::new(object),
            terms: terms.flat_map(|(index, values)| values.into_iter().map(move |value| (index, value))).collect(),
        }
    }
}

/// The objects for which an index gave one value.
type Found<K> = BTreeMap<Arc<Key>, Arc<K>>;

#[derive(Debug)]
pub(crate) struct Objects<K> {
    /// Keys are shared: an object stands in several indexes, and there may be many objects.
    items: BTreeMap<Arc<Key>, Item<K>>,
    /// For each index: the objects by value, so that what is found need not be looked up one by one.
    indexes: Vec<BTreeMap<String, Found<K>>>,
}

impl<K> Objects<K> {
    pub(crate) fn new(indexes: usize) -> Self {
        Self { items: BTreeMap::new(), indexes: (0..indexes).map(|_| BTreeMap::new()).collect() }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Item<K>> {
        self.items.get(key)
    }

    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        self.items.values().map(|item| Arc::clone(&item.object)).collect()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.items.keys().map(|key| key.as_ref().clone()).collect()
    }

    pub(crate) fn by_index(&self, index: usize, value: &str) -> Vec<Arc<K>> {
        let found = self.indexes.get(index).and_then(|values| values.get(value));
        found.into_iter().flat_map(BTreeMap::values).map(Arc::clone).collect()
    }

    /// Puts `item` where nothing is.
    pub(crate) fn insert(&mut self, item: Item<K>) {
        for (index, value) in &item.terms {
            let found = self.indexes[*index].entry(value.clone()).or_default();
            found.insert(Arc::clone(&item.key), Arc::clone(&item.object));
        }
        self.items.insert(Arc::clone(&item.key), item);
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let item = self.items.remove(key)?;
        for (index, value) in &item.terms {
            let index = &mut self.indexes[*index];
            if let Some(found) = index.get_mut(value) {
                found.remove(key);
                if found.is_empty() {
                    index.remove(value);
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
