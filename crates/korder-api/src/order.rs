//! Order: the front door. A standing supply of capacity, or a request for stock.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Duration;
use crate::item::Item;
use crate::ticket::TicketSpec;

/// What is wanted: `template` for a supply of capacity, `item` or `inventoryRef` for stock.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "core.korder.dev",
    version = "v1alpha1",
    kind = "Order",
    plural = "orders",
    namespaced,
    status = "OrderStatus",
    shortname = "kord",
    category = "korder",
    derive = "PartialEq",
    selectable = ".status.stockName",
    doc = "Things wanted before they are needed: a standing supply of capacity, or a request for stock.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.labelSelector"
    ),
    validation = Rule::new("self.metadata.name.size() <= 52")
        .message("the name of an order has at most 52 characters: its tickets append a number"),
    printcolumn = r#"{"name":"Strategy","type":"string","jsonPath":".status.strategy"}"#,
    printcolumn = r#"{"name":"Wanted","type":"integer","jsonPath":".status.wanted"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.ready"}"#,
    printcolumn = r#"{"name":"Claimed","type":"integer","jsonPath":".status.claimed"}"#,
    printcolumn = r#"{"name":"Used","type":"integer","jsonPath":".status.used"}"#,
    printcolumn = r#"{"name":"Filled","type":"string","jsonPath":".status.filled"}"#,
    printcolumn = r#"{"name":"Stock","type":"string","jsonPath":".status.stockName"}"#,
    printcolumn = r#"{"name":"Waited","type":"string","jsonPath":".status.waited"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","priority":1,"jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Issued","type":"integer","priority":1,"jsonPath":".status.issued"}"#,
    printcolumn = r#"{"name":"Expired","type":"integer","priority":1,"jsonPath":".status.expired"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.template), has(self.item), has(self.inventoryRef)].filter(given, given).size() == 1")
        .message("exactly one of template, item and inventoryRef must be set"),
    validation = Rule::new("has(self.template) || !(has(self.strategy) || has(self.daemonSet) || has(self.minReadySeconds) \
                            || has(self.allowedNamespaces))")
        .message("strategy, daemonSet, minReadySeconds and allowedNamespaces belong to an order with template"),
    validation = Rule::new("!has(self.template) || !(has(self.ifNoInventory) || has(self.queuePriority) || has(self.progressDeadlineSeconds) \
                            || has(self.holdFor) || has(self.ttlSecondsAfterFinished) || has(self.deliver))")
        .message("ifNoInventory, queuePriority, progressDeadlineSeconds, holdFor, ttlSecondsAfterFinished and deliver belong to an order with item or inventoryRef"),
    validation = Rule::new("!(has(self.daemonSet) && self.daemonSet && has(self.replicas))")
        .message("replicas can't be set with daemonSet: there is one ticket for every eligible node")
)]
pub struct OrderSpec {
    /// No ticket is made or removed; those that are there can be claimed, and expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How many units are wanted; 1 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<i32>,

    /// Supply: what each ticket is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TicketTemplate>,
    /// Supply: one ticket for every eligible node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon_set: Option<bool>,
    /// Supply: seconds that a ticket must have been held before it counts as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub min_ready_seconds: Option<i32>,
    /// Supply: when tickets are made, and which are made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Supply: whose pods may claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,

    /// Request: how a unit is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    /// Request: the inventory that a unit comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_ref: Option<InventoryRef>,
    /// Request: what happens where no inventory matches the item: Create (default), Wait or Reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_no_inventory: Option<IfNoInventory>,
    /// Request: place in line; higher goes first, then older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_priority: Option<i32>,
    /// Request: seconds after which an order that is still waiting fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub progress_deadline_seconds: Option<i64>,
    /// Request: after this long the unit is given back; without it, when the order is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_for: Option<Duration>,
    /// Request: seconds that an ended order is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// Request: the object that the unit's outputs are written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<Deliver>,
}

/// What each ticket of an order is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketTemplate {
    /// Labels and annotations of the tickets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// What is reserved.
    pub spec: TicketSpec,
}

/// Labels and annotations that a template gives to what is made of it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels; keys under `korder.dev/` are korder's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('korder.dev/'))").message("labels under korder.dev/ are korder's own"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations; keys under `korder.dev/` are korder's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('korder.dev/'))").message("annotations under korder.dev/ are korder's own"))]
    pub annotations: BTreeMap<String, String>,
}

/// When tickets are made, and which are made again.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.type) && self.type != 'OneTime') == has(self.schedule)")
        .message("schedule is required for Scheduled and Recurring, and refused for OneTime"),
    validation = Rule::new("has(self.schedule) || !(has(self.timeZone) || has(self.startingDeadlineSeconds) || has(self.leadTime))")
        .message("timeZone, startingDeadlineSeconds and leadTime need a schedule")
)]
pub struct Strategy {
    /// `OneTime` (default), Scheduled or Recurring.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<StrategyType>,
    /// When, as a cron expression of five fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub schedule: Option<String>,
    /// IANA name of the time zone of `schedule`; UTC where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Which tickets are made again: Never, `OnClaim` (default) or Always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_policy: Option<RefreshPolicy>,
    /// A missed time older than this is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub starting_deadline_seconds: Option<i64>,
    /// How long before a window opens its capacity is gathered: a duration, or Auto for what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self == 'Auto' || self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$')")
        .message("must be Auto or a duration, such as 10m"))]
    pub lead_time: Option<String>,
}

/// When tickets are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StrategyType {
    /// Once, when the order is placed.
    #[default]
    OneTime,
    /// A window opens at each time of the schedule.
    Scheduled,
    /// A standing reservation that each time of the schedule renews.
    Recurring,
}

/// Which tickets are made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RefreshPolicy {
    /// None: `replicas` are issued, ever. Those that are held stay when it is lowered, up to as many.
    Never,
    /// Those that a pod claimed.
    #[default]
    OnClaim,
    /// Those that a pod claimed, and those that expired.
    Always,
}

impl StrategyType {
    /// The name that stands on the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "OneTime",
            Self::Scheduled => "Scheduled",
            Self::Recurring => "Recurring",
        }
    }
}

impl RefreshPolicy {
    /// The name that stands on the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "Never",
            Self::OnClaim => "OnClaim",
            Self::Always => "Always",
        }
    }
}

/// Whose pods may claim the tickets of an order.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.from) && self.from == 'Selector') == has(self.selector)")
    .message("selector is required with from: Selector, and refused otherwise"))]
pub struct AllowedNamespaces {
    /// Same (default), All or Selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// A set of namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FromNamespaces {
    /// The order's own.
    #[default]
    Same,
    /// All.
    All,
    /// Those that a selector matches.
    Selector,
}

/// The inventory that a unit comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRef {
    /// Namespace of the inventory; the order's own where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Name of the inventory.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Inputs that the inventory lets orders set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub inputs: BTreeMap<String, String>,
}

/// What happens where no inventory matches the item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IfNoInventory {
    /// One is made.
    #[default]
    Create,
    /// The order waits for one.
    Wait,
    /// The order fails.
    Reject,
}

/// What the name of a Secret or `ConfigMap` looks like (RFC 1123). Others are no names, and would be other paths in requests.
const OBJECT_NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The object that a unit's outputs are written to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMapName) != has(self.secretName)")
    .message("exactly one of configMapName and secretName must be set"))]
pub struct Deliver {
    /// Name of the `ConfigMap` to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub config_map_name: Option<String>,
    /// Name of the Secret to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub secret_name: Option<String>,
}

/// What korder has seen and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[schemars(transform = without_default_counts)]
pub struct OrderStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Strategy and refresh policy in force, such as `OneTime/OnClaim`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// How many unclaimed tickets there should be now.
    #[serde(default)]
    pub wanted: i32,
    /// Tickets that are there: pending, ready, claimed and used.
    #[serde(default)]
    pub replicas: i32,
    /// Tickets that wait for a place.
    #[serde(default)]
    pub pending: i32,
    /// Tickets whose place is held.
    #[serde(default)]
    pub ready: i32,
    /// Tickets that are being handed over.
    #[serde(default)]
    pub claimed: i32,
    /// Tickets whose pod is bound.
    #[serde(default)]
    pub used: i32,
    /// Tickets that expired: under `OnClaim` all, which are not made again; else those that are still there.
    #[serde(default)]
    pub expired: i32,
    /// Tickets that were made, ever: the number of the last one.
    #[serde(default)]
    pub issued: i64,
    /// The numbers of the tickets that expired and are not made again, as ranges: `2-4,7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub closed: Option<String>,
    /// The numbers of the tickets that were lost and made up for, as `closed`; only under `Never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub lost: Option<String>,
    /// Request: the inventory that it stands in line at, as `NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub inventory: Option<String>,
    /// Request: how many units it has of those that it wants, as `1/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub filled: Option<String>,
    /// Request: the unit that it has, the first of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub stock_name: Option<String>,
    /// Request: the units that it has, 100 of them at most; the others are found by their `status.claimRef.uid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 253)))]
    pub stocks: Vec<String>,
    /// Request: outputs of the unit, but for sensitive ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub outputs: BTreeMap<String, String>,
    /// Request: its number in line, once it had to wait; smaller ones came earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_sequence: Option<i64>,
    /// Request: how long it waited for its units, as `20s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub waited: Option<String>,
    /// Request: when it had all its units. `holdFor` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled_time: Option<Time>,
    /// Request: when it ended: its units were given back, or it failed. `ttlSecondsAfterFinished` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// Selects the tickets of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub label_selector: Option<String>,
    /// `Ready`: the order does what its spec says. `Reconciling`, `Stalled`: as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// The counts of tickets, of which a request has none.
const COUNTS: [&str; 8] = ["wanted", "replicas", "pending", "ready", "claimed", "used", "expired", "issued"];

/// A supply shows zeros, and a request nothing: both stand in one table.
impl Serialize for OrderStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.strategy.is_some() {
            return Self::serialize(self, serializer);
        }
        let mut status = Self::serialize(self, serde_json::value::Serializer).map_err(S::Error::custom)?;
        if let Some(fields) = status.as_object_mut() {
            fields.retain(|field, _| !COUNTS.contains(&field.as_str()));
        }
        status.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OrderStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// The API server would fill the zeros in.
fn without_default_counts(schema: &mut schemars::Schema) {
    let properties = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut);
    for (_, count) in properties.into_iter().flatten().filter(|(name, _)| COUNTS.contains(&name.as_str())) {
        count.as_object_mut().and_then(|count| count.remove("default"));
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_has_no_counts_of_tickets_and_a_supply_shows_zeros() {
        let request = OrderStatus { filled: Some("0/1".into()), ..OrderStatus::default() };
        let written = serde_json::to_value(&request).unwrap();
        assert_eq!(written, json!({"filled": "0/1"}));
        assert_eq!(serde_json::from_value::<OrderStatus>(written).unwrap(), request);
        let supply = OrderStatus { strategy: Some("OneTime/Never".into()), issued: 2, ..OrderStatus::default() };
        let written = serde_json::to_value(&supply).unwrap();
        assert_eq!((&written["ready"], &written["issued"]), (&json!(0), &json!(2)));
        assert_eq!(serde_json::from_value::<OrderStatus>(written).unwrap(), supply);
        // Nor does the API server add any.
        let schema = serde_json::to_value(schemars::schema_for!(OrderStatus)).unwrap();
        assert!(schema["properties"]["ready"].get("default").is_none(), "{}", schema["properties"]["ready"]);
    }

    #[test]
    fn what_is_delivered_to_has_the_name_of_an_object() {
        let schema = serde_json::to_value(schemars::schema_for!(Deliver)).unwrap();
        for field in ["configMapName", "secretName"] {
            let pattern = Regex::new(schema["properties"][field]["pattern"].as_str().unwrap()).unwrap();
            for name in ["a", "my-db", "7", "my.db-1.x"] {
                assert!(pattern.is_match(name), "{field}: {name}");
            }
            for name in
                ["", "My-db", "-a", "a-", "a..b", ".a", "a.", "a_b", "a/b", "../a", "a.-b", "$(stock.name)", "a\n"]
            {
                assert!(!pattern.is_match(name), "{field}: {name}");
            }
        }
    }
}
