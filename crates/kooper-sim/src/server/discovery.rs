//! What a cluster says about itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kind::{Kind, Rules};
use crate::store::Store;

/// The answer at an address that is about no resource; None where there is nothing.
pub(super) fn answer(store: &Store, path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match *parts {
        ["version"] => Some(json!({
            "major": "1", "minor": "36", "gitVersion": "v1.36.0-kooper-sim", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "simulated",
        })),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => {
            let groups: BTreeSet<&str> = store.kinds().map(|kind| kind.api.group.as_str()).collect();
            let groups: Vec<Value> =
                groups.into_iter().filter(|group| !group.is_empty()).filter_map(|name| group(store, name)).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["api", version] => resources(store, "", version),
        ["apis", name] => group(store, name),
        ["apis", group, version] => resources(store, group, version),
        _ => None,
    }
}

fn group(store: &Store, name: &str) -> Option<Value> {
    let versions: BTreeSet<&str> =
        store.kinds().filter(|kind| kind.api.group == name).map(|kind| kind.api.version.as_str()).collect();
    let versions: Vec<Value> = versions
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": preferred,
    }))
}

fn resources(store: &Store, group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<&Kind> = store
        .kinds()
        .map(AsRef::as_ref)
        .filter(|kind| kind.api.group == group && kind.api.version == version)
        .collect();
    let group_version = kinds.first()?.api.api_version.clone();
    let resources: Vec<Value> = kinds.into_iter().flat_map(entries).collect();
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    }))
}

fn entries(kind: &Kind) -> Vec<Value> {
    let entry = |name: String, verbs: &[&str]| {
        json!({
            "name": name, "singularName": kind.api.kind.to_lowercase(), "namespaced": kind.is_namespaced(),
            "kind": kind.api.kind, "verbs": verbs,
        })
    };
    let plural = &kind.api.plural;
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut entries = vec![entry(plural.clone(), &all)];
    if kind.status {
        entries.push(entry(format!("{plural}/status"), &["get", "patch", "update"]));
    }
    if kind.rules == Rules::Pod {
        entries.extend(["binding", "eviction"].map(|name| entry(format!("{plural}/{name}"), &["create"])));
    }
    entries
}
