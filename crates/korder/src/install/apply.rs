//! Writing what an installation consists of.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use cli::Hinted;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use korder_api::names::SYSTEM_NAMESPACE;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, ResourceExt};

use super::objects::{api_of, identity, shown};
use super::{Change, FIELD_MANAGER, What};

/// How long the API server may take to serve a new kind.
const ESTABLISHED_DEADLINE: Duration = Duration::from_secs(30);

/// Applies the objects in their order.
pub(super) async fn apply(
    client: &Client,
    wanted: &[DynamicObject],
    existing: &[DynamicObject],
    dry_run: bool,
) -> anyhow::Result<Vec<Change>> {
    let params = PatchParams { dry_run, ..PatchParams::apply(FIELD_MANAGER).force() };
    let mut changes = Vec::new();
    for object in wanted {
        let before = match existing.iter().find(|there| identity(there) == identity(object)) {
            Some(there) => there.resource_version(),
            // Kinds and the namespace are not among what was listed.
            None => api_of(client, object).get_metadata_opt(&object.name_any()).await?.and_then(|it| it.resource_version()),
        };
        let what = match api_of(client, object).patch(&object.name_any(), &params, &Patch::Apply(object)).await {
            Ok(after) => what(before, after.resource_version()),
            Err(kube::Error::Api(status)) if dry_run && status.code == 404 && in_new_namespace(object) => What::Created,
            Err(error) => return Err(refused(object, error)),
        };
        changes.push(Change { object: shown(object), what });
    }
    Ok(changes)
}

fn what(before: Option<String>, after: Option<String>) -> What {
    match before {
        None => What::Created,
        Some(_) if before == after => What::Unchanged,
        Some(_) => What::Changed,
    }
}

/// A dry run makes no namespace, so that nothing can be tried in it.
fn in_new_namespace(object: &DynamicObject) -> bool {
    object.namespace().as_deref() == Some(SYSTEM_NAMESPACE)
}

fn refused(object: &DynamicObject, error: kube::Error) -> anyhow::Error {
    let context = format!("cannot apply `{}`", shown(object));
    match error {
        kube::Error::Api(status) if status.code == 403 => anyhow!(Hinted::new(
            anyhow!(kube::Error::Api(status)).context(context),
            "installing needs the rights of a cluster administrator; see `kubectl auth whoami`"
        )),
        error => anyhow!(error).context(context),
    }
}

/// Waits until objects of our kinds can be made.
pub(super) async fn established(client: &Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in korder_manifests::crds() {
        let name = crd.name_any();
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
        Err(error) => Err(anyhow!(error).context(format!("cannot delete `{}`", shown(object)))),
    }
}
