//! The rules of what fits where, against the real scheduler: random pods on random nodes, one after the other.
//!
//! Each pod is judged before it is made; then the scheduler must put it on a node that the rules allow, or find none if
//! they allow none. The seed is in the message of a failure and is played again by `KORDER_E2E_SEED`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Log};
use fastrand::Rng;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1::StorageClass;
use korder_core::fit::{Needs, Surroundings, World};
use korder_core::namespace::Namespace;
use korder_core::node::Node;
use korder_core::pod::{Pod, PodSpec};
use korder_core::storage;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::pods::{is_pending, merged, merged_value, node_of};
use crate::suite::Suite;

/// Environment variable: the seed to play again.
const SEED: &str = "KORDER_E2E_SEED";
/// Environment variable: how many pods are made.
const PODS: &str = "KORDER_E2E_FITS";
const DEFAULT_PODS: usize = 300;
const NODES: usize = 6;
/// How many pods stay at most, for the others to fit beside.
const CROWD: usize = 14;
const CLAIMS: usize = 10;
/// Topology keys that no other test's nodes have.
const ZONE: &str = "e2e.korder.dev/zone";
const HOST: &str = "e2e.korder.dev/host";
const REAL_ZONE: &str = "topology.kubernetes.io/zone";

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(the_scheduler_agrees_with_the_rules);
}

async fn the_scheduler_agrees_with_the_rules(case: &Case) -> Result<()> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().with_context(|| format!("`{SEED}` is no number"))?,
        Err(_) => fastrand::u64(..),
    };
    let pods = match std::env::var(PODS) {
        Ok(pods) => pods.parse().with_context(|| format!("`{PODS}` is no number"))?,
        Err(_) => DEFAULT_PODS,
    };
    let mut trial = Trial { case, rng: Rng::with_seed(seed), crowd: Vec::new() };
    trial.set_up().await?;
    let (mut bound, mut refused) = (0, 0);
    for number in 0..pods {
        let played = trial.play(number).await;
        let was_bound = played.with_context(|| format!("pod {number} of seed {seed}, again with `{SEED}={seed}`"))?;
        *(if was_bound { &mut bound } else { &mut refused }) += 1;
    }
    trial.clean_up().await?;
    // Else it would have shown nothing.
    ensure!(bound * 8 > pods && refused * 8 > pods, "seed {seed}: {bound} pods were bound and {refused} were not");
    Ok(())
}

struct Trial<'a> {
    case: &'a Case,
    rng: Rng,
    /// Names of the pods that are bound.
    crowd: Vec<String>,
}

impl Trial<'_> {
    async fn set_up(&mut self) -> Result<()> {
        let names = self.case.add_nodes(NODES, Size { cpu: "4", memory: "8Gi" }).await?;
        for name in &names {
            self.change_node(name).await?;
        }
        let class = json!({"metadata": {"name": self.class()}, "provisioner": "kubernetes.io/no-provisioner",
                           "volumeBindingMode": "WaitForFirstConsumer"});
        self.make::<StorageClass>(class).await?;
        for number in 0..CLAIMS {
            let mode = if number % 3 == 0 { "ReadWriteOncePod" } else { "ReadWriteOnce" };
            let at =
                if self.rng.bool() { (HOST, format!("{}", self.rng.usize(0..NODES))) } else { (ZONE, self.zone()) };
            let mut volume = json!({
                "metadata": {"name": format!("{}-{number}", self.case.namespace())},
                "spec": {
                    "storageClassName": self.class(), "accessModes": [mode],
                    "capacity": {"storage": format!("{}Gi", 1 + number % 3)}, "local": {"path": "/data"},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [
                        {"matchExpressions": [{"key": at.0, "operator": "In", "values": [at.1]}]},
                    ]}},
                },
            });
            if number % 4 == 0 {
                volume["metadata"]["labels"] = json!({REAL_ZONE: self.zone()});
            }
            self.make::<core::PersistentVolume>(volume).await?;
            let class = if number == 1 { "" } else { &self.class() };
            let claim = json!({
                "metadata": {"name": format!("claim-{number}")},
                "spec": {"accessModes": [mode], "storageClassName": class,
                         "resources": {"requests": {"storage": format!("{}Gi", 1 + number % 3)}}},
            });
            self.case.create::<core::PersistentVolumeClaim>(&serde_json::from_value(claim)?).await?;
        }
        self.available_volumes().await
    }

    /// Waits until the volumes are ones that can be bound.
    async fn available_volumes(&self) -> Result<()> {
        let names: Vec<String> = (0..CLAIMS).map(|number| format!("pv/{}-{number}", self.case.namespace())).collect();
        let mut arguments = vec!["wait", "--for=jsonpath={.status.phase}=Available", "--timeout=60s"];
        arguments.extend(names.iter().map(String::as_str));
        self.case.kubectl().get(&arguments).await.map(drop)
    }

    async fn clean_up(&self) -> Result<()> {
        let classes: Api<StorageClass> = Api::all(self.case.client());
        classes.delete(&self.class(), &DeleteParams::default()).await?;
        let volumes: Api<core::PersistentVolume> = Api::all(self.case.client());
        for number in 0..CLAIMS {
            volumes.delete(&format!("{}-{number}", self.case.namespace()), &DeleteParams::default()).await?;
        }
        Ok(())
    }

    fn class(&self) -> String {
        format!("{}-local", self.case.namespace())
    }

    async fn make<K>(&self, object: Value) -> Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + serde::Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object)?;
        Api::<K>::all(self.case.client()).create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Makes a pod as it comes; whether it was bound.
    async fn play(&mut self, number: usize) -> Result<bool> {
        while self.crowd.len() > CROWD || !self.crowd.is_empty() && self.rng.u8(0..5) == 0 {
            let leaving = self.crowd.swap_remove(self.rng.usize(0..self.crowd.len()));
            self.remove(&leaving).await?;
        }
        if self.rng.u8(0..10) == 0 {
            let node = format!("{}-{}", self.case.namespace(), self.rng.usize(0..NODES));
            self.change_node(&node).await?;
        }
        let name = format!("p-{number}");
        let pod = self.random_pod(&name)?;
        let judged = self.judge(&pod).await?;
        let allowed: BTreeSet<&String> = judged.iter().filter(|(_, why)| why.is_none()).map(|(node, _)| node).collect();
        self.case.create(&pod).await?;
        let told = |what: &str| format!("{what}; the rules say {judged:#?}; the pod is {}", json!(pod));
        let decided = |log: &Log<core::Pod>| {
            let pod = log.get(&name)?;
            let node = node_of(pod).map(str::to_owned);
            // The scheduler may learn a moment later of what has just changed: then it tries again.
            (node.is_some() || allowed.is_empty() && is_pending(pod)).then_some(node)
        };
        let node = self.case.pods.until(told("the scheduler decides"), decided).await?;
        if let Some(node) = &node {
            ensure!(allowed.contains(node), told(&format!("the scheduler chose node `{node}`")));
            self.crowd.push(name);
        } else {
            self.remove(&name).await?;
        }
        Ok(node.is_some())
    }

    async fn remove(&self, pod: &str) -> Result<()> {
        self.case.delete::<core::Pod>(pod).await?;
        self.case.pods.until("the pod is gone", |log| log.get(pod).is_none().then_some(())).await
    }

    /// For each node why the rules do not allow it, if they don't.
    async fn judge(&self, pod: &core::Pod) -> Result<BTreeMap<String, Option<String>>> {
        // As the API server would store it.
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let stored = self.case.api::<core::Pod>().create(&dry, pod).await.context("the API server refuses a pod")?;
        let pod: Pod = serde_json::from_value(serde_json::to_value(stored)?)?;
        let client = self.case.client();
        let own = format!("{}={}", e2e::objects::OWN_NODE, self.case.namespace());
        let nodes: Api<Node> = Api::all(client.clone());
        let seen = Surroundings {
            nodes: nodes.list(&ListParams::default().labels(&own)).await?.items.into_iter().map(Arc::new).collect(),
            pods: list(&Api::namespaced(client.clone(), self.case.namespace())).await?,
            namespaces: list::<Namespace>(&Api::all(client.clone())).await?,
            claims: list::<storage::PersistentVolumeClaim>(&Api::namespaced(client.clone(), self.case.namespace()))
                .await?,
            volumes: list::<storage::PersistentVolume>(&Api::all(client.clone())).await?,
            classes: list::<storage::StorageClass>(&Api::all(client)).await?,
            ..Surroundings::default()
        };
        let world = World::new(&seen);
        let needs = Needs::of(&pod, &world);
        let nobody = Pod {
            spec: PodSpec { scheduler_name: pod.spec.scheduler_name.clone(), ..PodSpec::default() },
            ..Pod::default()
        };
        let judged = |node: &Arc<Node>| {
            let mut free = node.status.allocatable.clone();
            for there in seen.pods.iter().filter(|there| there.spec.node_name.as_deref() == Some(node.name())) {
                free.subtract(&there.spec.requests);
            }
            let misfit = needs.misfit_anywhere().or_else(|| needs.misfit(&free, &nobody, node));
            (node.name().to_owned(), misfit.map(|misfit| misfit.to_string()))
        };
        Ok(seen.nodes.iter().map(judged).collect())
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.rng.usize(0..choices.len())].clone()
    }

    fn zone(&mut self) -> String {
        self.one_of(&["a", "b", "c"]).to_owned()
    }

    /// Gives a node labels and taints as they come.
    async fn change_node(&mut self, name: &str) -> Result<()> {
        let number = name.rsplit('-').next().unwrap_or_default();
        let labels = json!({
            HOST: number,
            ZONE: if self.rng.u8(0..8) == 0 { Value::Null } else { json!(self.zone()) },
            REAL_ZONE: if self.rng.bool() { Value::Null } else { json!(self.zone()) },
            "disk": if self.rng.bool() { Value::Null } else { json!(self.one_of(&["fast", "slow"])) },
            "cores": self.rng.u8(0..10).to_string(),
        });
        let own = json!({"key": e2e::objects::OWN_NODE, "value": self.case.namespace(), "effect": "NoSchedule"});
        let mut taints = vec![own];
        if self.rng.u8(0..3) == 0 {
            let effect = self.one_of(&["NoSchedule", "PreferNoSchedule"]);
            taints.push(json!({"key": "load", "value": self.rng.u8(0..3).to_string(), "effect": effect}));
        }
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}, "spec": {"taints": taints}}));
        let nodes: Api<core::Node> = Api::all(self.case.client());
        nodes.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    fn random_pod(&mut self, name: &str) -> Result<core::Pod> {
        let size = self.one_of(&[Size { cpu: "100m", memory: "64Mi" }, Size { cpu: "1", memory: "1Gi" }]);
        let mut pod = self.case.pod(name, size);
        pod.labels_mut().insert("app".to_owned(), self.app());
        if self.rng.bool() {
            pod.labels_mut().insert("version".to_owned(), self.rng.u8(0..2).to_string());
        }
        let mut difference = json!({});
        for _ in 0..self.rng.usize(0..4) {
            difference = merged_value(difference, &self.rule());
        }
        // One node alone tells more of the rules than the best of all.
        if self.rng.bool() {
            let node = format!("{}-{}", self.case.namespace(), self.rng.usize(0..NODES));
            let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
            let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0";
            match difference.pointer_mut(required) {
                Some(term) => term["matchFields"] = json!([field]),
                None => {
                    difference = merged_value(difference, &node_affinity(&json!({"matchFields": [field]})));
                }
            }
        }
        let tolerations = difference.as_object_mut().and_then(|spec| spec.remove("tolerations"));
        let mut pod = merged(pod, &json!({"spec": difference}))?;
        if let Some(tolerations) = tolerations {
            let more: Vec<core::Toleration> = serde_json::from_value(tolerations)?;
            pod.spec.get_or_insert_default().tolerations.get_or_insert_default().extend(more);
        }
        Ok(pod)
    }

    fn app(&mut self) -> String {
        self.one_of(&["web", "db", "cache"]).to_owned()
    }

    /// Something that a pod asks for, as a part of its spec.
    fn rule(&mut self) -> Value {
        match self.rng.u8(0..8) {
            0 => json!({"nodeSelector": {"disk": self.one_of(&["fast", "slow"])}}),
            1 => {
                let expressions: Vec<Value> = (0..self.rng.usize(1..3)).map(|_| self.node_requirement()).collect();
                node_affinity(&json!({"matchExpressions": expressions}))
            }
            2 => self.toleration(),
            3 => {
                let ip = self.one_of(&[Value::Null, json!("0.0.0.0"), json!("10.0.0.1"), json!("10.0.0.2")]);
                let protocol = self.one_of(&["TCP", "UDP"]);
                let port = 8080 + u16::from(self.rng.u8(0..2));
                let port = json!({"containerPort": 80, "hostPort": port, "hostIP": ip, "protocol": protocol});
                json!({"containers": [{"name": "app", "image": "app", "ports": [port]}]})
            }
            4 => json!({"affinity": {"podAffinity": self.near()}}),
            5 => json!({"affinity": {"podAntiAffinity": self.near()}}),
            6 => {
                let spreads: Vec<Value> =
                    (0..self.rng.usize(1..3)).map(|index| self.spread([ZONE, HOST][index])).collect();
                json!({"topologySpreadConstraints": spreads})
            }
            _ => {
                let claim = format!("claim-{}", self.rng.usize(0..=CLAIMS));
                json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]})
            }
        }
    }

    fn node_requirement(&mut self) -> Value {
        let key = self.one_of(&["disk", "cores", ZONE]);
        let values = || json!(["fast", "a", "3"]);
        match self.rng.u8(0..6) {
            0 => json!({"key": key, "operator": "In", "values": values()}),
            1 => json!({"key": key, "operator": "NotIn", "values": values()}),
            2 => json!({"key": key, "operator": "Exists"}),
            3 => json!({"key": key, "operator": "DoesNotExist"}),
            4 => json!({"key": "cores", "operator": "Gt", "values": ["4"]}),
            _ => json!({"key": "cores", "operator": "Lt", "values": ["6"]}),
        }
    }

    fn toleration(&mut self) -> Value {
        let toleration = match self.rng.u8(0..3) {
            0 => json!({"key": "load", "operator": "Exists"}),
            1 => json!({"key": "load", "operator": "Equal", "value": self.rng.u8(0..3).to_string()}),
            _ => json!({"operator": "Exists", "effect": "NoExecute"}),
        };
        json!({"tolerations": [toleration]})
    }

    fn near(&mut self) -> Value {
        let app = self.app();
        let selector = match self.rng.u8(0..4) {
            0 => json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": [app]}]}),
            1 => json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
            _ => json!({"matchLabels": {"app": app}}),
        };
        let mut term = json!({"topologyKey": self.one_of(&[ZONE, HOST]), "labelSelector": selector});
        match self.rng.u8(0..6) {
            0 => term["namespaces"] = json!(["default"]),
            1 => term["namespaceSelector"] = json!({}),
            2 => {
                term["namespaceSelector"] =
                    json!({"matchLabels": {"kubernetes.io/metadata.name": self.case.namespace()}});
            }
            3 => term["matchLabelKeys"] = json!(["version"]),
            4 => term["mismatchLabelKeys"] = json!(["version"]),
            _ => {}
        }
        json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]})
    }

    fn spread(&mut self, key: &str) -> Value {
        let mut spread = json!({
            "topologyKey": key, "maxSkew": self.rng.u8(1..3), "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": self.app()}},
        });
        if self.rng.u8(0..3) == 0 {
            spread["minDomains"] = json!(self.rng.u8(1..5));
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if self.rng.bool() {
                spread[policy] = json!(self.one_of(&["Honor", "Ignore"]));
            }
        }
        match self.rng.u8(0..6) {
            0 => spread["matchLabelKeys"] = json!(["version"]),
            1 => spread["labelSelector"] = json!({}),
            2 => spread["labelSelector"] = Value::Null,
            _ => {}
        }
        spread
    }
}

fn node_affinity(term: &Value) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}})
}

async fn list<K>(api: &Api<K>) -> Result<Vec<Arc<K>>>
where
    K: Clone + Debug + DeserializeOwned,
{
    Ok(api.list(&ListParams::default()).await?.items.into_iter().map(Arc::new).collect())
}
