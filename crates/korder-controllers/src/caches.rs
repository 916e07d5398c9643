//! What the controllers see of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::scheduling::v1::PriorityClass;
use kooper::{Cache, Key, Operator, Recorder, Resources};
use korder_api::{Inventory, Item, Order, Stock, TicketPhase, names};
use korder_core::ask::Group;
use korder_core::handover::waits;
use korder_core::inventory::request::{Stage, is_request, stage};
use korder_core::inventory::{full_name, variant};
use korder_core::namespace::Namespace;
use korder_core::node::Node;
use korder_core::pod::{Pod, PodStatus};
use korder_core::reasons;
use korder_core::scheduler::{self, Lease, Scheduler};
use korder_core::stock::job::{Job, Worker};
use korder_core::stock::sku;
use korder_core::storage::{PersistentVolume, PersistentVolumeClaim, StorageClass};
use korder_core::ticket::Ticket;
use kube::Client;
use kube::api::ObjectMeta;
use kube::runtime::watcher;

use crate::shared::Shared;
use crate::stocks::stock_value;

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

/// Index of orders by what they ask for, as [`asks_for_inventory`] and [`asks_for_sku`] write it, and by the inventory that they
/// stand at, as [`stands_at`] writes it.
pub const BY_TARGET: &str = "target";
/// Index of orders by uid.
pub const BY_UID: &str = "uid";
/// Index of stocks by their inventory, as `NAMESPACE/NAME`.
pub const BY_INVENTORY: &str = "inventory";
/// Index of inventories by the one that they are variants of, as `NAMESPACE/NAME`.
pub const VARIANTS: &str = "variants";
/// Index of inventories by the identity of their item, as `NAMESPACE/SKU`.
pub const BY_SKU: &str = "sku";

/// Index of the pods that the scheduler looks for a place for; its one value is the empty string.
pub const PENDING: &str = "pending";
/// Index of the pods that keep others away; its one value is the empty string.
pub const JEALOUS: &str = "jealous";
/// Index of the pods with host ports; its one value is the empty string.
pub const WITH_PORTS: &str = "with-ports";

/// Index of the Jobs that run for stock, and of their pods, by the stock's namespace and name.
pub const BY_STOCK: &str = "stock";

/// The caches, one of each kind, shared by the controllers.
#[derive(Clone, Debug)]
pub struct Caches {
    /// Orders.
    pub orders: Cache<Order>,
    /// Tickets.
    pub tickets: Cache<Ticket>,
    /// Inventories.
    pub inventories: Cache<Inventory>,
    /// Units of stock.
    pub stocks: Cache<Stock>,
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
    /// Jobs that make units, and those that run for units later.
    pub jobs: Cache<Job>,
    /// The pods of such Jobs, which a cache of all pods would have to keep whole.
    pub workers: Cache<Worker>,
}

impl Caches {
    /// Empty caches of the whole cluster.
    pub fn new(client: &Client, recorder: &Recorder) -> Self {
        let orders = Cache::builder(&Resources::<Order>::all(client.clone()))
            .index(BY_TARGET, targets)
            .index(BY_UID, |order: &Order| {
                order.metadata.uid.clone().filter(|_| is_request(order)).into_iter().collect()
            });
        let inventories = Cache::builder(&Resources::<Inventory>::all(client.clone()))
            .index(VARIANTS, |inventory: &Inventory| {
                let namespace = inventory.metadata.namespace.as_deref().unwrap_or_default();
                variant::base_of(inventory).map(|base| format!("{namespace}/{base}")).into_iter().collect()
            })
            .index(BY_SKU, |inventory: &Inventory| {
                sku_value(inventory.metadata.namespace.as_deref(), &inventory.spec.item)
            });
        let items = Shared::default();
        let stocks = Cache::builder(&Resources::<Stock>::all(client.clone()))
            .map(move |mut stock: Stock| {
                stock.spec.item = items.share(stock.spec.sku.clone(), stock.spec.item);
                stock
            })
            .index(BY_INVENTORY, |stock: &Stock| {
                let namespace = stock.metadata.namespace.as_deref().unwrap_or_default();
                vec![format!("{namespace}/{}", stock.spec.inventory_name)]
            });
        let templates = Shared::default();
        let tickets = Cache::builder(&Resources::<Ticket>::all(client.clone()))
            .map(move |mut ticket: Ticket| {
                let order = ticket.order().map(|(_, uid)| uid.to_owned()).unwrap_or_default();
                ticket.template = templates.share(order, ticket.template);
                ticket
            })
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
        let of_stock = || watcher::Config::default().labels(names::LABEL_STOCK);
        let jobs = Cache::builder(&Resources::<Job>::all(client.clone()).with_config(of_stock()))
            .index(BY_STOCK, stock_value::<Job>);
        let workers = Cache::builder(&Resources::<Worker>::all(client.clone()).with_config(of_stock()))
            .index(BY_STOCK, stock_value::<Worker>);
        let leases = Resources::<Lease>::namespaced(client.clone(), scheduler::LEASE_NAMESPACE);
        Self {
            orders: orders.recorder(recorder).build(),
            inventories: inventories.recorder(recorder).build(),
            stocks: stocks.recorder(recorder).build(),
            tickets: tickets.recorder(recorder).build(),
            pods: pods.recorder(recorder).build(),
            nodes: nodes.recorder(recorder).build(),
            classes: classes.recorder(recorder).build(),
            namespaces: namespaces.recorder(recorder).build(),
            leases: Cache::builder(&leases).recorder(recorder).build(),
            storage_claims: storage_claims.recorder(recorder).build(),
            volumes: volumes.recorder(recorder).build(),
            storage_classes: storage_classes.recorder(recorder).build(),
            jobs: jobs.recorder(recorder).build(),
            workers: workers.recorder(recorder).build(),
        }
    }

    /// Whether all have been filled, so that the controllers work.
    pub fn are_ready(&self) -> bool {
        let Self {
            orders,
            tickets,
            inventories,
            stocks,
            pods,
            nodes,
            classes,
            namespaces,
            leases,
            storage_claims,
            volumes,
            storage_classes,
            jobs,
            workers,
        } = self;
        let own = orders.is_ready() && tickets.is_ready() && inventories.is_ready() && stocks.is_ready();
        let cluster = pods.is_ready() && nodes.is_ready() && classes.is_ready() && namespaces.is_ready();
        let storage = storage_claims.is_ready() && volumes.is_ready() && storage_classes.is_ready();
        let production = jobs.is_ready() && workers.is_ready();
        own && cluster && storage && production && leases.is_ready()
    }

    /// Adds the filling of the caches to what an operator runs.
    pub fn run_by(&self, operator: Operator) -> Operator {
        let Self {
            orders,
            tickets,
            inventories,
            stocks,
            pods,
            nodes,
            classes,
            namespaces,
            leases,
            storage_claims,
            volumes,
            storage_classes,
            jobs,
            workers,
        } = self;
        let operator = operator.cache(orders).cache(tickets).cache(pods).cache(nodes).cache(classes).cache(namespaces);
        let operator = operator.cache(inventories).cache(stocks).cache(jobs).cache(workers);
        operator.cache(storage_claims).cache(volumes).cache(storage_classes).cache(leases)
    }

    /// The inventory that serves orders for an item, given as `NAMESPACE/SKU`: of several one that a user made, and of those the
    /// first by name, so that all orders stand in one line.
    pub(crate) fn inventory_of(&self, sku: &str) -> Option<Arc<Inventory>> {
        let made_for_orders = |one: &Inventory| {
            one.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(names::ANNOTATION_MADE_FOR_ORDERS))
        };
        let candidates = self.inventories.by_index(BY_SKU, sku).into_iter();
        // A variant serves who asks for it by the inventory's name: its item is not what the others of the namespace ask for.
        candidates
            .filter(|one| one.metadata.deletion_timestamp.is_none() && variant::base_of(one).is_none())
            .min_by_key(|one| (made_for_orders(one), one.metadata.name.clone()))
    }

    /// Who serves an order for stock.
    pub(crate) fn serving(&self, order: &Order) -> Serving {
        if let Some(item) = &order.spec.item {
            let sku = sku_value(order.metadata.namespace.as_deref(), item).pop();
            return sku.and_then(|sku| self.inventory_of(&sku)).map_or(Serving::Nobody, Serving::By);
        }
        let named = named_inventory(order).and_then(|name| key_of(&name)).and_then(|key| self.inventories.get(&key));
        let Some((base, asked)) = named.zip(order.spec.inventory_ref.as_ref()) else { return Serving::Nobody };
        if asked.inputs.is_empty() {
            return Serving::By(base);
        }
        // Whatever its variants say, which follow it a moment later; and who is not admitted has none made.
        let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
        let known = self.namespaces.get(&Key::cluster(namespace));
        if let Some(why) = variant::not_admitted(&base, namespace, known.as_ref().map(|known| known.labels())) {
            return Serving::Refused(Refusal { reason: reasons::NOT_ALLOWED, why });
        }
        let invalid = |why: String| Serving::Refused(Refusal { reason: reasons::INVALID_INPUT, why });
        match variant::of(&base, &asked.inputs) {
            Err(why) => invalid(why),
            Ok((name, item)) => {
                let key = Key { namespace: base.metadata.namespace.clone(), name };
                match self.inventories.get(&key) {
                    Some(there) if there.spec.item == item => Serving::By(there),
                    Some(there) => {
                        invalid(format!("the variant's name `{}` is taken by another inventory", full_name(&there)))
                    }
                    None => Serving::Variant(base, key.name, Box::new(item)),
                }
            }
        }
    }

    /// The variants of an inventory.
    pub(crate) fn variants(&self, base: &Inventory) -> Vec<Arc<Inventory>> {
        self.inventories.by_index(VARIANTS, &full_name(base))
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

/// The value of [`BY_TARGET`] for orders that ask for an inventory, given as `NAMESPACE/NAME`.
pub fn asks_for_inventory(inventory: &str) -> String {
    format!("inventory:{inventory}")
}

/// The value of [`BY_TARGET`] for orders that ask for an item, given as `NAMESPACE/SKU`.
pub fn asks_for_sku(sku: &str) -> String {
    format!("sku:{sku}")
}

/// The value of [`BY_TARGET`] for orders that stand in line at an inventory, given as `NAMESPACE/NAME`, or have units of it.
pub fn stands_at(inventory: &str) -> String {
    format!("at:{inventory}")
}

/// Who serves an order for stock.
#[derive(Clone, Debug)]
pub(crate) enum Serving {
    /// This inventory.
    By(Arc<Inventory>),
    /// A variant of this inventory that is not there yet, of this name and item.
    Variant(Arc<Inventory>, String, Box<Item>),
    /// Nobody, for what it asks, or from where.
    Refused(Refusal),
    /// Nobody that is there.
    Nobody,
}

/// Why nobody serves an order for stock.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The reason of its condition.
    pub(crate) reason: &'static str,
    /// The same in words.
    pub(crate) why: String,
}

/// The inventory that an order asks for by name, as `NAMESPACE/NAME`.
pub(crate) fn named_inventory(order: &Order) -> Option<String> {
    let named = order.spec.inventory_ref.as_ref()?;
    let namespace = named.namespace.as_deref().or(order.metadata.namespace.as_deref()).unwrap_or_default();
    Some(format!("{namespace}/{}", named.name))
}

fn targets(order: &Order) -> Vec<String> {
    if !is_request(order) {
        return vec![];
    }
    let mut targets = Vec::new();
    let status = order.status.as_ref();
    if stage(order) == Stage::Waiting {
        targets.extend(named_inventory(order).map(|inventory| asks_for_inventory(&inventory)));
        let skus = order.spec.item.as_ref().map(|item| sku_value(order.metadata.namespace.as_deref(), item));
        targets.extend(skus.into_iter().flatten().map(|sku| asks_for_sku(&sku)));
    }
    // One that is over has nothing to do with its inventory any more, however long it is kept.
    let stands = status.filter(|_| stage(order) != Stage::Finished).and_then(|status| status.inventory.as_deref());
    targets.extend(stands.map(stands_at));
    targets
}

/// The key of an object, given as `NAMESPACE/NAME`.
pub(crate) fn key_of(full_name: &str) -> Option<Key> {
    full_name.split_once('/').map(|(namespace, name)| Key::namespaced(namespace, name))
}

/// `NAMESPACE/SKU` of an item.
pub(crate) fn sku_value(namespace: Option<&str>, item: &Item) -> Vec<String> {
    let namespace = namespace.unwrap_or_default();
    sku::of(item, namespace).map(|sku| format!("{namespace}/{sku}")).into_iter().collect()
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
