//! Scenes for the tests of the rules, and tests of how the rules go together.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::namespace::Namespace;
use crate::storage::{PersistentVolume, PersistentVolumeClaim, StorageClass};

/// A value with a difference.
pub(super) fn merged(mut value: Value, difference: &Value) -> Value {
    match (value.as_object_mut(), difference.as_object()) {
        (Some(into), Some(from)) => {
            for (key, difference) in from {
                let there = into.remove(key).unwrap_or(Value::Null);
                into.insert(key.clone(), merged(there, difference));
            }
            value
        }
        _ => difference.clone(),
    }
}

/// A node, given by what it is beside its name.
pub(super) fn cluster_node(name: &str, extra: &Value) -> Node {
    serde_json::from_value(merged(json!({"metadata": {"name": name}}), extra)).unwrap()
}

/// A pod of this spec in the default namespace, whose uid is its name.
pub(super) fn pod_of(name: &str, spec: &Value) -> Pod {
    let metadata = json!({"name": name, "namespace": "default", "uid": name});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// The pod with a label.
pub(super) fn labelled(mut pod: Pod, key: &str, value: &str) -> Pod {
    pod.labels = pod.labels.iter().chain([(key, value)]).collect();
    pod
}

/// The pod on a node.
pub(super) fn on_node(mut pod: Pod, node: &str) -> Pod {
    pod.spec.node_name = Some(node.to_owned());
    pod
}

/// A cluster, and where in it the guardian is.
#[derive(Default)]
pub(super) struct Scene {
    seen: Surroundings,
    guardian: Option<Pod>,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn node(mut self, node: Node) -> Self {
        self.seen.nodes.push(Arc::new(node));
        self
    }

    pub(super) fn bound(mut self, pod: Pod, node: &str) -> Self {
        self.seen.pods.push(Arc::new(on_node(pod, node)));
        self
    }

    /// A pod that has been given a ticket there.
    pub(super) fn promised(mut self, pod: Pod, node: &str) -> Self {
        self.seen.claimants.push((Arc::new(pod), node.to_owned()));
        self
    }

    pub(super) fn pending(mut self, pod: Pod) -> Self {
        self.seen.pending.push(Arc::new(pod));
        self
    }

    pub(super) fn namespace(mut self, name: &str, labels: &Value) -> Self {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap();
        self.seen.namespaces.push(Arc::new(namespace));
        self
    }

    pub(super) fn claim(mut self, claim: PersistentVolumeClaim) -> Self {
        self.seen.claims.push(Arc::new(claim));
        self
    }

    pub(super) fn volume(mut self, volume: PersistentVolume) -> Self {
        self.seen.volumes.push(Arc::new(volume));
        self
    }

    pub(super) fn class(mut self, class: StorageClass) -> Self {
        self.seen.classes.push(Arc::new(class));
        self
    }

    /// The ticket's guardian is on this node; it requests one core.
    pub(super) fn guardian_on(self, node: &str) -> Self {
        let spec = json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]});
        let guardian = labelled(pod_of("guardian", &spec), "korder.dev/role", "guardian");
        let guardian = on_node(guardian, node);
        let mut scene = self.bound(guardian.clone(), node);
        scene.guardian = Some(guardian);
        scene
    }

    /// Why a pod does not fit into the guardian's place on a node, in words.
    pub(super) fn told(&self, pod: &Pod, node: &str) -> Option<String> {
        let world = World::new(&self.seen);
        let there = |guardian: &&Pod| guardian.spec.node_name.as_deref() == Some(node);
        let guardian = self.guardian.as_ref().filter(there).cloned().unwrap_or_default();
        let node = self.seen.nodes.iter().find(|one| one.name() == node).unwrap();
        let reserved = Amounts::of(&[("cpu".to_owned(), "1".parse().unwrap())].into());
        let needs = Needs::of(pod, &world);
        let misfit = needs.misfit_anywhere().or_else(|| needs.misfit(&reserved, &guardian, node));
        misfit.map(|misfit| misfit.to_string())
    }
}

fn cores(name: &str, cores: &str, extra: &Value) -> Pod {
    let spec = json!({"containers": [{"resources": {"requests": {"cpu": cores}}}]});
    pod_of(name, &merged(spec, extra))
}

#[test]
fn what_is_not_judged_yet_is_named() {
    let table = [
        (json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]}), "a resource claim"),
        (json!({"volumes": [{"name": "v", "iscsi": {"iqn": "i", "lun": 0}}]}), "a disk that the pod names itself"),
    ];
    let scene = Scene::new().node(cluster_node("n", &json!({})));
    for (spec, what) in table {
        let told = scene.told(&pod_of("p", &spec), "n").unwrap();
        assert_eq!(told, format!("pods with {what} can't claim a ticket yet"));
    }
    let preferred = json!({"affinity": {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
        ]},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "a", "labelSelector": {}}},
        ]},
    }});
    assert_eq!(scene.told(&pod_of("p", &preferred), "n"), None, "what is only preferred keeps nobody away");
}

#[test]
fn a_stronger_pod_that_could_use_the_place_holds_the_claim() {
    let node = || cluster_node("n", &json!({"status": {"allocatable": {"cpu": "4", "pods": "10"}}}));
    let scene = || Scene::new().node(node()).guardian_on("n").bound(cores("other", "2500m", &json!({})), "n");
    let rival = |cpu: &str, extra: &Value| cores("rival", cpu, &merged(json!({"priority": 10}), extra));
    let told = |rival: Pod| scene().pending(rival).told(&cores("p", "1", &json!({})), "n");
    let held = "pod `default/rival` of higher priority waits for a place and would take this one";
    // Half a core is free, and one more without the guardian.
    assert_eq!(told(rival("1500m", &json!({}))).as_deref(), Some(held));
    assert_eq!(told(rival("1600m", &json!({}))), None);
    assert_eq!(told(rival("500m", &json!({}))), None, "it leaves the place, and is refused for something else");
    let two = scene().pending(rival("500m", &json!({}))).pending(rival("100m", &json!({})));
    assert_eq!(two.told(&cores("p", "1", &json!({})), "n").as_deref(), Some(held), "together they do not");
    assert_eq!(told(rival("1", &json!({"priority": 0}))), None, "it is not stronger");
    assert_eq!(told(rival("1", &json!({"nodeSelector": {"a": "b"}}))), None, "it may not go there");
    assert_eq!(told(rival("1", &json!({"schedulerName": "other"}))), None);
    let unjudged = rival("1", &json!({"resourceClaims": [{"name": "gpu"}]}));
    assert_eq!(told(unjudged), None, "what may wait for a device for ever keeps nobody else waiting");
    let full = cluster_node("n", &json!({"status": {"allocatable": {"cpu": "4", "pods": "2"}}}));
    let place_of_guardian = Scene::new().node(full).guardian_on("n").bound(cores("other", "1", &json!({})), "n");
    let told = place_of_guardian.pending(rival("1", &json!({}))).told(&cores("p", "1", &json!({})), "n");
    assert_eq!(told.as_deref(), Some(held), "the guardian's place among the pods counts too");
}

#[test]
fn what_must_change_is_taken_down() {
    let hopes = |scene: &Scene, pod: &Pod| {
        let world = World::new(&scene.seen);
        let needs = Needs::of(pod, &world);
        let reserved = Amounts::default();
        let misfit =
            needs.misfit_anywhere().or_else(|| needs.misfit(&reserved, &Pod::default(), scene.seen.nodes[0].as_ref()));
        assert!(misfit.is_some());
        world.hopes()
    };
    let scene = || Scene::new().node(cluster_node("n", &json!({})));
    let port = || pod_of("p", &json!({"containers": [{"ports": [{"hostPort": 80}]}]}));
    let taken = scene().bound(pod_of("other", &json!({"containers": [{"ports": [{"hostPort": 80}]}]})), "n");
    assert_eq!(hopes(&taken, &port()), Hopes { pods: true, ..Hopes::default() });
    let claim = pod_of("p", &json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}));
    assert_eq!(hopes(&scene(), &claim), Hopes { pods: true, storage: true, later: None });
    assert_eq!(hopes(&scene(), &cores("p", "1", &json!({}))), Hopes::default(), "only tickets and nodes can help");
}

#[test]
fn what_the_rules_look_at() {
    let scope = |spec: &Value| Scope::of([&pod_of("p", spec)]);
    assert_eq!(scope(&json!({"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]})), Scope::default());
    assert!(scope(&json!({"containers": [{"ports": [{"hostPort": 80}]}]})).ports);
    assert!(scope(&json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]})).storage);
    let spread = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"});
    assert!(scope(&json!({"topologySpreadConstraints": [spread]})).pods);
}
