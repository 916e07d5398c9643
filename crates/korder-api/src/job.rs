//! Jobs that produce, reset or probe stock.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A job that runs to completion once.
///
/// The part of `batch/v1` that makes sense for one unit: completions and parallelism are always one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The pod to run, as in a Job; its restart policy is Never or `OnFailure`.
    pub template: PodTemplate,
    /// How often a failed pod is run again before the job has failed; 6 where not given, as for Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit: Option<i32>,
    /// How many seconds the job may take, retries included; no limit where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub active_deadline_seconds: Option<i64>,
}

/// A pod template as it was submitted, with fields, too, of a newer Kubernetes than this korder knows: it is handed on, and is
/// part of a unit's identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodTemplate(pub Map<String, Value>);

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Without the descriptions: with them one template takes 347 kB, and `kubectl apply` stops at 262,144 bytes an object,
    // because it keeps a copy of it in an annotation. What the fields mean stands under `kubectl explain pod.spec`.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = schemars::generate::SchemaSettings::openapi3()
            .with(|settings| settings.inline_subschemas = true)
            .with_transform(Undescribed)
            .into_generator()
            .into_root_schema_for::<PodTemplateSpec>();
        schema.remove("$schema");
        schema.remove("title");
        schema.insert("description".into(), "The pod to run, as in a Job. See `kubectl explain pod.spec`.".into());
        schema
    }
}

/// Removes the descriptions of a schema and of all schemas in it.
#[derive(Clone, Debug)]
struct Undescribed;

impl schemars::transform::Transform for Undescribed {
    fn transform(&mut self, schema: &mut Schema) {
        schema.remove("description");
        schemars::transform::transform_subschemas(self, schema);
    }
}
