//! Ticket: one unit of reserved capacity, held by a guardian pod until a business pod takes its place.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, Quantity};

/// What is reserved, for whom, and for how long. Immutable but for `lifecycle`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "core.korder.dev",
    version = "v1alpha1",
    kind = "Ticket",
    plural = "tickets",
    namespaced,
    status = "TicketStatus",
    shortname = "ktk",
    category = "korder",
    derive = "PartialEq",
    doc = "One unit of reserved capacity, held by a guardian pod until a business pod takes its place.",
    selectable = ".status.phase",
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a ticket has at most 63 characters"),
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.nodeName"}"#,
    printcolumn = r#"{"name":"Holder","type":"string","jsonPath":".status.claimRef.name"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".status.expirationTime"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Order","type":"string","priority":1,"jsonPath":".metadata.labels.korder\\.dev/order"}"#,
    printcolumn = r#"{"name":"CPU","type":"string","priority":1,"jsonPath":".spec.resources.requests.cpu"}"#,
    printcolumn = r#"{"name":"Memory","type":"string","priority":1,"jsonPath":".spec.resources.requests.memory"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.duration) != has(self.window)").message("exactly one of duration and window must be set"))]
pub struct TicketSpec {
    /// How long the capacity is held for nobody, counted from the moment it is ready, such as `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// A fixed time in which the capacity is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// How capacity is got that is not free: Wait (default) or Preempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquire: Option<Acquire>,
    /// What happens when the ticket ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Whether the ticket may be moved to another node while nobody has claimed it: Movable (default) leaves a node that is
    /// cordoned, drained, or about to be removed, Pinned stays as long as the node does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
    /// The capacity itself, as in a container.
    pub resources: Resources,
    /// The one node on which capacity is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node_name: Option<String>,
    /// Labels that the node must have, as in a pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Where the capacity may be, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Taints of a node that the claiming pods bear, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// How tickets are spread over the cluster, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The scheduler of the claiming pods; the cluster's default where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub scheduler_name: Option<String>,
    /// The priority class of the claiming pods; the cluster's default where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("!self.startsWith('system-')").message("system priority classes can't be reserved for"))]
    pub priority_class_name: Option<String>,
}

/// A fixed time in which capacity is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When the window opens: a time with its offset, or a local time that `timeZone` completes.
    #[schemars(length(max = 64))]
    pub start_time: String,
    /// IANA name of the time zone of `startTime`; UTC where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
    /// How long the window is open.
    pub duration: Duration,
}

/// How capacity is got that is not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Acquire {
    /// Wait until the scheduler finds a place.
    #[default]
    Wait,
    /// At its time, evict pods of lower priority.
    Preempt,
}

/// Whether an unclaimed ticket may be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Disruption {
    /// It leaves a node that is cordoned, and autoscalers may remove its node.
    #[default]
    Movable,
    /// It stays where it is, and autoscalers are asked to leave its node.
    Pinned,
}

/// What happens when a ticket ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Seconds that an expired ticket, or one whose pod has ended, is kept before it is deleted; 300 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// Delete (default) removes an ended ticket after its time, Retain keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_policy: Option<CleanupPolicy>,
    /// Keep (default) lets the pod of a used ticket run on when the time is over, Evict evicts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
    /// Never (default) ends the ticket with its pod, `OnDelete` takes the place back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
}

/// What becomes of an ended ticket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CleanupPolicy {
    /// It is deleted after `ttlSecondsAfterFinished`.
    #[default]
    Delete,
    /// It is kept until somebody deletes it.
    Retain,
}

/// What becomes of the pod of a used ticket when the ticket's time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExpiry {
    /// It runs on.
    #[default]
    Keep,
    /// It is evicted.
    Evict,
}

/// What becomes of the place when the pod of a used ticket goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reuse {
    /// The place is free for all.
    #[default]
    Never,
    /// A guardian takes it again.
    OnDelete,
}

/// Amounts of resources, as in a container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.requests) && self.requests.size() > 0) || (has(self.limits) && self.limits.size() > 0)")
        .message("requests or limits must name at least one resource"),
    // What is no quantity is told by itself.
    validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(key, !(key in self.limits) \
                            || !isQuantity(string(self.requests[key])) || !isQuantity(string(self.limits[key])) \
                            || quantity(string(self.requests[key])).compareTo(quantity(string(self.limits[key]))) <= 0)")
        .message("requests must not be above limits")
)]
pub struct Resources {
    /// What is reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: BTreeMap<String, Quantity>,
    /// The most that may be used; stands in for a request that is not given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: BTreeMap<String, Quantity>,
}

/// What korder has seen and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketStatus {
    /// Summary of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<TicketPhase>,
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The pod that the ticket was given to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // Boxed: most tickets have none.
    pub claim_ref: Option<Box<ClaimRef>>,
    /// The node on which the capacity is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node_name: Option<String>,
    /// The guardian: the pod that holds the capacity, or has held it until the claiming pod came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub guardian_name: Option<String>,
    /// When the capacity was first held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_time: Option<Time>,
    /// Until when it is held for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// When the ticket expired, was lost, or its pod ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// `Ready`: the place is held, or its pod has it. `Reconciling`, `Stalled`: as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// A point in time on the API.
pub type Time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The pod that a ticket was given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRef {
    /// Namespace of the pod.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the pod.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Uid of the pod: another pod of the same name has no claim.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// When the ticket was given to it.
    pub time: Time,
}

/// Where a ticket is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TicketPhase {
    /// Waiting for a place.
    Pending,
    /// The guardian runs on a node.
    Ready,
    /// Given to one pod; the place is being handed over.
    Claimed,
    /// That pod is bound to the place.
    Used,
    /// Its time was over before a pod came.
    Expired,
    /// The place could not be handed over.
    Lost,
}

impl TicketPhase {
    /// The phase of a ticket with this status, [`TicketPhase::Pending`] while none was written.
    pub fn of(status: Option<&TicketStatus>) -> Self {
        status.and_then(|status| status.phase).unwrap_or(Self::Pending)
    }

    /// The name that stands on the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Ready => "Ready",
            Self::Claimed => "Claimed",
            Self::Used => "Used",
            Self::Expired => "Expired",
            Self::Lost => "Lost",
        }
    }
}

impl Ticket {
    /// The phase, [`TicketPhase::Pending`] while no status was written.
    pub fn phase(&self) -> TicketPhase {
        TicketPhase::of(self.status.as_ref())
    }

    /// The pod that the ticket was given to.
    pub fn claim(&self) -> Option<&ClaimRef> {
        self.status.as_ref()?.claim_ref.as_deref()
    }
}

impl ClaimRef {
    /// The claim of a pod, made now.
    pub fn new(namespace: &str, name: &str, uid: &str, now: Timestamp) -> Self {
        Self { namespace: namespace.into(), name: name.into(), uid: uid.into(), time: Time { 0: now } }
    }
}
