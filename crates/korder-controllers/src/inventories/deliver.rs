//! Writes what a unit brings into an object of its order's, and takes it away again.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use korder_api::order::Deliver;
use korder_api::{Inventory, Order, Stock, names};
use korder_core::reasons;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::Serialize;

use super::Inventories;
use crate::write::{self, Namespaced};

/// Why nothing can be delivered.
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Where an order wants its outputs.
enum Target<'a> {
    ConfigMap(&'a str),
    Secret(&'a str),
}

impl<'a> Target<'a> {
    fn of(order: &'a Order) -> Option<Self> {
        match order.spec.deliver.as_ref()? {
            Deliver { config_map_name: Some(name), .. } => Some(Self::ConfigMap(name)),
            Deliver { secret_name: Some(name), .. } => Some(Self::Secret(name)),
            Deliver { .. } => None,
        }
    }
}

/// Why an order can't be delivered to, as far as can be told before it has anything: somebody else's object has the name.
pub(super) async fn refusal(inventories: &Inventories, order: &Order) -> Result<Option<Refusal>, kube::Error> {
    let there = match Target::of(order) {
        None => return Ok(None),
        Some(Target::ConfigMap(name)) => foreign::<ConfigMap>(inventories, order, name).await,
        Some(Target::Secret(name)) => foreign::<Secret>(inventories, order, name).await,
    };
    refused(order, there)
}

/// Delivers the outputs of an order's units: those of one unit by their names, those of several by their names and the
/// unit's number among them.
pub(super) async fn deliver(
    inventories: &Inventories,
    inventory: &Inventory,
    order: &Order,
    units: &[Arc<Stock>],
) -> Result<Option<Refusal>, kube::Error> {
    let made = match Target::of(order) {
        None => return Ok(None),
        Some(Target::ConfigMap(name)) => {
            let data = plain(units);
            let body = ConfigMap { metadata: metadata(order, name), data: Some(data), ..ConfigMap::default() };
            create(inventories, order, &body).await
        }
        Some(Target::Secret(name)) => match sensitive(inventories, inventory, units).await {
            Err(error) => Err(error),
            Ok(mut data) => {
                data.extend(plain(units).into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))));
                let body = Secret { metadata: metadata(order, name), data: Some(data), ..Secret::default() };
                create(inventories, order, &body).await
            }
        },
    };
    refused(order, made)
}

/// Takes away what was delivered to an order.
pub(super) async fn revoke(inventories: &Inventories, order: &Order) -> Result<(), kube::Error> {
    match Target::of(order) {
        None => Ok(()),
        Some(Target::ConfigMap(name)) => remove::<ConfigMap>(inventories, order, name).await,
        Some(Target::Secret(name)) => remove::<Secret>(inventories, order, name).await,
    }
}

/// What the API server's answer means for the order: whether somebody else's object is there, or we may not look.
fn refused(order: &Order, foreign: Result<bool, kube::Error>) -> Result<Option<Refusal>, kube::Error> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    match (foreign, Target::of(order)) {
        (Ok(false), _) | (_, None) => Ok(None),
        (Ok(true), Some(Target::ConfigMap(name) | Target::Secret(name))) => Ok(Some(Refusal {
            reason: reasons::DELIVER_EXISTS,
            message: format!(
                "`deliver` names `{name}`, which is there already and is not this order's: delete it, or name another"
            ),
        })),
        (Err(kube::Error::Api(status)), Some(Target::Secret(_))) if status.code == 403 => Ok(Some(Refusal {
            reason: reasons::GRANT_MISSING,
            message: format!(
                "korder may not handle Secrets in a namespace that its outputs come from or go to: \
                 `korder install --namespace-grant {namespace}` lets it ({})",
                status.message
            ),
        })),
        (Err(error), Some(_)) => Err(error),
    }
}

fn is_of(order: &Order, object: &impl Resource) -> bool {
    let owners = object.meta().owner_references.iter().flatten();
    owners.into_iter().any(|owner| Some(&owner.uid) == order.metadata.uid.as_ref())
}

async fn foreign<K: Namespaced>(inventories: &Inventories, order: &Order, name: &str) -> Result<bool, kube::Error> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let there = write::api::<K>(&inventories.client, namespace).get_opt(name).await?;
    Ok(there.is_some_and(|there| !is_of(order, &there)))
}

/// Makes an object; whether somebody else's is there instead.
async fn create<K: Namespaced + Serialize>(
    inventories: &Inventories,
    order: &Order,
    body: &K,
) -> Result<bool, kube::Error> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let api = write::api::<K>(&inventories.client, namespace);
    let params =
        PostParams { field_manager: Some(names::CONTROLLER_FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, body).await {
        Ok(_) => Ok(false),
        Err(kube::Error::Api(status)) if status.code == 409 => foreign::<K>(inventories, order, &body.name_any()).await,
        Err(error) => Err(error),
    }
}

async fn remove<K: Namespaced>(inventories: &Inventories, order: &Order, name: &str) -> Result<(), kube::Error> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let api = write::api::<K>(&inventories.client, namespace);
    let Some(there) = api.get_opt(name).await?.filter(|there| is_of(order, there)) else { return Ok(()) };
    let preconditions = Preconditions { uid: there.meta().uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(error) if write::is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn metadata(order: &Order, name: &str) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: names::API_VERSION.to_owned(),
        kind: "Order".to_owned(),
        name: order.name_any(),
        uid: order.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: order.metadata.namespace.clone(),
        owner_references: Some(vec![owner]),
        labels: Some([(names::LABEL_ORDER.to_owned(), order.name_any())].into()),
        ..ObjectMeta::default()
    }
}

/// The name of an output of one of several units.
fn key(name: &str, index: usize, count: usize) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}.{}", index + 1) }
}

fn plain(units: &[Arc<Stock>]) -> BTreeMap<String, String> {
    let outputs = units.iter().enumerate().flat_map(|(index, one)| {
        let outputs = one.status.iter().flat_map(|status| &status.outputs);
        outputs.map(move |(name, value)| (key(name, index, units.len()), value.clone()))
    });
    outputs.collect()
}

async fn sensitive(
    inventories: &Inventories,
    inventory: &Inventory,
    units: &[Arc<Stock>],
) -> Result<BTreeMap<String, ByteString>, kube::Error> {
    let namespace = inventory.metadata.namespace.as_deref().unwrap_or_default();
    let mut data = BTreeMap::new();
    for (index, one) in units.iter().enumerate() {
        let Some(name) = one.status.as_ref().and_then(|status| status.secret_name.as_deref()) else { continue };
        let secret = write::api::<Secret>(&inventories.client, namespace).get(name).await?;
        let values = secret.data.unwrap_or_default().into_iter();
        data.extend(values.map(|(name, value)| (key(&name, index, units.len()), value)));
    }
    Ok(data)
}
