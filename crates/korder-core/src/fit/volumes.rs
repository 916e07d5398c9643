//! Storage: where the volumes of a pod are, and where those that it has not got yet can be
//! (the scheduler's plugins `VolumeBinding`, `VolumeZone` and `VolumeRestrictions`).
//!
//! Not judged: how many volumes a node can attach, what `CSIStorageCapacity` says, and volumes of in-tree drivers
//! that only CSI's translation gives a node affinity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Misfit;
use super::world::World;
use crate::node::Node;
use crate::pod::{Pod, StorageClaim};
use crate::storage::{PersistentVolume, PersistentVolumeClaim, StorageClass};

/// Labels of volumes that say where they are, and what nodes call the same now.
const ZONES: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];
/// Between the zones of a volume that is in several.
const ZONE_DELIMITER: &str = "__";

/// Storage by name, and what of it is promised to pods on their way.
#[derive(Debug, Default)]
pub(super) struct Storage<'a> {
    claims: BTreeMap<(&'a str, &'a str), &'a PersistentVolumeClaim>,
    volumes: BTreeMap<&'a str, &'a PersistentVolume>,
    classes: BTreeMap<&'a str, &'a StorageClass>,
    pub(super) promises: Promises<'a>,
}

/// What pods on their way will have.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises<'a> {
    /// Volumes.
    taken: BTreeSet<&'a str>,
    /// The nodes of claims, by namespace and name.
    settled: BTreeMap<(String, String), &'a str>,
}

impl<'a> Storage<'a> {
    pub(super) fn of(
        claims: &'a [Arc<PersistentVolumeClaim>],
        volumes: &'a [Arc<PersistentVolume>],
        classes: &'a [Arc<StorageClass>],
    ) -> Self {
        Self {
            claims: claims.iter().map(|claim| ((claim.namespace(), claim.name()), claim.as_ref())).collect(),
            volumes: volumes.iter().map(|volume| (volume.name(), volume.as_ref())).collect(),
            classes: classes.iter().map(|class| (class.name(), class.as_ref())).collect(),
            ..Self::default()
        }
    }

    /// A pod is on its way to a node, where what it has not got yet will be bound.
    pub(super) fn promise(&mut self, pod: &Pod, node: &'a Node) {
        if self.claims.is_empty() || pod.spec.claims.is_empty() {
            return;
        }
        let names = pod.spec.claims.iter().map(|claim| pod.claim_name(claim));
        let late: Vec<&'a PersistentVolumeClaim> =
            names.filter_map(|name| self.claim(pod.namespace(), &name)).filter(|claim| self.is_late(claim)).collect();
        let found: Vec<&'a str> =
            self.choose(late.clone(), node).into_iter().flatten().map(PersistentVolume::name).collect();
        self.promises.taken.extend(found);
        for claim in late {
            self.promises.settled.insert((claim.namespace().to_owned(), claim.name().to_owned()), node.name());
        }
    }

    fn claim(&self, namespace: &str, name: &str) -> Option<&'a PersistentVolumeClaim> {
        self.claims.get(&(namespace, name)).copied()
    }

    /// Whether the claim will be bound when its pod is placed.
    fn is_late(&self, claim: &PersistentVolumeClaim) -> bool {
        let class = self.classes.get(claim.class());
        claim.spec.volume_name.is_empty() && class.is_some_and(|class| class.binds_late())
    }

    /// For claims, the smallest first, the volumes that they would be bound to on a node; none where one must be made.
    fn choose(&self, mut claims: Vec<&PersistentVolumeClaim>, node: &Node) -> Vec<Option<&'a PersistentVolume>> {
        claims.sort_by(|a, b| a.spec.resources.requests.storage.cmp(&b.spec.resources.requests.storage));
        let mut chosen = self.promises.taken.clone();
        let mut choose = |claim: &PersistentVolumeClaim| {
            let free = self.volumes.values().copied().filter(|volume| !chosen.contains(volume.name()));
            let volume = PersistentVolume::find(claim, free, node.labels())?;
            chosen.insert(volume.name());
            Some(volume)
        };
        claims.into_iter().map(&mut choose).collect()
    }
}

/// The storage of one pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Volumes<'w> {
    /// Volumes that it has, and whether their labels count.
    bound: Vec<(&'w PersistentVolume, bool)>,
    /// Claims that will be bound when it is placed.
    late: Vec<&'w PersistentVolumeClaim>,
}

impl<'w> Volumes<'w> {
    /// The storage of a pod, or why the pod can be nowhere.
    pub(super) fn of(pod: &Pod, world: &'w World<'_>) -> Result<Self, Misfit> {
        let mut volumes = Self::default();
        for wanted in &pod.spec.claims {
            let name = pod.claim_name(wanted);
            let claim = usable(pod, wanted, &name, world).map_err(Misfit::Storage)?;
            if claim.is_bound() {
                let volume = world.storage.volumes.get(claim.spec.volume_name.as_str()).copied();
                let missing = || format!("volume `{}` of claim `{name}` does not exist", claim.spec.volume_name);
                let is_named = matches!(wanted, StorageClaim::Named(_));
                volumes.bound.push((volume.ok_or_else(|| Misfit::Storage(missing()))?, is_named));
            } else if world.storage.is_late(claim) {
                volumes.late.push(claim);
            } else {
                return Err(Misfit::Storage(format!("claim `{name}` is not bound to a volume yet")));
            }
        }
        Ok(volumes)
    }

    /// Why the pod's storage can't be used from a node.
    pub(super) fn misfit(&self, node: &Node, world: &World<'_>) -> Option<Misfit> {
        let out_of_reach = |(volume, labels_count): &&(&PersistentVolume, bool)| {
            !volume.is_reachable_from(node.labels()) || *labels_count && !is_in_zone(volume, node)
        };
        if let Some((volume, _)) = self.bound.iter().find(out_of_reach) {
            return Some(Misfit::Storage(format!("volume `{}` can't be reached from the node", volume.name())));
        }
        self.unbindable(node, world).map(Misfit::Storage)
    }

    /// Why a claim that will be bound on the node can't be.
    fn unbindable(&self, node: &Node, world: &World<'_>) -> Option<String> {
        let mut open = Vec::new();
        let mut to_make = Vec::new();
        for claim in &self.late {
            let key = (claim.namespace().to_owned(), claim.name().to_owned());
            let elsewhere = |chosen: &str| chosen != node.name();
            if world.storage.promises.settled.get(&key).copied().is_some_and(elsewhere) {
                return Some(format!("another pod takes claim `{}` to another node", claim.name()));
            }
            match claim.selected_node() {
                Some(chosen) if elsewhere(chosen) => {
                    return Some(format!("claim `{}` is about to be bound on another node", claim.name()));
                }
                Some(_) => to_make.push(*claim),
                None => open.push(*claim),
            }
        }
        open.sort_by(|a, b| a.spec.resources.requests.storage.cmp(&b.spec.resources.requests.storage));
        let chosen = world.storage.choose(open.clone(), node);
        to_make.extend(open.into_iter().zip(chosen).filter(|(_, volume)| volume.is_none()).map(|(claim, _)| claim));
        to_make.into_iter().find_map(|claim| {
            let class = world.storage.classes.get(claim.class())?;
            if !class.provisions() {
                return Some(format!("no volume for claim `{}` is free on the node", claim.name()));
            }
            let allowed = class.allows(node.labels());
            (!allowed).then(|| format!("no volume for claim `{}` can be made for the node", claim.name()))
        })
    }
}

/// The claim, if a pod can be placed with it (`podHasPVCs`).
fn usable<'w>(
    pod: &Pod,
    wanted: &StorageClaim,
    name: &str,
    world: &'w World<'_>,
) -> Result<&'w PersistentVolumeClaim, String> {
    let Some(claim) = world.storage.claim(pod.namespace(), name) else {
        return Err(format!("claim `{name}` does not exist"));
    };
    if claim.status.phase == "Lost" {
        return Err(format!("volume `{}` of claim `{name}` does not exist", claim.spec.volume_name));
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(format!("claim `{name}` is being deleted"));
    }
    match wanted {
        StorageClaim::Ephemeral(_) if !claim.is_made_for(pod.uid()) => {
            Err(format!("claim `{name}` was not made for the pod"))
        }
        StorageClaim::Named(_) if claim.is_for_one_pod() && is_in_use(pod, name, world) => {
            Err(format!("claim `{name}` is for one pod alone, and another one uses it"))
        }
        _ => Ok(claim),
    }
}

/// Whether another pod that is there, or on its way, uses the claim.
fn is_in_use(pod: &Pod, name: &str, world: &World<'_>) -> bool {
    let others = world.placed.iter().map(|placed| placed.pod).filter(|other| other.uid() != pod.uid());
    let mut others = others.filter(|other| other.namespace() == pod.namespace());
    others.any(|other| other.spec.claims.iter().any(|claim| matches!(claim, StorageClaim::Named(used) if used == name)))
}

/// Whether the volume's labels allow the node; one without such labels is in the only zone that there is.
fn is_in_zone(volume: &PersistentVolume, node: &Node) -> bool {
    let labels = node.labels();
    if !ZONES.iter().any(|(key, _)| labels.contains_key(*key)) {
        return true;
    }
    ZONES.iter().all(|(key, now)| {
        let Some(zones) = volume.labels().get(*key) else { return true };
        let zones: Vec<&str> = zones.split(ZONE_DELIMITER).map(str::trim).collect();
        // A label that can't be read is ignored.
        zones.contains(&"")
            || labels.get(*key).or_else(|| labels.get(*now)).is_some_and(|zone| zones.contains(&zone.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::fit::tests::{Scene, cluster_node, merged, pod_of};
    use crate::node::Node;
    use crate::pod::Pod;
    use crate::storage::{PersistentVolume, PersistentVolumeClaim, StorageClass};

    const ZONE: &str = "topology.kubernetes.io/zone";

    fn node(name: &str) -> Node {
        cluster_node(name, &json!({"metadata": {"labels": {"host": name, ZONE: name}}}))
    }

    fn scene() -> Scene {
        Scene::new().node(node("a")).node(node("b"))
    }

    fn claim(name: &str, class: &str, extra: &Value) -> PersistentVolumeClaim {
        let claim = json!({
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        serde_json::from_value(merged(claim, extra)).unwrap()
    }

    /// A claim that is bound to volume `v`.
    fn bound(extra: &Value) -> PersistentVolumeClaim {
        let bound = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": "v"}});
        claim("c", "late", &merged(bound, extra))
    }

    fn volume(name: &str, class: &str, extra: &Value) -> PersistentVolume {
        let volume = json!({
            "metadata": {"name": name},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}},
            "status": {"phase": "Available"},
        });
        serde_json::from_value(merged(volume, extra)).unwrap()
    }

    fn on(host: &str) -> Value {
        let expressions = json!([{"key": "host", "operator": "In", "values": [host]}]);
        json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}}})
    }

    fn class(name: &str, provisioner: &str, extra: &Value) -> StorageClass {
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"});
        serde_json::from_value(merged(class, extra)).unwrap()
    }

    /// The classes: `late`, whose volumes are made, and `local`, whose volumes are there.
    fn with_classes(scene: Scene) -> Scene {
        scene.class(class("late", "driver", &json!({}))).class(class(
            "local",
            "kubernetes.io/no-provisioner",
            &json!({}),
        ))
    }

    fn user(name: &str, claims: &[&str]) -> Pod {
        let volume = |claim: &&str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        pod_of(name, &json!({"volumes": claims.iter().map(volume).collect::<Vec<_>>()}))
    }

    fn fits(scene: &Scene, pod: &Pod) -> Vec<&'static str> {
        ["a", "b"].into_iter().filter(|node| scene.told(pod, node).is_none()).collect()
    }

    fn told(scene: &Scene) -> String {
        scene.told(&user("p", &["c"]), "a").unwrap_or_default()
    }

    #[test]
    fn without_its_claim_bound_in_time_a_pod_fits_nowhere() {
        let scene = || with_classes(scene());
        assert_eq!(told(&scene()), "claim `c` does not exist");
        let unbound = "claim `c` is not bound to a volume yet";
        assert_eq!(told(&scene().claim(claim("c", "", &json!({})))), unbound);
        assert_eq!(told(&scene().claim(claim("c", "unheard", &json!({})))), unbound);
        let immediate = class("now", "driver", &json!({"volumeBindingMode": "Immediate"}));
        assert_eq!(told(&scene().class(immediate).claim(claim("c", "now", &json!({})))), unbound);
        let half = claim("c", "late", &json!({"spec": {"volumeName": "v"}}));
        assert_eq!(told(&scene().claim(half).volume(volume("v", "late", &json!({})))), unbound);
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(told(&scene().claim(claim("c", "late", &going))), "claim `c` is being deleted");
        assert_eq!(told(&scene().claim(bound(&json!({})))), "volume `v` of claim `c` does not exist");
        let lost = bound(&json!({"status": {"phase": "Lost"}}));
        assert_eq!(told(&scene().claim(lost)), "volume `v` of claim `c` does not exist");
    }

    #[test]
    fn a_bound_volume_must_be_within_reach() {
        let with = |extra: &Value| scene().claim(bound(&json!({}))).volume(volume("v", "late", extra));
        let pod = user("p", &["c"]);
        assert_eq!(fits(&with(&json!({})), &pod), ["a", "b"]);
        assert_eq!(fits(&with(&on("b")), &pod), ["b"]);
        assert_eq!(told(&with(&on("b"))), "volume `v` can't be reached from the node");
        let zone = |key: &str, zone: &str| json!({"metadata": {"labels": {key: zone}}});
        assert_eq!(fits(&with(&zone(ZONE, "b")), &pod), ["b"]);
        assert_eq!(fits(&with(&zone(ZONE, "a__b")), &pod), ["a", "b"]);
        assert_eq!(fits(&with(&zone("failure-domain.beta.kubernetes.io/zone", "b")), &pod), ["b"]);
        assert_eq!(fits(&with(&zone(ZONE, "a__")), &pod), ["a", "b"], "it can't be read");
    }

    #[test]
    fn a_late_claim_takes_a_volume_that_is_there_or_has_one_made() {
        let scene = || with_classes(scene());
        let pod = user("p", &["c"]);
        assert_eq!(fits(&scene().claim(claim("c", "late", &json!({}))), &pod), ["a", "b"]);
        let local = || scene().claim(claim("c", "local", &json!({})));
        assert_eq!(told(&local()), "no volume for claim `c` is free on the node");
        assert_eq!(fits(&local().volume(volume("v", "local", &on("a"))), &pod), ["a"]);
        for unfit in [
            json!({"spec": {"capacity": {"storage": "1023Mi"}}}),
            json!({"spec": {"accessModes": ["ReadOnlyMany"]}}),
            json!({"spec": {"storageClassName": "late"}}),
            json!({"spec": {"volumeMode": "Block"}}),
            json!({"spec": {"claimRef": {"namespace": "default", "name": "other"}}}),
            json!({"status": {"phase": "Released"}}),
        ] {
            assert!(fits(&local().volume(volume("v", "local", &merged(on("a"), &unfit))), &pod).is_empty(), "{unfit}");
        }
        let meant = merged(on("b"), &json!({"spec": {"claimRef": {"namespace": "default", "name": "c"}}}));
        assert_eq!(fits(&local().volume(volume("v", "local", &meant)), &pod), ["b"]);
        let chosen = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "b"}}});
        assert_eq!(fits(&scene().claim(claim("c", "late", &chosen)), &pod), ["b"]);
    }

    #[test]
    fn where_volumes_can_be_made_is_the_classs_business() {
        let zones = json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": ZONE, "values": ["b", "z"]}]}]});
        let scene = scene().class(class("zonal", "driver", &zones)).claim(claim("c", "zonal", &json!({})));
        assert_eq!(fits(&scene, &user("p", &["c"])), ["b"]);
        assert_eq!(told(&scene), "no volume for claim `c` can be made for the node");
    }

    #[test]
    fn two_claims_need_two_volumes_and_those_promised_are_gone() {
        let scene = || {
            let scene =
                with_classes(scene()).claim(claim("c", "local", &json!({}))).claim(claim("d", "local", &json!({})));
            scene.volume(volume("v", "local", &on("a")))
        };
        let both = user("p", &["c", "d"]);
        assert!(fits(&scene(), &both).is_empty());
        assert_eq!(fits(&scene().volume(volume("w", "local", &on("a"))), &both), ["a"]);
        let other = user("other", &["d"]);
        assert!(fits(&scene().promised(other, "a"), &user("p", &["c"])).is_empty());
        // One that shares the claim of a pod on its way goes where that goes.
        let shared =
            with_classes(self::scene()).claim(claim("c", "late", &json!({}))).promised(user("other", &["c"]), "b");
        assert_eq!(fits(&shared, &user("p", &["c"])), ["b"]);
    }

    #[test]
    fn a_claim_for_one_pod_serves_one() {
        let one_pod = |scene: Scene| {
            let claim = bound(&json!({"spec": {"accessModes": ["ReadWriteOncePod"]}}));
            scene.claim(claim).volume(volume("v", "late", &json!({})))
        };
        let pod = user("p", &["c"]);
        assert_eq!(fits(&one_pod(scene()), &pod), ["a", "b"]);
        let used = one_pod(scene()).bound(user("other", &["c"]), "b");
        assert_eq!(told(&used), "claim `c` is for one pod alone, and another one uses it");
        assert!(fits(&one_pod(scene()).promised(user("other", &["c"]), "b"), &pod).is_empty());
        assert_eq!(fits(&one_pod(scene()).bound(pod.clone(), "b"), &pod), ["a", "b"], "it is the pod itself");
    }

    #[test]
    fn an_ephemeral_volumes_claim_is_the_pods_own() {
        let pod = pod_of("p", &json!({"volumes": [{"name": "data", "ephemeral": {"volumeClaimTemplate": {}}}]}));
        let scene = || with_classes(scene());
        assert_eq!(scene().told(&pod, "a").unwrap(), "claim `p-data` does not exist");
        let owned = |uid: &str| {
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true});
            claim("p-data", "late", &json!({"metadata": {"ownerReferences": [owner]}}))
        };
        assert_eq!(scene().claim(owned("other")).told(&pod, "a").unwrap(), "claim `p-data` was not made for the pod");
        assert_eq!(fits(&scene().claim(owned(pod.uid())), &pod), ["a", "b"]);
    }
}
