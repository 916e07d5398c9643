//! Inventory: units of one item kept on the shelf.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::item::Item;
use crate::job::Job;
use crate::order::AllowedNamespaces;

/// What is kept on the shelf, how much of it, and when a unit is thrown away.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "core.korder.dev",
    version = "v1alpha1",
    kind = "Inventory",
    plural = "inventories",
    shortname = "kinv",
    category = "korder",
    namespaced,
    status = "InventoryStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.size() <= 52")
        .message("the name of an inventory has at most 52 characters: its units append a number"),
    doc = "Keeps units of one item on the shelf: replenishes, depletes and retires them, and fits its level to the demand.",
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.ready"}"#,
    printcolumn = r#"{"name":"Producing","type":"integer","jsonPath":".status.producing"}"#,
    printcolumn = r#"{"name":"Claimed","type":"integer","jsonPath":".status.claimed"}"#,
    printcolumn = r#"{"name":"Waiting","type":"integer","jsonPath":".status.waiting"}"#,
    printcolumn = r#"{"name":"Level","type":"integer","jsonPath":".status.level"}"#,
    printcolumn = r#"{"name":"Fill","type":"string","jsonPath":".status.fill"}"#,
    printcolumn = r#"{"name":"P95-Lead","type":"string","jsonPath":".status.leadTimeP95"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.replicas) != has(self.demand)")
        .message("set exactly one of `replicas` (a fixed level) and `demand` (a level fitted to the orders)"),
    validation = Rule::new("!has(self.item.type) || self.item.type != 'Copy' \
            || (has(self.replicas) ? self.replicas <= 1 : self.demand.maxReplicas <= 1)")
        .message("an item of type `Copy` is shared by all orders: its level is at most 1"),
    validation = Rule::new("has(self.reset) == (has(self.reclaimPolicy) && self.reclaimPolicy == 'Restock')")
        .message("`reclaimPolicy: Restock` needs `reset`, and `reset` needs `reclaimPolicy: Restock`"),
    validation = Rule::new("!has(self.reset) || !has(self.item.type) || self.item.type == 'Fungible'")
        .message("an item of type `Copy` is never given back: leave `reclaimPolicy: Restock` out"),
    validation = Rule::new("!has(self.reset) || !has(self.item.outputs) || self.item.outputs.all(o, has(o.from.result) \
            || !has(o.from.secretKey) && !(has(o.sensitive) && o.sensitive))")
        .message("a unit with a sensitive output of an object can't be made like new, since its last holder knows the value, \
                  and `reset` can't give another one: use `reclaimPolicy: Retire`"),
)]
pub struct InventorySpec {
    /// What a unit is and how it is made.
    pub item: Item,
    /// The fixed number of units kept ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<i32>,
    /// The number kept ready follows the orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demand: Option<Demand>,
    /// How many units are made at a time; 1 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub parallelism: Option<i32>,
    /// How many units there may be in all, claimed ones included; no limit where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_units: Option<i32>,
    /// Nothing is made or thrown away while true; orders go on taking what is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// A unit older than this is retired; no limit where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// Without an order for this long, the level falls to its minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_after: Option<Duration>,
    /// What happens to units on the shelf when `item` changes: `Rolling` (default) or `Immediate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,
    /// What happens to a unit that is given back: `Retire` (default) or `Restock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim_policy: Option<ReclaimPolicy>,
    /// Makes a unit that was given back like new; run as the item's service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Job>,
    /// Checks again and again that a unit on the shelf is still good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// The inputs that an order with `inventoryRef` may set, and to what.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub inputs: BTreeMap<String, AllowedInput>,
    /// How many variants with other inputs there may be; 10 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub max_variants: Option<i32>,
    /// How long the last unit that failed is kept to be looked at; 1h where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_retention: Option<Duration>,
    /// From which namespaces orders may take; `Same` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

impl InventorySpec {
    /// One of this item that says nothing else; `replicas` or `demand` is still to be set.
    pub const fn of(item: Item) -> Self {
        Self {
            item,
            replicas: None,
            demand: None,
            parallelism: None,
            max_units: None,
            paused: None,
            max_age: None,
            idle_after: None,
            update_policy: None,
            reclaim_policy: None,
            reset: None,
            probe: None,
            inputs: BTreeMap::new(),
            max_variants: None,
            failed_retention: None,
            allowed_namespaces: None,
        }
    }
}

/// Bounds and aim of a level that follows the orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas")
        .message("`minReplicas` must not exceed `maxReplicas`"),
    validation = Rule::new("!has(self.serviceLevelPercent) || !has(self.costs)")
        .message("set `serviceLevelPercent` or `costs`, not both"),
)]
pub struct Demand {
    /// Least number of ready units; 0 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_replicas: Option<i32>,
    /// Greatest number of ready units.
    #[schemars(range(min = 0, max = 10_000))]
    pub max_replicas: i32,
    /// Share of the orders to be filled at once, in percent; 95 where neither this nor `costs` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub service_level_percent: Option<i32>,
    /// What waiting and holding cost, instead of a service level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
}

/// Costs in one currency of the user's choosing; only their ratio counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// Cost of an order that has to wait.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub shortage: i64,
    /// Cost of a unit that lies idle for an hour.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub holding: i64,
}

/// What happens to units on the shelf when the item changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdatePolicy {
    /// Old units serve orders until as many new ones are ready.
    #[default]
    Rolling,
    /// Old units are never given out again.
    Immediate,
}

/// What happens to a unit that is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// It is torn down.
    #[default]
    Retire,
    /// It is reset and goes back on the shelf.
    Restock,
}

/// A repeated check of the units on the shelf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.job) != has(self.expression)")
    .message("a probe is exactly one of `job` and `expression`"))]
pub struct Probe {
    /// A job that succeeds while the unit is good; run as the item's service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// CEL over `stock`, true while the unit is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
    /// Seconds between two checks of a unit.
    #[schemars(range(min = 60, max = 604_800))]
    pub period_seconds: i32,
    /// Seconds after which a check has failed; 30 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
    /// How many failures in a row make a unit bad; 2 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: Option<i32>,
    /// A unit whose last check is older than this is checked again when it is claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_for: Option<Duration>,
}

/// What an order may set an input to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.enum) != has(self.pattern)")
        .message("an input is limited by exactly one of `enum` and `pattern`"),
    validation = Rule::new("has(self.pattern) == has(self.maxLength)")
        .message("`pattern` needs `maxLength`, and `maxLength` needs `pattern`"),
)]
pub struct AllowedInput {
    /// The values allowed.
    #[serde(rename = "enum", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub enum_: Vec<String>,
    /// A regular expression (RE2) that the whole value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub pattern: Option<String>,
    /// Greatest length of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_length: Option<i32>,
}

/// What is on the shelf, and why so much of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Identity of the item as it stands now (`v1-…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// Units that an order can take at once.
    #[serde(default)]
    pub ready: i32,
    /// Units being made.
    #[serde(default)]
    pub producing: i32,
    /// Units held by orders.
    #[serde(default)]
    pub claimed: i32,
    /// Units being made like new.
    #[serde(default)]
    pub resetting: i32,
    /// Orders that wait for a unit.
    #[serde(default)]
    pub waiting: i32,
    /// How many units are to be ready now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
    /// Share of the latest orders that were filled at once, as `95%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<String>,
    /// Time to make a unit that 95% of them stay below, as `12s`.
    #[serde(rename = "leadTimeP95", default, skip_serializing_if = "Option::is_none")]
    pub lead_time_p95: Option<String>,
    /// Why the level is what it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Units that were made, ever: the number of the last one.
    #[serde(default)]
    pub issued: i64,
    /// How many units in a row could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<i32>,
    /// When the last of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Time>,
    /// What the level's rule remembers, versioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub level_state: Option<String>,
    /// `Ready`, `Reconciling`, `Stalled`; `Limited` while the level can't do what it is for, and `RollingOver` while units of the
    /// former item are on the shelf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests;
