//! One stored version of an object.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// One version of an object as the API server stores it. It never changes; a write makes another.
#[derive(Debug)]
pub struct Object {
    value: Value,
    revision: u64,
    json: OnceLock<Bytes>,
    json_without_type: OnceLock<Bytes>,
}

impl Object {
    /// A version that a write makes.
    pub(crate) fn stored(mut value: Value, revision: u64) -> Arc<Self> {
        value["metadata"]["resourceVersion"] = json!(revision.to_string());
        Self::new(value, revision)
    }

    /// What a dry run would have made.
    pub(crate) fn unstored(value: Value) -> Arc<Self> {
        Self::new(value, 0)
    }

    fn new(value: Value, revision: u64) -> Arc<Self> {
        Arc::new(Self { value, revision, json: OnceLock::new(), json_without_type: OnceLock::new() })
    }

    /// The whole object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its `metadata.resourceVersion`.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Its `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.value["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// Whether it has a `metadata.deletionTimestamp`.
    pub fn is_ending(&self) -> bool {
        !self.value["metadata"]["deletionTimestamp"].is_null()
    }

    /// The object as a type.
    ///
    /// # Errors
    /// Where the type can't hold the object.
    pub fn parse<K: DeserializeOwned>(&self) -> Result<K, serde_json::Error> {
        K::deserialize(&self.value)
    }

    /// Its JSON text, written once however many watchers and lists show it.
    pub(crate) fn json(&self) -> Bytes {
        self.json.get_or_init(|| Bytes::from(self.value.to_string())).clone()
    }

    /// The same without `apiVersion` and `kind`.
    pub(crate) fn json_without_type(&self) -> Bytes {
        let write = || {
            let mut value = self.value.clone();
            if let Some(map) = value.as_object_mut() {
                map.retain(|key, _| key != "apiVersion" && key != "kind");
            }
            Bytes::from(value.to_string())
        };
        self.json_without_type.get_or_init(write).clone()
    }
}
