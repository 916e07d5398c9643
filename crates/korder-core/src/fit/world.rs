//! What else decides where a pod fits: the pods that are there or on their way, and what storage there is.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::refusals::Refusals;
use super::{Misfit, volumes};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::pod::Pod;
use crate::resources::Amounts;
use crate::selector::Labels;
use crate::storage::{PersistentVolume, PersistentVolumeClaim, StorageClass};

/// Objects of the cluster, as far as the rules of the waiting pods look at them (see [`Scope`]).
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Pods.
    pub pods: Vec<Arc<Pod>>,
    /// Pods that have been given a ticket, and the node where its place is.
    pub claimants: Vec<(Arc<Pod>, String)>,
    /// Pods that the scheduler looks for a place for and that korder has promised none.
    pub pending: Vec<Arc<Pod>>,
    /// Namespaces.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Claims of storage.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Volumes.
    pub volumes: Vec<Arc<PersistentVolume>>,
    /// Classes of storage.
    pub classes: Vec<Arc<StorageClass>>,
}

/// How much of the surroundings the rules of some pods look at: most look at none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// All pods and nodes, and not only pods with anti-affinity of their own.
    pub pods: bool,
    /// Pods with host ports.
    pub ports: bool,
    /// Storage.
    pub storage: bool,
}

impl Scope {
    /// What the rules of these pods look at.
    pub fn of<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> Self {
        pods.into_iter().fold(Self::default(), |scope, pod| {
            let wants = pod.constraints();
            let storage = !pod.spec.claims.is_empty();
            let near = !wants.affinity.is_empty() || !pod.spec.anti_affinity.is_empty() || !wants.spread.is_empty();
            Self {
                pods: scope.pods || near || storage,
                ports: scope.ports || !pod.spec.host_ports.is_empty(),
                storage: scope.storage || storage,
            }
        })
    }
}

/// A pod on a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) pod: &'a Pod,
    pub(super) node: &'a Node,
    /// Bound there, and not only on its way.
    pub(super) bound: bool,
}

/// What must change before a pod that has been judged not to fit can fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hopes {
    /// Pods that are not korder's.
    pub pods: bool,
    /// Storage.
    pub storage: bool,
    /// It is later than this.
    pub later: Option<Timestamp>,
}

/// How far a pass had come.
#[derive(Debug)]
pub(crate) struct Mark<'a> {
    placed: usize,
    promises: volumes::Promises<'a>,
}

/// The surroundings, arranged for the rules, and what the pass that uses them has given away so far.
#[derive(Debug, Default)]
pub struct World<'a> {
    pub(super) nodes: BTreeMap<&'a str, &'a Node>,
    pub(super) placed: Vec<Placed<'a>>,
    /// Which of the placed have anti-affinity.
    pub(super) jealous: Vec<usize>,
    /// Which of the placed have host ports, by node.
    pub(super) with_ports: BTreeMap<&'a str, Vec<usize>>,
    /// What bound pods request, by node; only where pods are pending.
    requested: BTreeMap<&'a str, Amounts>,
    pub(super) pending: Vec<&'a Pod>,
    namespaces: BTreeMap<&'a str, &'a Labels>,
    pub(super) storage: volumes::Storage<'a>,
    refusals: Option<(&'a Refusals, Timestamp)>,
    hopes: Cell<Hopes>,
}

impl<'a> World<'a> {
    /// The world of these surroundings.
    pub fn new(seen: &'a Surroundings) -> Self {
        let mut world = Self {
            nodes: seen.nodes.iter().map(|node| (node.name(), node.as_ref())).collect(),
            namespaces: seen.namespaces.iter().map(|one| (one.name(), one.labels())).collect(),
            pending: distinct(&seen.pending),
            storage: volumes::Storage::of(&seen.claims, &seen.volumes, &seen.classes),
            ..Self::default()
        };
        for pod in seen.pods.iter().filter(|pod| !pod.has_ended()) {
            match &pod.spec.node_name {
                Some(node) => world.add(pod, node, true),
                None => pod.status.nominated_node_name.iter().for_each(|node| world.add(pod, node, false)),
            }
        }
        for (pod, node) in &seen.claimants {
            if pod.spec.node_name.is_none() && pod.status.nominated_node_name.is_none() && !pod.has_ended() {
                world.add(pod, node, false);
            }
        }
        world
    }

    /// The same, knowing also what the scheduler has refused.
    #[must_use]
    pub fn with_refusals(mut self, refusals: &'a Refusals, now: Timestamp) -> Self {
        self.refusals = Some((refusals, now));
        self
    }

    /// A pod is on its way to a node from now on.
    pub fn place(&mut self, pod: &'a Pod, node: &'a Node) {
        self.nodes.insert(node.name(), node);
        self.add(pod, node.name(), false);
    }

    /// What has been given away so far, for [`Self::back_to`].
    pub(crate) fn mark(&self) -> Mark<'a> {
        Mark { placed: self.placed.len(), promises: self.storage.promises.clone() }
    }

    /// Takes back what was given away since the mark.
    pub(crate) fn back_to(&mut self, Mark { placed, promises }: Mark<'a>) {
        self.placed.truncate(placed);
        self.jealous.retain(|&index| index < placed);
        for with_ports in self.with_ports.values_mut() {
            with_ports.retain(|&index| index < placed);
        }
        self.storage.promises = promises;
    }

    fn add(&mut self, pod: &'a Pod, node: &str, bound: bool) {
        let Some(node) = self.nodes.get(node).copied() else { return };
        let index = self.placed.len();
        if !pod.spec.anti_affinity.is_empty() {
            self.jealous.push(index);
        }
        if !pod.spec.host_ports.is_empty() {
            self.with_ports.entry(node.name()).or_default().push(index);
        }
        if bound && !self.pending.is_empty() {
            let requested = self.requested.entry(node.name()).or_default();
            requested.add(&pod.spec.requests);
            requested.add_pods(1);
        }
        if !bound {
            self.storage.promise(pod, node);
        }
        self.placed.push(Placed { pod, node, bound });
    }

    /// The labels of a namespace; none for one that is not known.
    pub(super) fn namespace(&self, name: &str) -> &Labels {
        static NONE: Labels = BTreeMap::new();
        self.namespaces.get(name).copied().unwrap_or(&NONE)
    }

    /// What of a node is free once this guardian is gone.
    pub(super) fn free_without(&self, guardian: &Pod, node: &Node) -> Amounts {
        let mut free = node.status.allocatable.clone();
        if let Some(requested) = self.requested.get(node.name()) {
            free.subtract(requested);
            free.add(&guardian.spec.requests);
            free.add_pods(1);
        }
        free
    }

    /// Until when a pod of this shape is not tried on a node again.
    pub(super) fn refused_until(&self, shape: u64, node: &Node) -> Option<Timestamp> {
        let (refusals, now) = self.refusals?;
        refusals.until(shape, node, self.placed.iter().filter(|placed| placed.bound).map(|placed| placed.pod), now)
    }

    /// Takes down what must change before this misfit ends.
    pub(super) fn note(&self, misfit: &Misfit) {
        let Hopes { storage, later, .. } = self.hopes.get();
        self.hopes.set(match misfit {
            Misfit::HostPort(_)
            | Misfit::PodAffinity
            | Misfit::PodAntiAffinity { .. }
            | Misfit::Spread { .. }
            | Misfit::HigherPriority { .. } => Hopes { pods: true, storage, later },
            // Whoever uses a claim may end.
            Misfit::Storage(_) => Hopes { pods: true, storage: true, later },
            Misfit::Refused(until) => {
                Hopes { pods: true, storage, later: Some(later.map_or(*until, |later| later.min(*until))) }
            }
            Misfit::Resources(_)
            | Misfit::NodeSelector { .. }
            | Misfit::NodeAffinity
            | Misfit::NoTopology(_)
            | Misfit::Taint { .. }
            | Misfit::Priority { .. }
            | Misfit::Scheduler(_)
            | Misfit::NotSupportedYet(_) => return,
        });
    }

    /// What must change before a pod that has been judged against this world, and does not fit, can fit.
    pub fn hopes(&self) -> Hopes {
        self.hopes.get()
    }
}

/// One pod of each shape and priority, the highest first: the others are judged alike.
fn distinct(pods: &[Arc<Pod>]) -> Vec<&Pod> {
    let mut seen = BTreeSet::new();
    let mut distinct: Vec<&Pod> =
        pods.iter().map(AsRef::as_ref).filter(|pod| seen.insert(super::refusals::shape(pod))).collect();
    distinct.sort_by_key(|pod| std::cmp::Reverse(pod.spec.priority.unwrap_or(0)));
    distinct
}
