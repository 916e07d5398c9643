//! Objects by key, and by what an index finds in them.

use std::borrow::Borrow;
use std::cmp::Ordering;
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
    pub(crate) version: Version,
    pub(crate) object: Arc<K>,
    /// By which indexes it is found, and their values.
    terms: Box<[(usize, Arc<str>)]>,
}

impl<K: Resource> Item<K> {
    /// `terms` are the values of each index.
    pub(crate) fn new(object: K, version: Version, terms: impl IntoIterator<Item = Vec<String>>) -> Self {
        let terms = terms.into_iter().enumerate();
        Self {
            version,
            object: Arc::new(object),
            terms: terms
                .flat_map(|(index, values)| values.into_iter().map(move |value| (index, value.into())))
                .collect(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::of(self.object.as_ref())
    }

    pub(crate) fn uid(&self) -> &str {
        self.object.meta().uid.as_deref().unwrap_or_default()
    }
}

/// An object, sorted by its key and found by it. There may be many objects, so that keys are not kept beside them.
#[derive(Debug)]
struct ByKey<K>(Arc<K>);

/// What has the parts of a key.
trait Keyed {
    /// Namespace and name.
    fn parts(&self) -> (Option<&str>, &str);
}

impl Keyed for Key {
    fn parts(&self) -> (Option<&str>, &str) {
        (self.namespace.as_deref(), &self.name)
    }
}

impl<K: Resource> Keyed for ByKey<K> {
    fn parts(&self) -> (Option<&str>, &str) {
        let meta = self.0.meta();
        (meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
    }
}

impl PartialEq for dyn Keyed {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Keyed {}

impl PartialOrd for dyn Keyed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Keyed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl<K: Resource> PartialEq for ByKey<K> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl<K: Resource> Eq for ByKey<K> {}

impl<K: Resource> PartialOrd for ByKey<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Resource> Ord for ByKey<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl<K: Resource + 'static> Borrow<dyn Keyed> for ByKey<K> {
    fn borrow(&self) -> &(dyn Keyed + 'static) {
        self
    }
}

/// The objects for which an index gave one value.
type Found<K> = BTreeSet<ByKey<K>>;

#[derive(Debug)]
pub(crate) struct Objects<K> {
    items: BTreeMap<ByKey<K>, Item<K>>,
    /// For each index: the objects by value, so that what is found need not be looked up one by one. Values are shared with
    /// the items.
    indexes: Vec<BTreeMap<Arc<str>, Found<K>>>,
}

impl<K: Resource + 'static> Objects<K> {
    pub(crate) fn new(indexes: usize) -> Self {
        Self { items: BTreeMap::new(), indexes: (0..indexes).map(|_| BTreeMap::new()).collect() }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Item<K>> {
        self.items.get(key as &dyn Keyed)
    }

    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        self.items.values().map(|item| Arc::clone(&item.object)).collect()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.items.values().map(Item::key).collect()
    }

    pub(crate) fn by_index(&self, index: usize, value: &str) -> Vec<Arc<K>> {
        let found = self.indexes.get(index).and_then(|values| values.get(value));
        found.into_iter().flatten().map(|ByKey(object)| Arc::clone(object)).collect()
    }

    /// Puts `item` where nothing is.
    pub(crate) fn insert(&mut self, mut item: Item<K>) {
        for (index, value) in &mut item.terms {
            let index = &mut self.indexes[*index];
            if let Some((same, _)) = index.get_key_value(value) {
                *value = Arc::clone(same);
            }
            index.entry(Arc::clone(value)).or_default().insert(ByKey(Arc::clone(&item.object)));
        }
        self.items.insert(ByKey(Arc::clone(&item.object)), item);
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let key: &dyn Keyed = key;
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
