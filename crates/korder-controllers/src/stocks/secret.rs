//! The Secret with a unit's sensitive outputs, which goes with the unit.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kooper::Failure;
use korder_api::{Stock, names};
use korder_core::reasons;
use korder_core::stock::{self, Failure as Unmade, sku};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::core::Status;

use super::{Stocks, account};
use crate::write;

/// Keeps sensitive outputs, and tells in which Secret; none where there are none.
///
/// A Secret that was made for this unit before and says something else is made anew: it was made by a process that died
/// before the unit said so, and nobody can have read it as the unit's.
pub(super) async fn keep(
    stocks: &Stocks,
    stock: &Stock,
    outputs: &BTreeMap<String, String>,
) -> Result<Result<Option<String>, Unmade>, Failure> {
    if outputs.is_empty() {
        return Ok(Ok(None));
    }
    let secret = secret(stock, outputs);
    let name = secret.metadata.name.clone().unwrap_or_default();
    let api = write::api::<Secret>(&stocks.client, stock.metadata.namespace.as_deref().unwrap_or_default());
    let there = match api.create(&PostParams::default(), &secret).await {
        Ok(_) => return Ok(Ok(Some(name))),
        Err(kube::Error::Api(status)) if status.code == 409 => api.get(&name).await,
        Err(error) => Err(error),
    };
    let there = match there {
        Ok(there) => there,
        Err(kube::Error::Api(status)) if write::is_refused(&status) => return Ok(Err(refused(stock, &status))),
        Err(error) => return Err(write::failure(error)),
    };
    let label = |secret: &Secret| secret.metadata.labels.as_ref()?.get(names::LABEL_STOCK_UID).cloned();
    if label(&there).is_none() || label(&there) != label(&secret) {
        let why =
            format!("a Secret `{name}` is there already, and is not of this unit; its sensitive outputs belong there");
        return Ok(Err(Unmade::new(reasons::OBJECT_EXISTS, why)));
    }
    if there.data == secret.data {
        return Ok(Ok(Some(name)));
    }
    let preconditions =
        Some(Preconditions { uid: there.metadata.uid, resource_version: there.metadata.resource_version });
    match api.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => Err(Failure::Conflict("a Secret with the outputs of an attempt before is made anew".into())),
        Err(kube::Error::Api(status)) if write::is_refused(&status) => Ok(Err(refused(stock, &status))),
        Err(error) => Err(write::failure(error)),
    }
}

/// Whether each of the sensitive outputs of a unit that was made like new is another one than its last holder knows; the Secret
/// with those goes.
///
/// Where it has gone already, a process has looked before that died before the unit said so.
pub(super) async fn renewed(
    stocks: &Stocks,
    stock: &Stock,
    outputs: &BTreeMap<String, String>,
) -> Result<Result<(), Unmade>, Failure> {
    let known = stock.status.as_ref().and_then(|status| status.secret_name.as_deref());
    let Some(known) = known.filter(|known| *known != name_for(stock)) else { return Ok(Ok(())) };
    let api = write::api::<Secret>(&stocks.client, stock.metadata.namespace.as_deref().unwrap_or_default());
    let there = match api.get_opt(known).await {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(Ok(())),
        Err(kube::Error::Api(status)) if write::is_refused(&status) => return Ok(Err(refused(stock, &status))),
        Err(error) => return Err(write::failure(error)),
    };
    let was = |name: &str| there.data.as_ref().and_then(|data| data.get(name)).map(|value| value.0.as_slice());
    if let Some((same, _)) = outputs.iter().find(|(name, value)| was(name) == Some(value.as_bytes())) {
        let why = format!("output `{same}` is sensitive, and `reset` gave the value that the last holder knows");
        return Ok(Err(Unmade::new(reasons::OUTPUT_INVALID, why)));
    }
    let preconditions = Some(Preconditions { uid: there.metadata.uid, resource_version: None });
    match api.delete(known, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if write::is_not_found(&error) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if write::is_refused(&status) => Ok(Err(refused(stock, &status))),
        Err(error) => Err(write::failure(error)),
    }
}

/// Each time that a unit is made like new it has another Secret.
fn name_for(stock: &Stock) -> String {
    let name = stock::name(stock);
    match stock.status.as_ref().and_then(|status| status.resets) {
        Some(number) => format!("{name}-outputs-{number}"),
        None => format!("{name}-outputs"),
    }
}

fn secret(stock: &Stock, outputs: &BTreeMap<String, String>) -> Secret {
    let data = outputs.iter().map(|(name, value)| (name.clone(), ByteString(value.clone().into_bytes())));
    Secret {
        metadata: ObjectMeta {
            name: Some(name_for(stock)),
            namespace: stock.metadata.namespace.clone(),
            labels: Some(stock::labels(stock)),
            owner_references: stock::owner_reference(stock).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data.collect()),
        ..Secret::default()
    }
}

fn refused(stock: &Stock, status: &Status) -> Unmade {
    if status.code == 403 && status.message.contains("resource \"secrets\"") {
        let namespace = stock.metadata.namespace.as_deref().unwrap_or_default();
        let account = sku::account(&stock.spec.item);
        return account::grant_missing(namespace, account, "may not keep the sensitive outputs of what is made as");
    }
    Unmade::new(reasons::REFUSED, format!("the Secret with the sensitive outputs: {}", status.message))
}
