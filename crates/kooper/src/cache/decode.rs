//! Decoding that fails for one object, not for the list it is in.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicResourceScope;
use kube::{Api, Client, Resource};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, de::DeserializeOwned};

/// An object, or as much of it as could be decoded.
///
/// The same idea as [`kube::core::DeserializeGuard`], but its scope is open, so that an [`Api`] of it
/// can be made from one whose scope is not known here; and it passes metadata-only requests on.
#[derive(Clone, Debug)]
pub(crate) enum Decoded<K> {
    Object(K),
    Unreadable { meta: Box<ObjectMeta>, error: String },
}

/// The objects of kind `K`, in one namespace or everywhere.
pub(crate) fn api<K>(client: Client, namespace: Option<&str>) -> Api<Decoded<K>>
where
    K: Resource<DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &()),
        None => Api::all(client),
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match K::deserialize(&value) {
            Ok(object) => Ok(Self::Object(object)),
            Err(error) => {
                let meta = Box::deserialize(&value["metadata"]).map_err(D::Error::custom)?;
                Ok(Self::Unreadable { meta, error: error.to_string() })
            }
        }
    }
}

impl<K: Resource> Resource for Decoded<K> {
    type DynamicType = K::DynamicType;
    type Scope = DynamicResourceScope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Object(object) => object.meta(),
            Self::Unreadable { meta, .. } => meta,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Object(object) => object.meta_mut(),
            Self::Unreadable { meta, .. } => meta,
        }
    }
}
