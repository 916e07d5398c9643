//! What of the cluster decides whether the waiting pods fit, and which of its changes they hope for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kooper::Change;
use korder_api::TicketPhase;
use korder_core::fit::{Hopes, Scope, Surroundings};
use korder_core::handover;
use korder_core::pod::Pod;

use super::matching::has_claim;
use crate::caches::{BY_PHASE, Caches, JEALOUS, PENDING, WITH_PORTS};
use crate::tickets::claimant;

/// What the rules of the waiting pods look at, and no more: where none has a rule about others, there is little.
pub(super) fn observe(caches: &Caches, waiting: &[Arc<Pod>], refusals: bool) -> Surroundings {
    let priority = |pod: &Arc<Pod>| pod.spec.priority.unwrap_or(0);
    let Some(least) = waiting.iter().map(priority).min() else { return Surroundings::default() };
    let mut pending = caches.pods.by_index(PENDING, "");
    pending.retain(|pod| priority(pod) > least && !has_claim(caches, pod));
    let scope = Scope::of(waiting.iter().chain(&pending).map(AsRef::as_ref));
    let pods = if scope.pods || refusals || !pending.is_empty() {
        caches.pods.list()
    } else {
        let mut pods = caches.pods.by_index(JEALOUS, "");
        if scope.ports {
            let with_ports = caches.pods.by_index(WITH_PORTS, "").into_iter();
            pods.extend(with_ports.filter(|pod| pod.spec.anti_affinity.is_empty()));
        }
        pods
    };
    if pods.is_empty() {
        return Surroundings::default();
    }
    let claimed = caches.tickets.by_index(BY_PHASE, TicketPhase::Claimed.as_str()).into_iter();
    let on_their_way =
        claimed.filter_map(|ticket| Some((claimant(caches, &ticket)?, handover::node_of(&ticket)?.to_owned())));
    let mut seen = Surroundings {
        nodes: caches.nodes.list(),
        claimants: on_their_way.collect(),
        namespaces: caches.namespaces.list(),
        pods,
        pending,
        ..Surroundings::default()
    };
    if scope.storage {
        seen.claims = caches.storage_claims.list();
        seen.volumes = caches.volumes.list();
        seen.classes = caches.storage_classes.list();
    }
    seen
}

/// Which changes of what is not korder's may let a waiting pod fit, as the last pass has found.
///
/// Changes that nobody hopes for start no pass: a cluster's pods change all the time.
#[derive(Debug, Default)]
pub(super) struct Hoped {
    pods: AtomicBool,
    storage: AtomicBool,
}

impl Hoped {
    /// A pass begins: until it has come to its end, every change may be one that it does not see.
    pub(super) fn for_all(&self) {
        self.pods.store(true, Ordering::SeqCst);
        self.storage.store(true, Ordering::SeqCst);
    }

    /// What the pass has found.
    pub(super) fn only_for(&self, hopes: Hopes) {
        self.pods.store(hopes.pods, Ordering::SeqCst);
        self.storage.store(hopes.storage, Ordering::SeqCst);
    }

    /// Whether pods, or the labels of their namespaces, may help.
    pub(super) fn for_pods(&self) -> bool {
        self.pods.load(Ordering::SeqCst)
    }

    /// Whether storage may help.
    pub(super) fn for_storage(&self) -> bool {
        self.storage.load(Ordering::SeqCst)
    }
}

/// Whether a change of a pod means something to others: not what its containers do.
pub(super) fn moves(change: &Change<Pod>) -> bool {
    let seen = |pod: &Arc<Pod>| {
        let ending = (pod.metadata.deletion_timestamp.is_some(), pod.has_ended());
        (pod.spec.node_name.clone(), pod.status.nominated_node_name.clone(), pod.labels.clone(), ending)
    };
    change.old.as_ref().map(seen) != change.new.as_ref().map(seen)
}
