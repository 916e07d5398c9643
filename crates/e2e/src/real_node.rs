//! A node whose pods are containers, lent to one test at a time.

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource;
use korder_api::Quantity;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::audit::requests;
use crate::environment::is_ready;
use crate::objects::{self, OWN_NODE, OnNodesOf as _, SIMULATED, Size};
use crate::{Case, Skipped};

impl Case {
    /// Takes a real node of the cluster, labelled as the test's own, and fills it but for so many thousandths of a CPU,
    /// which are what it says to have allocatable. Other tests wait for it until this one has ended.
    ///
    /// The test is skipped where there is none, or none with as much room.
    pub async fn take_real_node(&self, millis: i64) -> Result<Node> {
        let lent = self.environment().cluster_wide().await;
        let nodes: Api<Node> = Api::all(self.client());
        let is_real = |node: &Node| is_ready(node) && !node.annotations().contains_key(SIMULATED.0);
        let listed = nodes.list(&ListParams::default()).await.context("cannot list the nodes")?;
        let Some(mut node) = listed.items.into_iter().find(is_real) else {
            bail!(Skipped("all nodes of this cluster are simulated".to_owned()));
        };
        let name = node.name_any();
        let room = self.room_of(&node).await?;
        if room < millis {
            bail!(Skipped(format!("node `{name}` has room for {room}m CPU, and {millis}m are needed")));
        }
        let ours = json!({"metadata": {"labels": {OWN_NODE: self.namespace()}}});
        let labelled = nodes.patch(&name, &PatchParams::default(), &Patch::Merge(ours)).await;
        labelled.with_context(|| format!("cannot label node `{name}`"))?;
        self.borrow(&name, lent);
        self.fill(&name, room - millis).await?;
        let allocatable = node.status.get_or_insert_default().allocatable.get_or_insert_default();
        allocatable.insert("cpu".to_owned(), resource::Quantity(format!("{millis}m")));
        Ok(node)
    }

    /// How much CPU of a node nobody has requested, in thousandths.
    async fn room_of(&self, node: &Node) -> Result<i64> {
        let there = ListParams::default().fields(&format!("spec.nodeName={}", node.name_any()));
        let pods = Api::<Pod>::all(self.client()).list(&there).await.context("cannot list the pods of a node")?;
        let taken: i64 = pods.iter().filter_map(|pod| requests(pod).get("cpu").copied()).sum();
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref()?.get("cpu"));
        let allocatable: Quantity = allocatable.map_or("0", |quantity| &quantity.0).parse()?;
        Ok(allocatable.millis() - taken)
    }

    /// Takes so much CPU of a node, by a pod beside those of the test.
    async fn fill(&self, node: &str, millis: i64) -> Result<()> {
        let namespace = self.add_namespace("ballast", &[]).await?;
        let mut pod = objects::pod("ballast", Size::SMALL).on_node(node);
        let container = pod.spec.as_mut().and_then(|spec| spec.containers.first_mut()).context("no container")?;
        container.resources.get_or_insert_default().requests =
            Some([("cpu".to_owned(), resource::Quantity(format!("{millis}m")))].into());
        let pods: Api<Pod> = Api::namespaced(self.client(), &namespace);
        pods.create(&PostParams::default(), &pod).await.context("cannot make a pod that fills the node")?;
        let running = |pod: Option<&Pod>| {
            let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
            phase == Some("Running")
        };
        let filled = kube::runtime::wait::await_condition(pods, "ballast", running);
        tokio::time::timeout(FILL_TIMEOUT, filled).await.context("the pod that fills the node does not run")??;
        Ok(())
    }
}

/// How long a pod that does nothing may take to run.
const FILL_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(1);
