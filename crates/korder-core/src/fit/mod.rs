//! Does a pod fit into the place of a ticket?
//!
//! By the rules of the scheduler's own filters (Kubernetes 1.36, `pkg/scheduler/framework/plugins`), with the ticket's
//! guardian counted as gone, and pods that have been given a ticket as there. A miss destroys a ticket: a pod with
//! anything that is not judged here yet does not fit, and where it is open which of two pods comes first, a pod must fit
//! either way.

mod affinity;
pub(crate) mod nodes;
mod ports;
mod refusals;
mod spread;
mod volumes;
mod world;

use std::cell::OnceCell;
use std::fmt;

use jiff::Timestamp;

use crate::node::Node;
use crate::pod::{HostPort, Pod, StorageClaim};
use crate::reasons;
use crate::resources::{Amounts, Shortage};
use affinity::Neighbours;
use spread::Domains;
use volumes::Volumes;

pub use refusals::Refusals;
pub use world::{Hopes, Scope, Surroundings, World};

/// Why a pod does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The ticket reserves too little.
    Resources(Shortage),
    /// The node lacks a label that the pod's node selector names.
    NodeSelector {
        /// The label's key.
        key: String,
        /// The value that the pod wants.
        value: String,
    },
    /// The pod's required node affinity rules the node out.
    NodeAffinity,
    /// The node has a taint that the pod does not bear.
    Taint {
        /// The taint's key.
        key: String,
        /// The taint's effect.
        effect: String,
    },
    /// A port of the node is taken.
    HostPort(HostPort),
    /// A volume is not there, or not within reach; in words.
    Storage(String),
    /// The node lacks a label by which the pod's kind is to be spread.
    NoTopology(String),
    /// The pod's kind would be spread too unevenly.
    Spread {
        /// The label whose values are the domains.
        topology_key: String,
        /// How many pods more the node's domain would have than the one with the fewest.
        skew: i64,
        /// How many it may have.
        allowed: i64,
    },
    /// There is no pod near that the pod must be near to.
    PodAffinity,
    /// There is a pod near that must not be.
    PodAntiAffinity {
        /// Whose rule it is.
        of: &'static str,
        /// The label whose values are the places.
        topology_key: String,
    },
    /// The guardian's priority is above the pod's: others could take the place from the pod.
    Priority {
        /// Priority of the guardian.
        guardian: i32,
        /// Priority of the pod.
        pod: i32,
    },
    /// A pod of higher priority waits for a place, and would take this one.
    HigherPriority {
        /// Namespace and name of that pod.
        rival: String,
    },
    /// Another scheduler than the guardian's places the pod.
    Scheduler(String),
    /// The scheduler has refused such a pod there; it is not tried again until then.
    Refused(Timestamp),
    /// The pod asks for something that is not judged yet.
    NotSupportedYet(&'static str),
}

impl Misfit {
    /// The reason in one word, as it stands in conditions.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotSupportedYet(_) => reasons::NOT_SUPPORTED_YET,
            Self::HigherPriority { .. } => reasons::HIGHER_PRIORITY_WAITING,
            _ => reasons::NO_TICKET_FITS,
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resources(shortage) => write!(f, "{shortage}"),
            Self::NodeSelector { key, value } => write!(f, "the node has no label `{key}={value}`"),
            Self::NodeAffinity => f.write_str("the pod's node affinity rules the node out"),
            Self::Taint { key, effect } => write!(f, "the node has the taint `{key}:{effect}`"),
            Self::HostPort(HostPort { port, protocol, .. }) => {
                write!(f, "the host port `{port}/{protocol}` is taken on the node")
            }
            Self::Storage(what) => f.write_str(what),
            Self::NoTopology(key) => write!(f, "the node has no label `{key}`"),
            Self::Spread { topology_key, skew, allowed } => {
                write!(f, "its `{topology_key}` would have {skew} pods more than another, and {allowed} is the most")
            }
            Self::PodAffinity => f.write_str("no pod is near that the pod's affinity asks for"),
            Self::PodAntiAffinity { of, topology_key } => {
                write!(f, "{of} anti-affinity keeps it away from other pods with the same `{topology_key}`")
            }
            Self::Priority { guardian, pod } => write!(f, "reserved for priority {guardian}, the pod has {pod}"),
            Self::HigherPriority { rival } => {
                write!(f, "pod `{rival}` of higher priority waits for a place and would take this one")
            }
            Self::Scheduler(name) => write!(f, "the pod's scheduler is `{name}`"),
            Self::Refused(until) => {
                write!(f, "the scheduler refused such a pod there, it is not tried until {until:.0}")
            }
            Self::NotSupportedYet(what) => write!(f, "pods with {what} can't claim a ticket yet"),
        }
    }
}

/// What a waiting pod needs, worked out once for all tickets.
#[derive(Debug)]
pub struct Needs<'w> {
    pod: &'w Pod,
    world: &'w World<'w>,
    neighbours: OnceCell<Neighbours<'w>>,
    domains: OnceCell<Vec<Domains<'w>>>,
    volumes: OnceCell<Result<Volumes<'w>, Misfit>>,
    shape: OnceCell<u64>,
}

impl<'w> Needs<'w> {
    /// The needs of a pod in this world.
    pub fn of(pod: &'w Pod, world: &'w World<'w>) -> Self {
        Self {
            pod,
            world,
            neighbours: OnceCell::new(),
            domains: OnceCell::new(),
            volumes: OnceCell::new(),
            shape: OnceCell::new(),
        }
    }

    /// Why the pod fits nowhere, if there is a reason that has nothing to do with a node.
    pub fn misfit_anywhere(&self) -> Option<Misfit> {
        let misfit = not_supported_yet(self.pod).map(Misfit::NotSupportedYet).or_else(|| self.volumes().err());
        misfit.inspect(|misfit| self.world.note(misfit))
    }

    /// Why the pod does not fit into a place of these amounts, held by this guardian on this node.
    pub fn misfit(&self, reserved: &Amounts, guardian: &Pod, node: &Node) -> Option<Misfit> {
        let misfit = self
            .beyond_ticket(reserved, guardian)
            .or_else(|| self.beyond_node(guardian, node))
            .or_else(|| self.refused(node))
            .or_else(|| self.outranked(guardian, node));
        misfit.inspect(|misfit| self.world.note(misfit))
    }

    /// How much of a place the pod would leave unused: thousandths of each resource, summed.
    pub fn waste(&self, reserved: &Amounts) -> i64 {
        self.pod.spec.requests.waste(reserved)
    }

    /// What the ticket does not give.
    fn beyond_ticket(&self, reserved: &Amounts, guardian: &Pod) -> Option<Misfit> {
        if let Some(shortage) = self.pod.spec.requests.shortage(reserved) {
            return Some(Misfit::Resources(shortage));
        }
        let (guardian_priority, pod_priority) = (priority(guardian), priority(self.pod));
        if guardian_priority > pod_priority {
            return Some(Misfit::Priority { guardian: guardian_priority, pod: pod_priority });
        }
        let same_scheduler = self.pod.spec.scheduler_name == guardian.spec.scheduler_name;
        (!same_scheduler).then(|| Misfit::Scheduler(self.pod.spec.scheduler_name.clone().unwrap_or_default()))
    }

    /// What the node and those who are on it do not allow.
    fn beyond_node(&self, guardian: &Pod, node: &Node) -> Option<Misfit> {
        let Self { pod, world, .. } = *self;
        nodes::misfit(pod.constraints(), node)
            .or_else(|| ports::misfit(pod, node, world))
            .or_else(|| self.volumes().map_or_else(Some, |volumes| volumes.misfit(node, world)))
            .or_else(|| self.domains().iter().find_map(|domains| domains.misfit(pod, node, guardian)))
            .or_else(|| self.neighbours().misfit(pod, node, guardian, world))
    }

    fn refused(&self, node: &Node) -> Option<Misfit> {
        let shape = *self.shape.get_or_init(|| refusals::shape(self.pod));
        self.world.refused_until(shape, node).map(Misfit::Refused)
    }

    /// The pod that would take the place whatever korder does: one of higher priority that waits for one and could use
    /// what is free on the node without this guardian, and not without that place.
    fn outranked(&self, guardian: &Pod, node: &Node) -> Option<Misfit> {
        let stronger = |rival: &&&Pod| priority(rival) > priority(self.pod);
        let mut rivals = self.world.pending.iter().take_while(stronger).peekable();
        rivals.peek()?;
        let mut free = self.world.free_without(guardian, node);
        // The place among the pods that the guardian has counts too.
        let mut place = guardian.spec.requests.clone();
        place.add_pods(1);
        let takes_the_place = |rival: &&&Pod| {
            let mut wanted = rival.spec.requests.clone();
            wanted.add_pods(1);
            let could_use = rival.spec.scheduler_name == self.pod.spec.scheduler_name
                // What may keep it away for good must not keep everybody else waiting.
                && not_supported_yet(rival).is_none()
                && wanted.shortage(&free).is_none()
                && Needs::of(rival, self.world).beyond_node(guardian, node).is_none();
            if !could_use {
                return false;
            }
            // What leaves room for the place takes nothing from it, wherever the scheduler puts it: if it is refused all the
            // same, for what is not judged here, nobody need wait for it.
            free.subtract(&wanted);
            place.shortage(&free).is_some()
        };
        let rival = rivals.find(takes_the_place)?;
        Some(Misfit::HigherPriority { rival: format!("{}/{}", rival.namespace(), rival.name()) })
    }

    fn neighbours(&self) -> &Neighbours<'w> {
        self.neighbours.get_or_init(|| Neighbours::of(self.pod, self.world))
    }

    fn domains(&self) -> &[Domains<'w>] {
        self.domains.get_or_init(|| spread::domains(self.pod, self.world))
    }

    fn volumes(&self) -> Result<&Volumes<'w>, Misfit> {
        self.volumes.get_or_init(|| Volumes::of(self.pod, self.world)).as_ref().map_err(Clone::clone)
    }
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.priority.unwrap_or(0)
}

/// A number that pods share that fit into the same places; none for a pod that is the only one of its kind.
pub fn kind(pod: &Pod) -> Option<u64> {
    // An ephemeral volume is of one pod only, and has its name.
    let own = |claim: &StorageClaim| matches!(claim, StorageClaim::Ephemeral(_));
    (!pod.spec.claims.iter().any(own)).then(|| refusals::shape(pod))
}

/// The first thing that decides a place and is not judged yet.
fn not_supported_yet(pod: &Pod) -> Option<&'static str> {
    let wants = pod.constraints();
    if wants.has_resource_claims {
        Some("a resource claim")
    } else if wants.has_inline_disk {
        Some("a disk that the pod names itself")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
