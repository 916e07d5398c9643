//! The part of a namespace that korder's rules look at.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::selector::Labels;

/// A namespace as korder sees it.
#[derive(kube::Resource, Clone, Debug, Default, PartialEq, Deserialize)]
#[resource(inherit = k8s_openapi::api::core::v1::Namespace)]
pub struct Namespace {
    /// Name, version, labels.
    pub metadata: ObjectMeta,
}

impl Namespace {
    /// The namespace's name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is being deleted, with all that is in it.
    pub fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// The namespace's labels; the API server adds its name to them.
    pub fn labels(&self) -> &Labels {
        static NONE: Labels = BTreeMap::new();
        self.metadata.labels.as_ref().unwrap_or(&NONE)
    }
}
