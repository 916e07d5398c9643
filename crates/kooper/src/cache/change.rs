//! What subscribers of a cache are told.

use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;

use crate::key::Key;

/// A change in a [`Cache`](crate::Cache). At least one of the two is there.
#[derive(Debug)]
pub struct Change<K> {
    /// The object before; `None` if it is new here.
    pub old: Option<Arc<K>>,
    /// The object now; `None` if it is gone from here.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The object now, or what it was before it went.
    pub fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// Both sides of the change that are there, the old one first: for mapping functions that must look
    /// at what an object has left as well as at what it has come to.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(&self.new)
    }
}

impl<K: Resource> Change<K> {
    /// The key of the object itself, as a mapping function for controllers keyed by it.
    pub fn keys(&self) -> Vec<Key> {
        self.latest().map(|object| Key::of(object.as_ref())).into_iter().collect()
    }

    /// The keys of the objects of the namespaced kind `O` that own this one as their controller, before or
    /// after the change: a mapping function for controllers of owners.
    pub fn owners<O: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.sides().filter_map(|side| owner::<K, O>(side)).collect();
        keys.dedup();
        keys
    }
}

fn owner<K: Resource, O: Resource<DynamicType = ()>>(object: &K) -> Option<Key> {
    let references = object.meta().owner_references.as_ref()?;
    let reference = references.iter().find(|reference| {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        reference.controller == Some(true) && reference.kind == O::kind(&()) && group == O::group(&())
    })?;
    Some(Key { namespace: object.meta().namespace.clone(), name: reference.name.clone() })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, from_value, json};

    use super::*;

    fn owned_by(kind: &str, api_version: &str, name: &str, controller: bool) -> Arc<Pod> {
        let owner =
            json!({"kind": kind, "apiVersion": api_version, "name": name, "uid": "u", "controller": controller});
        Arc::new(from_value(json!({"metadata": {"namespace": "ns", "ownerReferences": [owner]}})).unwrap())
    }

    #[test]
    fn the_owners_of_both_sides_are_found_once_each() {
        let set = |name| Some(owned_by("ReplicaSet", "apps/v1", name, true));
        let key = |name| Key::namespaced("ns", name);
        for (old, new, owners) in [
            (None, set("a"), vec![key("a")]),
            (set("a"), None, vec![key("a")]),
            (set("a"), set("a"), vec![key("a")]),
            (set("a"), set("b"), vec![key("a"), key("b")]),
        ] {
            assert_eq!(Change { old, new }.owners::<ReplicaSet>(), owners);
        }
    }

    #[test]
    fn other_owners_are_none() {
        for other in [
            owned_by("ReplicaSet", "apps/v1", "a", false),
            owned_by("ReplicaSet", "example.com/v1", "a", true),
            owned_by("Deployment", "apps/v1", "a", true),
            Arc::new(from_value::<Pod>(json!({"metadata": {}})).unwrap()),
        ] {
            assert_eq!(Change { old: None, new: Some(other) }.owners::<ReplicaSet>(), []);
        }
        // The version of a group may differ: it is the same kind.
        let beta = owned_by("Deployment", "apps/v1beta1", "a", true);
        assert_eq!(Change { old: None, new: Some(beta) }.owners::<Deployment>().len(), 1);
    }

    #[test]
    fn the_key_is_that_of_the_latest_side() {
        let pod = |name: &str| -> Option<Arc<Pod>> {
            let pod: Value = json!({"metadata": {"name": name}});
            Some(Arc::new(from_value(pod).unwrap()))
        };
        assert_eq!(Change { old: pod("a"), new: None }.keys(), [Key::cluster("a")]);
        assert_eq!(Change { old: None, new: pod("b") }.keys(), [Key::cluster("b")]);
    }
}
