//! Quota: how much may be ordered, by whom and when.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Limits by the name of what they limit; see [`KEYS`].
pub type Limits = BTreeMap<String, Limit>;

/// A limit as it was written; what it may be follows from what it limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Limit {
    /// As a number.
    Number(i64),
    /// As a text: a number, a quantity or a duration.
    Text(String),
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 32 })
    }
}

/// What a quota can limit, beside `reserved.<resource>` for each resource that tickets reserve.
pub const KEYS: [&str; 8] = [
    "orders",
    "tickets",
    "inventories",
    "stocks",
    "idle-stocks",
    "preempting-tickets",
    "max-duration",
    "max-queue-priority",
];

/// Whom the limits are for, and what they are.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "core.korder.dev",
    version = "v1alpha1",
    kind = "Quota",
    plural = "quotas",
    shortname = "kq",
    category = "korder",
    status = "QuotaStatus",
    derive = "PartialEq",
    doc = "Limits what may be ordered and reserved in the namespaces or objects it covers.",
    printcolumn = r#"{"name":"Scope","type":"string","jsonPath":".spec.scope.type"}"#,
    printcolumn = r#"{"name":"Orders","type":"string","jsonPath":".status.used.orders"}"#,
    printcolumn = r#"{"name":"Tickets","type":"string","jsonPath":".status.used.tickets"}"#,
    printcolumn = r#"{"name":"CPU","type":"string","jsonPath":".status.used.reserved\\.cpu"}"#,
    printcolumn = r#"{"name":"Memory","type":"string","jsonPath":".status.used.reserved\\.memory"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct QuotaSpec {
    /// Which objects are counted.
    pub scope: Scope,
    /// The limits. Integers, quantities and durations may be written as numbers or strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "limits_schema")]
    pub hard: Limits,
    /// Limits for parts of the scope, for example one for each environment; each part must also fit `hard`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub allocation: Vec<Allocation>,
    /// Other limits at certain times; the first window that is open counts instead of `hard`, key by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub time_windows: Vec<TimeWindow>,
}

/// Which objects a quota counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.namespaceSelector) == (self.type == 'NamespaceSelector')")
        .message("`namespaceSelector` and `type: NamespaceSelector` need each other"),
    validation = Rule::new("has(self.namespaces) == (self.type == 'NamespaceList')")
        .message("`namespaces` and `type: NamespaceList` need each other"),
    validation = Rule::new("has(self.objectSelector) == (self.type == 'ObjectSelector')")
        .message("`objectSelector` and `type: ObjectSelector` need each other"),
)]
pub struct Scope {
    /// How objects are chosen.
    #[serde(rename = "type")]
    pub type_: ScopeType,
    /// Labels of the namespaces whose objects count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Names of the namespaces whose objects count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// Labels of the objects that count, in any namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_selector: Option<LabelSelector>,
}

/// How a quota chooses its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScopeType {
    /// All objects of the cluster.
    Cluster,
    /// Objects in namespaces with certain labels.
    NamespaceSelector,
    /// Objects in namespaces given by name.
    NamespaceList,
    /// Objects with certain labels.
    ObjectSelector,
}

/// Limits for a part of the scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// Name of the part, as `production`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Labels of the namespaces that belong to it.
    pub namespace_selector: LabelSelector,
    /// Its limits.
    #[schemars(schema_with = "limits_schema")]
    pub hard: Limits,
}

/// Limits at certain times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.hours) != has(self.schedule)")
        .message("a window is given by exactly one of `hours` and `schedule`"),
    validation = Rule::new("!has(self.days) || has(self.hours)")
        .message("`days` goes with `hours`; a `schedule` has its own field for days"),
)]
pub struct TimeWindow {
    /// Name of the window, as `nights`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Days on which the window opens; every day where not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Day>,
    /// From when until when, as `09:00-17:00`; past midnight where the end is not later than the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 11),
        regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")
    )]
    pub hours: Option<String>,
    /// Cron expression; the window is open in every minute that it matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 128))]
    pub schedule: Option<String>,
    /// Time zone of hours and schedule by its IANA name; `UTC` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// The limits while the window is open.
    #[schemars(schema_with = "limits_schema")]
    pub hard: Limits,
}

/// A day of the week, as cron writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the days of the week")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// What is used, and what of it is whose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The limits that count now, open windows applied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hard: Limits,
    /// How much of each limit is used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: Limits,
    /// The same for each part of the scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub allocation: Vec<AllocationStatus>,
    /// Names of the windows that are open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub open_windows: Vec<String>,
    /// `Ready`, `Reconciling`, `Stalled` and what explains them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What a part of the scope uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllocationStatus {
    /// Name of the part.
    pub name: String,
    /// How much of each of its limits is used.
    pub used: Limits,
}

/// CEL over `key` and the limits: what is limited may be limited to this value.
const FITS_ITS_KEY: &str = "(key == 'max-duration' \
     ? type(self[key]) == string && self[key].matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') \
     : key.startsWith('reserved.') \
     ? (type(self[key]) == int ? self[key] >= 0 \
        : isQuantity(self[key]) && quantity(self[key]).compareTo(quantity('0')) >= 0) \
     : key == 'max-queue-priority' \
     ? type(self[key]) == int || self[key].matches('^-?[0-9]{1,10}$') \
     : type(self[key]) == int ? self[key] >= 0 : self[key].matches('^[0-9]{1,10}$'))";

fn limits_schema(generator: &mut SchemaGenerator) -> Schema {
    let keys = KEYS.join("', '");
    let known = format!("(key in ['{keys}'] || key.startsWith('reserved.'))");
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": generator.subschema_for::<Limit>(),
        "x-kubernetes-validations": [
            {
                "rule": format!("self.all(key, {known})"),
                "messageExpression": format!(
                    "'`' + self.filter(key, !{known})[0] + '` can\\'t be limited; what can is {}, reserved.<resource>'",
                    KEYS.join(", "),
                ),
            },
            {
                "rule": format!("self.all(key, {FITS_ITS_KEY})"),
                "messageExpression": format!(
                    "'`' + self.filter(key, !{FITS_ITS_KEY})[0] + '` has a value that is no limit: \
                     max-duration takes a duration such as 24h, reserved.<resource> a quantity such as 20 or 40Gi, \
                     all others a whole number'",
                ),
            },
        ],
    })
}
