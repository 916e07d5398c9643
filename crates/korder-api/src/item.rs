//! What a unit of stock is and how one is made.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::job::Job;

/// How a unit of stock is made: same operation and same inputs give the same, fungible output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.operation.manifests) || !has(self.type) || self.type == 'Fungible'")
        .message("type `Copy` can't be made by `operation.manifests`: their objects belong to one holder; \
                  use type `Fungible`"),
    validation = Rule::new("!has(self.readyWhen) || !has(self.operation.job)")
        .message("`readyWhen` is for `operation.manifests` and `operation.package`; a job is ready when it succeeds"),
    validation = Rule::new("!has(self.outputs) || self.outputs.all(o, has(o.from.result) == has(self.operation.job))")
        .message("the outputs of a job are taken `from.result`, those of manifests and packages `from.object`"),
    validation = Rule::new("!has(self.onClaim)").message("`onClaim` is reserved and not supported yet; leave it out"),
)]
pub struct Item {
    /// `Fungible` (default): each unit has one holder. `Copy`: one unit is shared by any number of orders.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<ItemType>,
    /// Environment of a job, values of a package; part of the item's identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "inputs_schema")]
    pub inputs: BTreeMap<String, String>,
    /// What makes a unit: exactly one of `job`, `package` and `manifests`.
    pub operation: Operation,
    /// When a unit of manifests or of a package is ready; where not given, when each object is, by the rules of kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ready_when: Vec<ReadyCondition>,
    /// What a unit hands to its holder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub outputs: Vec<Output>,
    /// Changes to a unit's objects when it is claimed. Reserved: refused until it is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_claim: Option<OnClaim>,
    /// The service account as which units are made; the namespace's `default` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
}

/// Who may hold a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ItemType {
    /// One holder a unit.
    #[default]
    Fungible,
    /// Any number of orders share a unit.
    Copy,
}

/// What makes a unit. Exactly one field is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
// `package` is a reserved word of CEL and must be escaped.
#[x_kube(validation = Rule::new("[has(self.job), has(self.__package__), has(self.manifests)].filter(x, x).size() == 1")
    .message("an operation is exactly one of `job`, `package` and `manifests`"))]
pub struct Operation {
    /// A job whose termination message is the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// A Kube from the archive, installed once a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// Objects that are created for each unit; every name contains `$(stock.name)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(
        validation = Rule::new("self.all(o, has(o.metadata.name) && o.metadata.name.contains('$(stock.name)'))")
            .message("every object's `metadata.name` must contain `$(stock.name)`, so that units don't collide"),
        validation = Rule::new("self.all(o, !has(o.metadata.generateName))")
            .message("`metadata.generateName` is refused: a unit's objects must be found again by name"),
    )]
    pub manifests: Vec<Manifest>,
}

/// A package of exact version and the values to install it with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// Name of the package.
    #[schemars(length(min = 1, max = 53), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Exact version (semantic versioning, no leading `v`, no range).
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[0-9]+[.][0-9]+[.][0-9]+([-+][0-9A-Za-z.+-]+)?$"))]
    pub version: String,
    /// Values for its templates.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "free_object")]
    pub values: Map<String, Value>,
}

/// A Kubernetes object as it is submitted, variables not yet replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest(pub Map<String, Value>);

impl JsonSchema for Manifest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Manifest".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Not `x-kubernetes-embedded-resource`: that checks labels, where `$(stock.name)` has characters no label may have.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "required": ["apiVersion", "kind", "metadata"],
            "properties": {
                "apiVersion": { "type": "string", "minLength": 1, "maxLength": 317 },
                "kind": { "type": "string", "minLength": 1, "maxLength": 63 },
                "metadata": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {
                        "name": { "type": "string", "maxLength": 253 },
                        "generateName": { "type": "string", "maxLength": 253 },
                    },
                },
            },
        })
    }
}

/// A condition that one object of a unit must meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyCondition {
    /// Kind of the object.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the object, variables allowed.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// CEL over `object`, true when it is ready.
    #[schemars(length(min = 1, max = 1024))]
    pub expression: String,
}

/// One named value that a unit hands to its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.from.secretKey) || !has(self.sensitive) || self.sensitive")
    .message("an output taken from a `secretKey` is sensitive; leave `sensitive` out or set it to true"))]
pub struct Output {
    /// Name of the value, a key of the delivered `ConfigMap` or Secret.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub name: String,
    /// Where the value comes from.
    pub from: OutputSource,
    /// Kept in a Secret only and never shown in a status. Always so for a `secretKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<bool>,
}

impl Output {
    /// Whether it is kept in a Secret only.
    pub fn is_sensitive(&self) -> bool {
        self.from.secret_key.is_some() || self.sensitive == Some(true)
    }
}

/// Where an output comes from: a job's result, or a field or Secret key of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.result) != has(self.object)")
        .message("an output comes from exactly one of `result` (of a job) and `object`"),
    validation = Rule::new("has(self.object) \
            ? has(self.fieldPath) != has(self.secretKey) \
            : !has(self.fieldPath) && !has(self.secretKey)")
        .message("`object` needs exactly one of `fieldPath` and `secretKey`; `result` takes neither"),
    validation = Rule::new("!has(self.secretKey) || !has(self.object) || self.object.kind == 'Secret'")
        .message("`secretKey` needs an `object` of kind `Secret`"),
    // What is taken from a field is shown in a status.
    validation = Rule::new("!has(self.fieldPath) || !has(self.object) || self.object.kind != 'Secret'")
        .message("a field of a Secret would be shown in a status: take it from its `secretKey`"),
)]
pub struct OutputSource {
    /// Key in the job's result; a result that is one plain string stands under `result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub result: Option<String>,
    /// One of the unit's objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectName>,
    /// Path of a field of the object, as `.status.loadBalancer.ingress[0].ip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub field_path: Option<String>,
    /// Key of the Secret's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_key: Option<String>,
}

/// An object of a unit, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// Kind of the object.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the object, variables allowed.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Changes to a unit's objects when it is claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnClaim {
    /// The changes, in order.
    #[schemars(length(max = 16))]
    pub patches: Vec<ClaimPatch>,
}

/// A merge patch of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimPatch {
    /// The object to change.
    pub object: ObjectName,
    /// JSON merge patch (RFC 7386).
    #[schemars(schema_with = "free_object")]
    pub merge: Map<String, Value>,
}

/// Names of environment variables, each with a value.
pub(crate) fn inputs_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
        "x-kubernetes-validations": [{
            "rule": "self.all(name, name.size() <= 63 && name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
            "message": "the name of an input is that of an environment variable: letters, digits and `_`, at most 63",
        }],
    })
}

/// An object whose fields somebody else defines.
pub(crate) fn free_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
