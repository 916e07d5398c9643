//! Hand-overs by bare API calls, without korder: by its rules, or with one of them broken.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use e2e::objects::{self, OnNodesOf as _};
use e2e::{Case, Log};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::field::Field;
use super::{HandOver, claimant};
use crate::pods::{is_pending, node_of};

/// A gate that is none of korder's.
const GATE: &str = "e2e.korder.dev/gate";

/// The value of an annotation of no meaning, by which a pod is touched.
const TOUCHED: &str = "e2e.korder.dev/touched";

/// How places are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// As korder does it.
    Kept,
    /// As korder does it, the scheduler being restarted before the guardians go.
    KeptWithRestart,
    /// The scheduler is not told whom a place is for.
    NoNomination,
    /// Of those that are nominated to a node, one after the other gets its place.
    Overlapping,
    /// Guardians are of higher priority than the pods that they give way to, and so are those that are made just then.
    StrongerGuardians,
    /// The scheduler is restarted and not told again.
    NoTouch,
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "bare calls by the rules",
            Self::KeptWithRestart => "bare calls, scheduler restarted and told again",
            Self::NoNomination => "bare calls without a nomination",
            Self::Overlapping => "bare calls that overlap on a node",
            Self::StrongerGuardians => "bare calls with stronger guardians, refill on",
            Self::NoTouch => "bare calls, scheduler restarted and not told",
        })
    }
}

/// Guardians that are deleted and pods that are ungated when they are gone.
pub(super) struct ByHand {
    rules: Rules,
    /// The priority class of the guardians, where it is not that of all pods.
    class: Option<String>,
    handed_over: AtomicUsize,
}

/// A guardian and the pod that is to get its place.
struct Pair {
    guardian: String,
    claimant: String,
    node: String,
}

impl ByHand {
    pub(super) async fn new(case: &Case, rules: Rules) -> Result<Self> {
        let class = match rules {
            Rules::StrongerGuardians => Some(case.add_patient_priority_class("guardians", 10).await?),
            _ => None,
        };
        Ok(Self { rules, class, handed_over: AtomicUsize::new(0) })
    }

    /// The next pairs; in turn on each node.
    fn pairs(&self, field: &Field<'_>, count: usize) -> Vec<Pair> {
        let first = self.handed_over.fetch_add(count, Ordering::Relaxed);
        let pair = |number: usize| {
            let node = &field.nodes[number % field.nodes.len()];
            let place = number / field.nodes.len() % field.guardians();
            Pair { guardian: guardian(node, place), claimant: claimant(number), node: node.clone() }
        };
        (first..first + count).map(pair).collect()
    }

    fn guardian(&self, field: &Field<'_>, name: &str) -> Pod {
        let mut pod = field.pod(name);
        pod.spec.get_or_insert_default().priority_class_name.clone_from(&self.class);
        pod
    }

    /// Lets pods have their guardians' places, and waits for what the scheduler makes of it.
    async fn free_and_ungate(&self, field: &Field<'_>, pairs: &[Pair]) -> Result<()> {
        try_join_all(pairs.iter().map(|pair| field.case.delete::<Pod>(&pair.guardian))).await?;
        let gone = |log: &Log<Pod>| pairs.iter().all(|pair| log.get(&pair.guardian).is_none()).then_some(());
        field.case.pods.until("the guardians are gone", gone).await?;
        if self.rules == Rules::StrongerGuardians {
            let refill = pairs.iter().map(|pair| self.guardian(field, &format!("after-{}", pair.claimant)));
            let refill: Vec<Pod> = refill.collect();
            try_join_all(refill.iter().map(|pod| field.case.create(pod))).await?;
        }
        try_join_all(pairs.iter().map(|pair| ungate(field, pair))).await?;
        let decided = |log: &Log<Pod>| {
            let decided = |pod: &Pod| node_of(pod).is_some() || is_pending(pod);
            pairs.iter().all(|pair| log.get(&pair.claimant).is_some_and(|pod| decided(pod))).then_some(())
        };
        field.case.pods.until("the scheduler has decided about the claimants", decided).await
    }
}

fn guardian(node: &str, place: usize) -> String {
    format!("{node}-guardian-{place}")
}

impl HandOver for ByHand {
    async fn fill(&self, field: &Field<'_>) -> Result<()> {
        let on_node = |node: &String| {
            let place = |place| self.guardian(field, &guardian(node, place)).on_node(node);
            (0..field.guardians()).map(place).collect::<Vec<_>>()
        };
        let guardians: Vec<Pod> = field.nodes.iter().flat_map(on_node).collect();
        try_join_all(guardians.iter().map(|pod| field.case.create(pod))).await.map(drop)
    }

    async fn hand_over(&self, field: &Field<'_>, count: usize) -> Result<Vec<String>> {
        let pairs = self.pairs(field, count);
        let claimants = pairs.iter().map(|pair| objects::gated(field.pod(&pair.claimant), GATE));
        let claimants: Vec<Pod> = claimants.collect();
        try_join_all(claimants.iter().map(|pod| field.case.create(pod))).await?;
        if self.rules != Rules::NoNomination {
            try_join_all(pairs.iter().map(|pair| nominate(field, pair))).await?;
        }
        if matches!(self.rules, Rules::KeptWithRestart | Rules::NoTouch) {
            field.case.environment().restart_scheduler().await?;
        }
        if self.rules == Rules::KeptWithRestart {
            try_join_all(pairs.iter().map(|pair| touch(field, pair))).await?;
        }
        let batch = if self.rules == Rules::Overlapping { 1 } else { pairs.len() };
        for batch in pairs.chunks(batch) {
            self.free_and_ungate(field, batch).await?;
        }
        let log = field.case.pods.log();
        let lost = |pair: &Pair| {
            let pod = log.get(&pair.claimant)?;
            let right = node_of(pod) == Some(pair.node.as_str());
            (!right).then(|| format!("`{}` is on {:?}, promised was `{}`", pod.name_any(), node_of(pod), pair.node))
        };
        Ok(pairs.iter().filter_map(lost).collect())
    }
}

async fn touch(field: &Field<'_>, pair: &Pair) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": { TOUCHED: "again" }}}));
    let touched = field.case.api::<Pod>().patch(&pair.claimant, &PatchParams::default(), &patch).await;
    touched.map(drop).with_context(|| format!("cannot touch `{}`", pair.claimant))
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
