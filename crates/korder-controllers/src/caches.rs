//! What the controllers see of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::scheduling::v1::PriorityClass;
use kooper::{Cache, Key, Operator, Recorder, Resources};
use korder_api::{Order, TicketPhase, names};
use korder_core::ask::Group;
use korder_core::handover::waits;
use korder_core::namespace::Namespace;
use korder_core::node::Node;
use korder_core::pod::{Pod, PodStatus};
use korder_core::scheduler::{self, Lease, Scheduler};
use korder_core::storage::{PersistentVolume, PersistentVolumeClaim, StorageClass};
use korder_core::ticket::Ticket;
use kube::Client;
use kube::api::ObjectMeta;

use crate::templates::Templates;

/// Index of tickets by their order: namespace and uid, as [`order_value`] writes them.
pub const BY_ORDER: &str = "order";
/// Index of tickets by phase.
pub const BY_PHASE: &str = "phase";
/// Index of tickets that are ready or claimed, by node.
pub const BY_NODE: &str = "node";
/// Index of tickets in phase `Claimed`, by node.
pub const CLAIMED_ON: &str = "claimed-on";
/// Index of tickets by the uid of the pod that they were given to.
pub const BY_CLAIMANT: &str = "claimant";
/// Index of the pods that wait for a ticket, most of them behind korder's gate; its one value is the empty string.
pub const WAITING: &str = "waiting";
/// Index of the pods of a group, by [`Group::key`].
pub const BY_GROUP: &str = "group";

/// Index of the pods that the scheduler looks for a place for; its one value is the empty string.
pub const PENDING: &str = "pending";
/// Index of the pods that keep others away; its one value is the empty string.
pub const JEALOUS: &str = "jealous";
/// Index of the pods with host ports; its one value is the empty string.
pub const WITH_PORTS: &str = "with-ports";

/// The caches, one of each kind, shared by the controllers.
#[derive(Clone, Debug)]
pub struct Caches {
    /// Orders.
    pub orders: Cache<Order>,
    /// Tickets.
    pub tickets: Cache<Ticket>,
    /// Guardians, pods that ask for a ticket, and all others that have not ended, without what nobody asks of these.
    pub pods: Cache<Pod>,
    /// Nodes.
    pub nodes: Cache<Node>,
    /// Priority classes.
    pub classes: Cache<PriorityClass>,
    /// Namespaces.
    pub namespaces: Cache<Namespace>,
    /// Leases of schedulers, and whatever else is in their namespace.
    pub leases: Cache<Lease>,
    /// Claims of storage.
    pub storage_claims: Cache<PersistentVolumeClaim>,
    /// Volumes.
    pub volumes: Cache<PersistentVolume>,
    /// Classes of storage.
    pub storage_classes: Cache<StorageClass>,
}

impl Caches {
    /// Empty caches of the whole cluster.
    pub fn new(client: &Client, recorder: &Recorder) -> Self {
        let orders = Cache::builder(&Resources::<Order>::all(client.clone()));
        let templates = Templates::default();
        let tickets = Cache::builder(&Resources::<Ticket>::all(client.clone()))
            .map(move |ticket: Ticket| templates.share(ticket))
            .index(BY_ORDER, |ticket: &Ticket| {
                ticket.order().map(|(_, uid)| order_value(ticket.namespace(), uid)).into_iter().collect()
            })
            .index(BY_PHASE, |ticket: &Ticket| vec![ticket.phase().as_str().to_owned()])
            .index(BY_NODE, |ticket: &Ticket| nodes_of(ticket, &[TicketPhase::Ready, TicketPhase::Claimed]))
            .index(CLAIMED_ON, |ticket: &Ticket| nodes_of(ticket, &[TicketPhase::Claimed]))
            .index(BY_CLAIMANT, |ticket: &Ticket| ticket.claim().map(|claim| claim.uid.clone()).into_iter().collect());
        let pods = Cache::builder(&Resources::<Pod>::all(client.clone()))
            .keep(|pod: &Pod| pod.is_guardian() || pod.is_claimant() || !pod.has_ended())
            .map(slim)
            .index(WAITING, |pod: &Pod| marked(pod.is_claimant() && waits(pod)))
            .index(BY_GROUP, |pod: &Pod| Group::of(pod).map(|group| group.key()).into_iter().collect())
            .index(PENDING, |pod: &Pod| marked(pod.is_pending()))
            .index(JEALOUS, |pod: &Pod| marked(!pod.spec.anti_affinity.is_empty()))
            .index(WITH_PORTS, |pod: &Pod| marked(!pod.spec.host_ports.is_empty()));
        let nodes = Cache::builder(&Resources::<Node>::all(client.clone())).map(|mut node: Node| {
            node.metadata.annotations = None;
            node
        });
        let classes = Cache::builder(&Resources::<PriorityClass>::all(client.clone()));
        let namespaces = Cache::builder(&Resources::<Namespace>::all(client.clone()));
        let storage_claims = Cache::builder(&Resources::<PersistentVolumeClaim>::all(client.clone()));
        let volumes = Cache::builder(&Resources::<PersistentVolume>::all(client.clone()));
        let storage_classes = Cache::builder(&Resources::<StorageClass>::all(client.clone()));
        let leases = Resources::<Lease>::namespaced(client.clone(), scheduler::LEASE_NAMESPACE);
        Self {
            orders: orders.recorder(recorder).build(),
            tickets: tickets.recorder(recorder).build(),
            pods: pods.recorder(recorder).build(),
            nodes: nodes.recorder(recorder).build(),
            classes: classes.recorder(recorder).build(),
            namespaces: namespaces.recorder(recorder).build(),
            leases: Cache::builder(&leases).recorder(recorder).build(),
            storage_claims: storage_claims.recorder(recorder).build(),
            volumes: volumes.recorder(recorder).build(),
            storage_classes: storage_classes.recorder(recorder).build(),
        }
    }

    /// Whether all have been filled, so that the controllers work.
    pub fn are_ready(&self) -> bool {
        let Self {
            orders,
            tickets,
            pods,
            nodes,
            classes,
            namespaces,
            leases,
            storage_claims,
            volumes,
            storage_classes,
        } = self;
        let own = orders.is_ready() && tickets.is_ready();
        let cluster = pods.is_ready() && nodes.is_ready() && classes.is_ready() && namespaces.is_ready();
        let storage = storage_claims.is_ready() && volumes.is_ready() && storage_classes.is_ready();
        own && cluster && storage && leases.is_ready()
    }

    /// Adds the filling of the caches to what an operator runs.
    pub fn run_by(&self, operator: Operator) -> Operator {
        let Self {
            orders,
            tickets,
            pods,
            nodes,
            classes,
            namespaces,
            leases,
            storage_claims,
            volumes,
            storage_classes,
        } = self;
        let operator = operator.cache(orders).cache(tickets).cache(pods).cache(nodes).cache(classes).cache(namespaces);
        operator.cache(storage_claims).cache(volumes).cache(storage_classes).cache(leases)
    }

    /// The Lease of the scheduler that a pod names.
    pub(crate) fn lease_of(&self, pod: &Pod) -> Option<Arc<Lease>> {
        let of = |name: &str| self.leases.get(&Key::namespaced(scheduler::LEASE_NAMESPACE, name));
        of(scheduler::lease_of(pod.spec.scheduler_name.as_deref())).or_else(|| of(scheduler::DEFAULT_LEASE))
    }

    /// The scheduler that a pod names.
    pub(crate) fn scheduler_of(&self, pod: &Pod) -> Scheduler {
        Scheduler::of(self.lease_of(pod).as_deref())
    }
}

/// The value of [`BY_ORDER`] for an order: an owner reference into another namespace names nobody.
pub fn order_value(namespace: &str, uid: &str) -> String {
    format!("{namespace}/{uid}")
}

fn nodes_of(ticket: &Ticket, phases: &[TicketPhase]) -> Vec<String> {
    let status = ticket.status.as_ref().filter(|_| phases.contains(&ticket.phase()));
    status.and_then(|status| status.node_name.clone()).into_iter().collect()
}

/// What an index of one value says of an object.
fn marked(is: bool) -> Vec<String> {
    if is { vec![String::new()] } else { vec![] }
}

/// Drops what nobody asks of the pod: most pods of a cluster are not korder's and have their place, and most of korder's
/// are guardians that have theirs.
fn slim(mut pod: Pod) -> Pod {
    if pod.spec.node_name.is_some() {
        pod.spec.constraints = None;
    }
    if pod.is_claimant() {
        return pod;
    }
    if pod.is_guardian() {
        // Those for autoscalers and the like. That there were some is kept: patches look at that.
        let kept = |annotations: BTreeMap<String, String>| {
            annotations.into_iter().filter(|(key, _)| key.starts_with(names::PREFIX)).collect()
        };
        pod.metadata.annotations = pod.metadata.annotations.map(kept);
    } else {
        let ObjectMeta { name, namespace, uid, resource_version, deletion_timestamp, .. } = pod.metadata;
        pod.metadata =
            ObjectMeta { name, namespace, uid, resource_version, deletion_timestamp, ..ObjectMeta::default() };
    }
    // Why a guardian has no place yet, or does not run, is of interest until it does.
    if !pod.is_guardian() || pod.is_running() {
        let PodStatus { phase, nominated_node_name, .. } = pod.status;
        pod.status = PodStatus { phase, nominated_node_name, ..PodStatus::default() };
    }
    pod
}
