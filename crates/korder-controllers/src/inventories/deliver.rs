//! Writes what a unit brings into an object of its order's, and takes it away again.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use korder_api::order::Deliver;
use korder_api::{Inventory, Order, Stock, names};
use korder_core::reasons;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
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
        Some(Target::ConfigMap(name)) => blocked::<ConfigMap>(inventories, order, name).await,
        Some(Target::Secret(name)) => blocked::<Secret>(inventories, order, name).await,
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
            let is_same = |one: &ConfigMap, two: &ConfigMap| one.data.iter().flatten().eq(two.data.iter().flatten());
            create(inventories, order, &body, is_same).await
        }
        Some(Target::Secret(name)) => match sensitive(inventories, inventory, units).await {
            Err(error) => Err(error),
            Ok(Err(gone)) => return Ok(Some(gone)),
            Ok(Ok(mut data)) => {
                data.extend(plain(units).into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))));
                let body = Secret { metadata: metadata(order, name), data: Some(data), ..Secret::default() };
                let is_same = |one: &Secret, two: &Secret| one.data.iter().flatten().eq(two.data.iter().flatten());
                create(inventories, order, &body, is_same).await
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

/// What the API server's answer means for the order: whether an object is in the way, or we may not look, or none can
/// be made.
fn refused(order: &Order, in_the_way: Result<bool, kube::Error>) -> Result<Option<Refusal>, kube::Error> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let not_taken = |name: &str, why: &str| {
        Ok(Some(Refusal { reason: reasons::REFUSED, message: format!("`{name}` can't be delivered to: {why}") }))
    };
    match (in_the_way, Target::of(order)) {
        (Ok(false), _) | (_, None) => Ok(None),
        (Ok(true), Some(Target::ConfigMap(name) | Target::Secret(name))) => Ok(Some(Refusal {
            reason: reasons::DELIVER_EXISTS,
            message: format!(
                "`deliver` names `{name}`, which is there already and is not this order's, or is being deleted: delete \
                 it, or name another"
            ),
        })),
        (Err(kube::Error::Api(status)), Some(Target::Secret(_))) if status.code == 403 => Ok(Some(Refusal {
            reason: reasons::GRANT_MISSING,
            message: format!(
                "korder may not handle Secrets in a namespace that its outputs come from or go to: \
                 `korder install --namespace-grant {namespace}/default` lets it ({})",
                status.message
            ),
        })),
        (Err(kube::Error::Api(status)), Some(Target::ConfigMap(name) | Target::Secret(name)))
            if write::is_refused(&status) || status.code == 413 =>
        {
            not_taken(name, &status.message)
        }
        // A name of which no address can be made.
        (
            Err(error @ (kube::Error::BuildRequest(_) | kube::Error::HttpError(_))),
            Some(Target::ConfigMap(name) | Target::Secret(name)),
        ) => not_taken(name, &error.to_string()),
        (Err(error), Some(_)) => Err(error),
    }
}

fn is_of(order: &Order, object: &impl Resource) -> bool {
    let owners = object.meta().owner_references.iter().flatten();
    owners.into_iter().any(|owner| Some(&owner.uid) == order.metadata.uid.as_ref())
}

/// Whether an object is not this order's, or soon is there no more.
fn is_in_the_way(order: &Order, object: &impl Resource) -> bool {
    !is_of(order, object) || object.meta().deletion_timestamp.is_some()
}

async fn blocked<K: Namespaced>(inventories: &Inventories, order: &Order, name: &str) -> Result<bool, kube::Error> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let there = write::api::<K>(&inventories.client, namespace).get_opt(name).await?;
    Ok(there.is_some_and(|there| is_in_the_way(order, &there)))
}

/// Makes an object; whether one is in its way.
///
/// One of the order's own was made by a process that died before the order was told: where it says something else, that
/// was of a unit that is lost since, and it is made anew.
async fn create<K: Namespaced + Serialize>(
    inventories: &Inventories,
    order: &Order,
    body: &K,
    is_same: fn(&K, &K) -> bool,
) -> Result<bool, kube::Error> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let api = write::api::<K>(&inventories.client, namespace);
    let params =
        PostParams { field_manager: Some(names::CONTROLLER_FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, body).await {
        Ok(_) => return Ok(false),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error),
    }
    if let Some(there) = api.get_opt(&body.name_any()).await? {
        if is_in_the_way(order, &there) {
            return Ok(true);
        }
        if is_same(&there, body) {
            return Ok(false);
        }
        delete(&api, &there).await?;
    }
    api.create(&params, body).await.map(|_| false)
}

async fn remove<K: Namespaced>(inventories: &Inventories, order: &Order, name: &str) -> Result<(), kube::Error> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let api = write::api::<K>(&inventories.client, namespace);
    let there = match api.get_opt(name).await {
        // Nothing has a name of which no address can be made.
        Err(kube::Error::BuildRequest(_) | kube::Error::HttpError(_)) => None,
        read => read?,
    };
    let Some(there) = there.filter(|there| is_of(order, there)) else { return Ok(()) };
    delete(&api, &there).await
}

/// Deletes this very object.
async fn delete<K: Namespaced>(api: &Api<K>, there: &K) -> Result<(), kube::Error> {
    let preconditions = Preconditions { uid: there.meta().uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&there.name_any(), &params).await {
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

/// The sensitive outputs of units; or that somebody has deleted the Secret of one: they are kept nowhere else.
async fn sensitive(
    inventories: &Inventories,
    inventory: &Inventory,
    units: &[Arc<Stock>],
) -> Result<Result<BTreeMap<String, ByteString>, Refusal>, kube::Error> {
    let namespace = inventory.metadata.namespace.as_deref().unwrap_or_default();
    let mut data = BTreeMap::new();
    for (index, one) in units.iter().enumerate() {
        let Some(name) = one.status.as_ref().and_then(|status| status.secret_name.as_deref()) else { continue };
        let Some(secret) = write::api::<Secret>(&inventories.client, namespace).get_opt(name).await? else {
            let message = format!(
                "the Secret `{name}` with what unit `{}` brings was deleted: delete this order, and place another",
                one.name_any()
            );
            return Ok(Err(Refusal { reason: reasons::OUTPUTS_GONE, message }));
        };
        let values = secret.data.unwrap_or_default().into_iter();
        data.extend(values.map(|(name, value)| (key(&name, index, units.len()), value)));
    }
    Ok(Ok(data))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn order() -> Order {
        let mut order = Order::new("my", serde_json::from_value(json!({"deliver": {"configMapName": "out"}})).unwrap());
        order.metadata.uid = Some("u".to_owned());
        order
    }

    #[test]
    fn what_can_not_be_made_is_told_and_what_may_pass_is_tried_again() {
        let told = |error| refused(&order(), Err(error)).map(|refusal| refusal.map(|one| one.reason));
        let answer = |code| kube::Error::Api(Status::failure("no", "Why").with_code(code).boxed());
        for code in [400, 403, 413, 422] {
            assert_eq!(told(answer(code)).unwrap(), Some(reasons::REFUSED), "{code}");
        }
        for code in [404, 409, 500] {
            assert!(told(answer(code)).is_err(), "{code}");
        }
        let unnamed = kube::core::request::Error::Validation("a name is needed".to_owned());
        assert_eq!(told(kube::Error::BuildRequest(unnamed)).unwrap(), Some(reasons::REFUSED));
    }

    #[test]
    fn only_the_order_s_own_object_is_of_use() {
        let blocks = |metadata: serde_json::Value| {
            let there: ConfigMap = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            is_in_the_way(&order(), &there)
        };
        let owner = |uid: &str| json!([{"apiVersion": names::API_VERSION, "kind": "Order", "name": "my", "uid": uid}]);
        assert!(blocks(json!({})));
        assert!(blocks(json!({"ownerReferences": owner("another")})));
        assert!(!blocks(json!({"ownerReferences": owner("u")})));
        assert!(blocks(json!({"ownerReferences": owner("u"), "deletionTimestamp": "2026-01-01T00:00:00Z"})));
    }
}
