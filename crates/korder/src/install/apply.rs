//! Writing what an installation consists of.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use cli::Hinted;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use korder_api::names::SYSTEM_NAMESPACE;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, ResourceExt};

use super::objects::{api_of, identity, is_definition, is_gate, is_namespace, shown};
use super::{Change, FIELD_MANAGER, What};
use crate::told::Told as _;

/// How long the API server may take to serve a new kind.
const ESTABLISHED_DEADLINE: Duration = Duration::from_secs(30);

/// How many objects are written side by side.
const IN_FLIGHT: usize = 8;

/// Applies the objects: first what others need, last what others must be there for, the rest side by side.
pub(super) async fn apply(
    client: &Client,
    wanted: &[DynamicObject],
    existing: &[DynamicObject],
    dry_run: bool,
) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for stage in wanted.chunk_by(|one, next| !is_namespace(one) && is_gate(one) == is_gate(next)) {
        let applied =
            stream::iter(stage).map(|object| apply_one(client, object, existing, dry_run)).buffered(IN_FLIGHT);
        changes.extend(applied.try_collect::<Vec<_>>().await?);
    }
    Ok(changes)
}

async fn apply_one(
    client: &Client,
    object: &DynamicObject,
    existing: &[DynamicObject],
    dry_run: bool,
) -> anyhow::Result<Change> {
    let api = api_of(client, object);
    let name = object.name_any();
    let listed = existing.iter().find(|there| identity(there) == identity(object)).cloned();
    let before = match listed {
        Some(listed) => Some(listed),
        // Kinds and the namespace are not among what was listed.
        None => api.get_opt(&name).await.told(|| format!("read `{}`", shown(object)))?,
    };
    let params = PatchParams { dry_run, ..PatchParams::apply(FIELD_MANAGER).force() };
    let what = match api.patch(&name, &params, &Patch::Apply(object)).await {
        Ok(after) => before.map_or(What::Created, |before| what(before, after)),
        Err(kube::Error::Api(status)) if dry_run && status.code == 404 && in_new_namespace(object) => What::Created,
        Err(error) => return Err(error).told(|| format!("apply `{}`", shown(object))),
    };
    Ok(Change { object: shown(object), what })
}

fn what(before: DynamicObject, after: DynamicObject) -> What {
    if content(before) == content(after) { What::Unchanged } else { What::Changed }
}

/// An object without its status and what the API server notes down about writes.
fn content(mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = None;
    object.metadata.resource_version = None;
    object.metadata.generation = None;
    object.types = None;
    if let Some(data) = object.data.as_object_mut() {
        data.remove("status");
    }
    object
}

/// A dry run makes no namespace, so that nothing can be tried in it.
fn in_new_namespace(object: &DynamicObject) -> bool {
    object.namespace().as_deref() == Some(SYSTEM_NAMESPACE)
}

/// Waits until objects of our kinds can be made.
pub(super) async fn established(client: &Client, wanted: &[DynamicObject]) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for name in wanted.iter().filter(|object| is_definition(object)).map(ResourceExt::name_any) {
        tokio::time::timeout(ESTABLISHED_DEADLINE, await_condition(api.clone(), &name, is_crd_established()))
            .await
            .map_err(|_| {
                anyhow!(Hinted::new(
                    format!("the kind `{name}` is not established after {} s", ESTABLISHED_DEADLINE.as_secs()),
                    format!("see its conditions: `kubectl describe crd {name}`"),
                ))
            })?
            .with_context(|| format!("cannot watch the kind `{name}`"))?;
    }
    Ok(())
}

/// Removes what an earlier installation put there and this one does without.
pub(super) async fn prune(
    client: &Client,
    wanted: &[DynamicObject],
    existing: &[DynamicObject],
    dry_run: bool,
) -> anyhow::Result<Vec<Change>> {
    let kept: BTreeSet<_> = wanted.iter().map(identity).collect();
    let mut changes = Vec::new();
    for object in existing.iter().filter(|object| !kept.contains(&identity(object))) {
        delete(client, object, dry_run).await?;
        changes.push(Change { object: shown(object), what: What::Removed });
    }
    Ok(changes)
}

/// Deletes this very object; one that is gone is a success.
pub(super) async fn delete(client: &Client, object: &DynamicObject, dry_run: bool) -> anyhow::Result<()> {
    let params = DeleteParams {
        dry_run,
        preconditions: Some(Preconditions { uid: object.uid(), resource_version: None }),
        ..DeleteParams::background()
    };
    match api_of(client, object).delete(&object.name_any(), &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).told(|| format!("delete `{}`", shown(object))),
    }
}
