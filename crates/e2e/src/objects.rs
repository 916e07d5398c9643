//! Orders, tickets, pods and nodes to create.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, Node, NodeSpec, NodeStatus, Pod, PodSchedulingGate, PodSpec, ResourceRequirements, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource;
use korder_api::order::{OrderSpec, RefreshPolicy, Strategy, TicketTemplate};
use korder_api::ticket::Resources;
use korder_api::{Order, Quantity, Ticket, TicketSpec, names};
use kube::api::ObjectMeta;

/// The annotation of nodes that are simulated: KWOK runs the pods that are bound to them.
pub(crate) const SIMULATED: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// Label and taint of nodes that were made for one test, whose name is the value.
pub const OWN_NODE: &str = "e2e.korder.dev/node-of";
/// An image that is never run on simulated nodes, and does nothing on others.
const IMAGE: &str = "registry.k8s.io/pause:3.10.1";

/// An amount of CPU and memory, in Kubernetes' notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// As `500m`.
    pub cpu: &'static str,
    /// As `1Gi`.
    pub memory: &'static str,
}

impl Size {
    /// What the documents' examples reserve.
    pub const SMALL: Self = Self { cpu: "500m", memory: "1Gi" };

    fn quantities(self) -> BTreeMap<String, resource::Quantity> {
        [("cpu", self.cpu), ("memory", self.memory)]
            .map(|(name, amount)| (name.to_owned(), resource::Quantity(amount.to_owned())))
            .into()
    }

    fn requests(self) -> Resources {
        let quantity = |text: &str| text.parse::<Quantity>().expect("sizes are written by hand in tests");
        let requests = [("cpu", self.cpu), ("memory", self.memory)];
        Resources {
            requests: requests.map(|(name, amount)| (name.to_owned(), quantity(amount))).into(),
            ..Resources::default()
        }
    }
}

/// A ticket's spec: this much for an hour.
pub fn ticket_spec(size: Size) -> TicketSpec {
    let duration = "1h".parse().expect("a duration");
    TicketSpec { duration: Some(duration), resources: size.requests(), ..TicketSpec::default() }
}

/// A ticket of nobody's order.
pub fn ticket(name: &str, size: Size) -> Ticket {
    Ticket::new(name, ticket_spec(size))
}

/// An order of so many tickets of this size, each for an hour, with the default strategy.
pub fn order(name: &str, replicas: i32, size: Size) -> Order {
    let template = TicketTemplate { metadata: None, spec: ticket_spec(size) };
    Order::new(name, OrderSpec { replicas: Some(replicas), template: Some(template), ..OrderSpec::default() })
}

/// A strategy that differs from the default by its refresh policy.
pub fn refreshed(policy: RefreshPolicy) -> Strategy {
    Strategy { refresh_policy: Some(policy), ..Strategy::default() }
}

/// A pod of this size that does nothing and goes at once when it is deleted.
pub fn pod(name: &str, size: Size) -> Pod {
    let container = Container {
        name: "app".to_owned(),
        image: Some(IMAGE.to_owned()),
        resources: Some(ResourceRequirements { requests: Some(size.quantities()), ..ResourceRequirements::default() }),
        ..Container::default()
    };
    Pod {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: Some(PodSpec {
            containers: vec![container],
            termination_grace_period_seconds: Some(0),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// A pod that asks for a ticket of an order.
pub fn claimant(name: &str, order: &str, size: Size) -> Pod {
    let mut pod = pod(name, size);
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(names::ANNOTATION_REQUIRED.to_owned(), "true".to_owned());
    annotations.insert(names::ANNOTATION_ORDER.to_owned(), order.to_owned());
    pod
}

/// The pod with annotations of korder's, whose keys are given without `korder.dev/`, and no others.
#[must_use]
pub fn asking(mut pod: Pod, annotations: &[(&str, &str)]) -> Pod {
    let annotations = annotations.iter().map(|(key, value)| (format!("korder.dev/{key}"), (*value).to_owned()));
    pod.metadata.annotations = Some(annotations.collect());
    pod
}

/// A pod or an order whose limits are its requests.
pub trait Guaranteed {
    /// Sets the limits.
    #[must_use]
    fn guaranteed(self) -> Self;
}

impl Guaranteed for Pod {
    fn guaranteed(mut self) -> Self {
        for container in &mut self.spec.get_or_insert_default().containers {
            let resources = container.resources.get_or_insert_default();
            resources.limits.clone_from(&resources.requests);
        }
        self
    }
}

impl Guaranteed for Order {
    fn guaranteed(mut self) -> Self {
        if let Some(template) = &mut self.spec.template {
            template.spec.resources.limits.clone_from(&template.spec.resources.requests);
        }
        self
    }
}

/// Holds a pod back by a gate.
#[must_use]
pub fn gated(mut pod: Pod, gate: &str) -> Pod {
    let gate = PodSchedulingGate { name: gate.to_owned() };
    pod.spec.get_or_insert_default().scheduling_gates.get_or_insert_default().push(gate);
    pod
}

/// A simulated node of this size, with room for 110 pods, for the pods of one owner only: by label and taint.
pub fn node(name: &str, owner: &str, size: Size) -> Node {
    let mut allocatable = size.quantities();
    allocatable.insert("pods".to_owned(), resource::Quantity("110".to_owned()));
    let labels = [
        (OWN_NODE, owner),
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
    ];
    let taint = Taint {
        key: OWN_NODE.to_owned(),
        value: Some(owner.to_owned()),
        effect: "NoSchedule".to_owned(),
        time_added: None,
    };
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            annotations: Some([(SIMULATED.0.to_owned(), SIMULATED.1.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec { taints: Some(vec![taint]), ..NodeSpec::default() }),
        // From the start: a node that appears without it gets what KWOK gives nodes.
        status: Some(NodeStatus {
            allocatable: Some(allocatable.clone()),
            capacity: Some(allocatable),
            ..NodeStatus::default()
        }),
    }
}

/// What a pod needs to be put on the nodes of an owner, and nowhere else.
pub trait OnNodesOf {
    /// Sets node selector and toleration.
    #[must_use]
    fn on_nodes_of(self, owner: &str) -> Self;

    /// Adds a label that the node must have.
    #[must_use]
    fn with_node_label(self, key: &str, value: &str) -> Self;

    /// Pins it to one node.
    #[must_use]
    fn on_node(self, node: &str) -> Self
    where
        Self: Sized,
    {
        self.with_node_label("kubernetes.io/hostname", node)
    }
}

fn toleration(owner: &str) -> Toleration {
    Toleration {
        key: Some(OWN_NODE.to_owned()),
        operator: Some("Equal".to_owned()),
        value: Some(owner.to_owned()),
        effect: Some("NoSchedule".to_owned()),
        toleration_seconds: None,
    }
}

impl OnNodesOf for PodSpec {
    fn on_nodes_of(mut self, owner: &str) -> Self {
        self.tolerations.get_or_insert_default().push(toleration(owner));
        self.with_node_label(OWN_NODE, owner)
    }

    fn with_node_label(mut self, key: &str, value: &str) -> Self {
        self.node_selector.get_or_insert_default().insert(key.to_owned(), value.to_owned());
        self
    }
}

impl OnNodesOf for Pod {
    fn on_nodes_of(self, owner: &str) -> Self {
        Self { spec: Some(self.spec.unwrap_or_default().on_nodes_of(owner)), ..self }
    }

    fn with_node_label(self, key: &str, value: &str) -> Self {
        Self { spec: Some(self.spec.unwrap_or_default().with_node_label(key, value)), ..self }
    }
}

impl OnNodesOf for TicketSpec {
    fn on_nodes_of(mut self, owner: &str) -> Self {
        self.tolerations.push(toleration(owner));
        self.with_node_label(OWN_NODE, owner)
    }

    fn with_node_label(mut self, key: &str, value: &str) -> Self {
        self.node_selector.insert(key.to_owned(), value.to_owned());
        self
    }
}

impl OnNodesOf for Ticket {
    fn on_nodes_of(self, owner: &str) -> Self {
        Self { spec: self.spec.on_nodes_of(owner), ..self }
    }

    fn with_node_label(self, key: &str, value: &str) -> Self {
        Self { spec: self.spec.with_node_label(key, value), ..self }
    }
}

impl OnNodesOf for Order {
    fn on_nodes_of(mut self, owner: &str) -> Self {
        self.spec.template = self.spec.template.map(|of| TicketTemplate { spec: of.spec.on_nodes_of(owner), ..of });
        self
    }

    fn with_node_label(mut self, key: &str, value: &str) -> Self {
        let template = self.spec.template;
        self.spec.template = template.map(|of| TicketTemplate { spec: of.spec.with_node_label(key, value), ..of });
        self
    }
}
