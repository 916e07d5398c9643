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
}

impl Object {
    pub(crate) fn new(mut value: Value, revision: u64) -> Arc<Self> {
        value["metadata"]["resourceVersion"] = json!(revision.to_string());
        Arc::new(Self { value, revision, json: OnceLock::new() })
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
}
