//! Full nodes.

use std::collections::BTreeMap;

use anyhow::Result;
use e2e::objects::{self, Size};
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::{Node, Pod};
use korder_api::Order;
use kube::api::{Api, DeleteParams, ListParams};

use crate::pods::node_of;

/// Guardians on each node.
pub(super) const GUARDIANS: usize = 8;
/// What each place is; [`GUARDIANS`] of them fill a node.
pub(super) const PLACE: Size = Size::SMALL;
const NODE: Size = Size { cpu: "4", memory: "8Gi" };

/// Nodes that have room for [`GUARDIANS`] places each.
pub(super) struct Field<'a> {
    /// The test.
    pub(super) case: &'a Case,
    /// Names of the nodes.
    pub(super) nodes: Vec<String>,
}

impl<'a> Field<'a> {
    pub(super) async fn new(case: &'a Case, nodes: usize) -> Result<Self> {
        Ok(Self { case, nodes: case.add_nodes(nodes, NODE).await? })
    }

    /// How many places there are in all.
    pub(super) fn places(&self) -> usize {
        self.nodes.len() * GUARDIANS
    }

    /// Waits until all places are taken.
    pub(super) async fn is_full(&self) -> Result<()> {
        let full = |log: &Log<Pod>| {
            let mut running: BTreeMap<&str, usize> = BTreeMap::new();
            for pod in log.objects().filter(|pod| is_running(pod)) {
                *running.entry(node_of(pod)?).or_default() += 1;
            }
            self.nodes.iter().all(|node| running.get(node.as_str()) == Some(&GUARDIANS)).then_some(())
        };
        self.case.pods.until(format!("{GUARDIANS} guardians run on each node"), full).await
    }

    /// Removes orders and pods, and waits until they are gone.
    pub(super) async fn clear(&self) -> Result<()> {
        let (now, all) = (DeleteParams::background().grace_period(0), ListParams::default());
        self.case.api::<Order>().delete_collection(&now, &all).await?;
        self.case.tickets.until("the tickets are gone", |log| log.objects().next().is_none().then_some(())).await?;
        self.case.api::<Pod>().delete_collection(&now, &all).await?;
        self.case.pods.until("the pods are gone", |log| log.objects().next().is_none().then_some(())).await
    }

    pub(super) async fn node_objects(&self) -> Result<Vec<Node>> {
        let own = ListParams::default().labels(&format!("{}={}", objects::OWN_NODE, self.case.namespace()));
        Ok(Api::<Node>::all(self.case.client()).list(&own).await?.items)
    }
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}
