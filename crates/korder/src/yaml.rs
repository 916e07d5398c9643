//! Manifests as text.

use anyhow::Context as _;
use kube::api::DynamicObject;
use serde_json::Value;

/// A value as one YAML document.
pub(crate) fn document(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).context("cannot write YAML")
}

/// The objects as YAML documents, each begun by a line of three dashes.
pub(crate) fn documents(objects: &[DynamicObject]) -> anyhow::Result<String> {
    objects
        .iter()
        .map(|object| {
            let text = serde_saphyr::to_string(object).context("cannot write a manifest as YAML")?;
            Ok(format!("---\n{text}"))
        })
        .collect()
}
