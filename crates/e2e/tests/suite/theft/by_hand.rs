//! Hand-overs by bare API calls, without korder: with its protocol, or with the protocol's nomination left out.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use e2e::Log;
use e2e::objects::{self, OnNodesOf as _};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::HandOver;
use super::field::{Field, GUARDIANS, PLACE};
use crate::pods::{is_pending, node_of};

/// A gate that is none of korder's.
const GATE: &str = "e2e.korder.dev/gate";

/// Guardians that are deleted and pods that are ungated when they are gone.
pub(super) struct ByHand {
    nominate: bool,
    handed_over: AtomicUsize,
}

/// A guardian and the pod that is to get its place.
struct Pair {
    guardian: String,
    claimant: String,
    node: String,
}

impl ByHand {
    /// Whether the scheduler is told whom each place is for.
    pub(super) fn new(nominate: bool) -> Self {
        Self { nominate, handed_over: AtomicUsize::new(0) }
    }

    /// The next pairs; in turn on each node.
    fn pairs(&self, field: &Field<'_>, count: usize) -> Vec<Pair> {
        let first = self.handed_over.fetch_add(count, Ordering::Relaxed);
        let pair = |number: usize| {
            let node = &field.nodes[number % field.nodes.len()];
            let place = number / field.nodes.len() % GUARDIANS;
            Pair { guardian: guardian(node, place), claimant: format!("claimant-{number}"), node: node.clone() }
        };
        (first..first + count).map(pair).collect()
    }
}

fn guardian(node: &str, place: usize) -> String {
    format!("{node}-guardian-{place}")
}

impl HandOver for ByHand {
    async fn fill(&self, field: &Field<'_>) -> Result<()> {
        let on_node = |node: &String| {
            let place = |place| field.case.pod(&guardian(node, place), PLACE).on_node(node);
            (0..GUARDIANS).map(place).collect::<Vec<_>>()
        };
        let guardians: Vec<Pod> = field.nodes.iter().flat_map(on_node).collect();
        try_join_all(guardians.iter().map(|pod| field.case.create(pod))).await.map(drop)
    }

    async fn hand_over(&self, field: &Field<'_>, count: usize) -> Result<Vec<String>> {
        let pairs = self.pairs(field, count);
        let claimants = pairs.iter().map(|pair| objects::gated(field.case.pod(&pair.claimant, PLACE), GATE));
        let claimants: Vec<Pod> = claimants.collect();
        try_join_all(claimants.iter().map(|pod| field.case.create(pod))).await?;
        if self.nominate {
            try_join_all(pairs.iter().map(|pair| nominate(field, pair))).await?;
        }
        try_join_all(pairs.iter().map(|pair| field.case.delete::<Pod>(&pair.guardian))).await?;
        let gone = |log: &Log<Pod>| pairs.iter().all(|pair| log.get(&pair.guardian).is_none()).then_some(());
        field.case.pods.until("the guardians are gone", gone).await?;
        try_join_all(pairs.iter().map(|pair| ungate(field, pair))).await?;
        let decided = |log: &Log<Pod>| {
            let decided = |pod: &Pod| node_of(pod).is_some() || is_pending(pod);
            pairs.iter().all(|pair| log.get(&pair.claimant).is_some_and(|pod| decided(pod))).then_some(())
        };
        field.case.pods.until("the scheduler has decided about the claimants", decided).await?;
        let log = field.case.pods.log();
        let lost = |pair: &Pair| {
            let pod = log.get(&pair.claimant)?;
            let right = node_of(pod) == Some(pair.node.as_str());
            (!right).then(|| format!("`{}` is on {:?}, promised was `{}`", pod.name_any(), node_of(pod), pair.node))
        };
        Ok(pairs.iter().filter_map(lost).collect())
    }
}

async fn nominate(field: &Field<'_>, pair: &Pair) -> Result<()> {
    let patch = Patch::Merge(json!({"status": {"nominatedNodeName": pair.node}}));
    let nominated = field.case.api::<Pod>().patch_status(&pair.claimant, &PatchParams::default(), &patch).await;
    nominated.map(drop).with_context(|| format!("cannot nominate `{}`", pair.claimant))
}

async fn ungate(field: &Field<'_>, pair: &Pair) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
    let ungated = field.case.api::<Pod>().patch(&pair.claimant, &PatchParams::default(), &patch).await;
    ungated.map(drop).with_context(|| format!("cannot ungate `{}`", pair.claimant))
}
