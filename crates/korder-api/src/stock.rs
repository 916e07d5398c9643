//! Stock: one unit of an inventory.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::item::Item;

/// What the unit is, as it stood when it was made.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "core.korder.dev",
    version = "v1alpha1",
    kind = "Stock",
    plural = "stocks",
    shortname = "kst",
    category = "korder",
    namespaced,
    status = "StockStatus",
    derive = "PartialEq",
    doc = "One unit of an inventory. Made, given out and torn down by korder.",
    selectable = ".status.claimRef.uid",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Inventory","type":"string","jsonPath":".spec.inventoryName"}"#,
    printcolumn = r#"{"name":"Holder","type":"string","jsonPath":".status.claimRef.name"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".status.expirationTime"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct StockSpec {
    /// The inventory that keeps it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a unit stays in its inventory: it can't be changed"))]
    pub inventory_name: String,
    /// Identity of the item (`v1-…`): operation, inputs, outputs and account.
    #[schemars(length(min = 1, max = 80))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a unit is what it was made as: it can't be changed"))]
    pub sku: String,
    /// The item as it stood when production began, so that a unit can be torn down after the inventory has changed.
    pub item: Arc<Item>,
}

/// Where a unit is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StockPhase {
    /// Being made.
    #[default]
    Producing,
    /// On the shelf.
    Ready,
    /// Held by an order.
    Claimed,
    /// Given back and being made like new.
    Resetting,
    /// Being torn down.
    Retiring,
    /// Could not be made; kept for a while to be looked at.
    Failed,
}

impl StockPhase {
    /// The name that stands on the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Producing => "Producing",
            Self::Ready => "Ready",
            Self::Claimed => "Claimed",
            Self::Resetting => "Resetting",
            Self::Retiring => "Retiring",
            Self::Failed => "Failed",
        }
    }
}

/// What has become of the unit.
// The default shows a new unit as it is, without a write that each of them would cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"phase": "Producing"}))]
pub struct StockStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<StockPhase>,
    /// The order that holds it. This, and nothing else, is the truth of a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_ref: Option<StockClaim>,
    /// Its outputs, but for sensitive ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub outputs: BTreeMap<String, String>,
    /// The Secret with its sensitive outputs, in its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,
    /// Its objects, written here before the first of them is created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub objects: Vec<StockObject>,
    /// When it came on the shelf first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_time: Option<Time>,
    /// When it is too old to be given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// When it was last seen to be good; of a probe by expression, when that was last of interest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_time: Option<Time>,
    /// How many checks in a row it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_failures: Option<i32>,
    /// When it was last seen not to be good, or could not be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_failure_time: Option<Time>,
    /// Since when a check is asked for, of a unit that is to be given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_requested_time: Option<Time>,
    /// How often it was given back and made like new; the last time may be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets: Option<i32>,
    /// `Ready`, `Reconciling`, `Stalled` and what explains them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The order that holds a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockClaim {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid: an order made anew under the same name is another one.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// An object that a unit consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockObject {
    /// API group and version.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// Kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Uid once it exists; every later write carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// Generation when the unit became ready; another one later is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}
