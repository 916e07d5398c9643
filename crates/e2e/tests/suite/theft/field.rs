//! Full nodes.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};
use e2e::audit::Capacity;
use e2e::objects::{self, Guaranteed as _, Size};
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::{Node, Pod};
use korder_api::Order;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};

use crate::pods::node_of;

/// Which nodes there are, how many places each has room for, and what a place is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    nodes: Nodes,
    /// So many places fill a node.
    guardians: usize,
    /// What each place is.
    place: Size,
    /// Whether limits are the requests, so that containers may have CPUs for themselves.
    guaranteed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Nodes {
    Simulated {
        count: usize,
        size: Size,
    },
    /// One, whose room is made to fit.
    Real {
        place_millis: i64,
    },
}

impl Layout {
    /// No two hand-overs meet on a node.
    pub(super) const ONE: Self = Self {
        nodes: Nodes::Simulated { count: 12, size: Size::SMALL },
        guardians: 1,
        place: Size::SMALL,
        guaranteed: false,
    };
    /// Hand-overs meet on every node.
    pub(super) const EIGHT: Self = Self {
        nodes: Nodes::Simulated { count: 3, size: Size { cpu: "4", memory: "8Gi" } },
        guardians: 8,
        place: Size::SMALL,
        guaranteed: false,
    };
    /// Places are containers.
    pub(super) const REAL: Self = Self {
        nodes: Nodes::Real { place_millis: 50 },
        guardians: 12,
        place: Size { cpu: "50m", memory: "32Mi" },
        guaranteed: false,
    };
    /// The place is a whole CPU.
    pub(super) const WHOLE_CPU: Self = Self {
        nodes: Nodes::Real { place_millis: 1000 },
        guardians: 1,
        place: Size { cpu: "1", memory: "32Mi" },
        guaranteed: true,
    };
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nodes {
            Nodes::Real { .. } => write!(f, "{} of {} CPU on a real node", self.guardians, self.place.cpu),
            Nodes::Simulated { .. } => write!(f, "{} a node", self.guardians),
        }
    }
}

/// Full nodes, and nothing else in the namespace of a test.
pub(super) struct Field<'a> {
    /// The test.
    pub(super) case: &'a Case,
    /// How they are laid out.
    pub(super) layout: Layout,
    /// Names of the nodes.
    pub(super) nodes: Vec<String>,
    capacity: Vec<Node>,
}

impl<'a> Field<'a> {
    pub(super) async fn new(case: &'a Case, layout: Layout) -> Result<Self> {
        let capacity = match layout.nodes {
            Nodes::Simulated { count, size } => {
                case.add_nodes(count, size).await?;
                let own = ListParams::default().labels(&format!("{}={}", objects::OWN_NODE, case.namespace()));
                Api::<Node>::all(case.client()).list(&own).await?.items
            }
            Nodes::Real { place_millis } => {
                vec![case.take_real_node(i64::try_from(layout.guardians)? * place_millis).await?]
            }
        };
        Ok(Self { case, layout, nodes: capacity.iter().map(Node::name_any).collect(), capacity })
    }

    /// A pod that fits a place.
    pub(super) fn pod(&self, name: &str) -> Pod {
        let pod = self.case.pod(name, self.layout.place);
        if self.layout.guaranteed { pod.guaranteed() } else { pod }
    }

    /// One that asks for a ticket of an order.
    pub(super) fn claimant(&self, name: &str, order: &str) -> Pod {
        let pod = self.case.claimant(name, order, self.layout.place);
        if self.layout.guaranteed { pod.guaranteed() } else { pod }
    }

    /// An order of all places.
    pub(super) fn order(&self, name: &str) -> Result<Order> {
        let order = self.case.order(name, i32::try_from(self.places())?, self.layout.place);
        Ok(if self.layout.guaranteed { order.guaranteed() } else { order })
    }

    /// Guardians on each node.
    pub(super) fn guardians(&self) -> usize {
        self.layout.guardians
    }

    /// How many places there are in all.
    pub(super) fn places(&self) -> usize {
        self.nodes.len() * self.guardians()
    }

    /// Waits until all places are taken.
    pub(super) async fn is_full(&self) -> Result<()> {
        let guardians = self.guardians();
        let full = |log: &Log<Pod>| {
            let mut running: BTreeMap<&str, usize> = BTreeMap::new();
            for pod in log.objects().filter(|pod| is_running(pod)) {
                *running.entry(node_of(pod)?).or_default() += 1;
            }
            self.nodes.iter().all(|node| running.get(node.as_str()) == Some(&guardians)).then_some(())
        };
        self.case.pods.until(format!("{guardians} guardians run on each node"), full).await
    }

    /// Removes orders and pods, and waits until they are gone.
    pub(super) async fn clear(&self) -> Result<()> {
        let (now, all) = (DeleteParams::background().grace_period(0), ListParams::default());
        self.case.api::<Order>().delete_collection(&now, &all).await?;
        self.case.tickets.until("the tickets are gone", |log| log.objects().next().is_none().then_some(())).await?;
        self.case.api::<Pod>().delete_collection(&now, &all).await?;
        self.case.pods.until("the pods are gone", |log| log.objects().next().is_none().then_some(())).await
    }

    /// So many claimants are nominated.
    pub(super) async fn claimants_are_nominated(&self, count: usize) -> Result<()> {
        let nominated = |log: &Log<Pod>| {
            let node = |pod: &Pod| pod.status.as_ref()?.nominated_node_name.clone();
            (log.objects().filter(|pod| node(pod).is_some()).count() == count).then_some(())
        };
        self.case.pods.until(format!("{count} claimants are nominated"), nominated).await
    }

    /// Judges the whole history: at no moment may there have been more on a node than fits.
    pub(super) fn audit(&self) -> Result<()> {
        let mut capacity = Capacity::of(&self.capacity);
        for event in self.case.pods.log().events() {
            capacity.see(event.change, &event.object);
        }
        let objections = capacity.objections();
        ensure!(objections.is_empty(), "more on a node than fits:\n{}", objections.join("\n"));
        Ok(())
    }
}

/// Whether it runs, and shall go on.
pub(super) fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}
