//! Writes, each with what it must find to be made, and taken into the caches at once.

use std::time::Duration;

use futures::{StreamExt, stream};
use kooper::{Cache, Failure, Key, Outcome, patch};
use korder_api::names::CONTROLLER_FIELD_MANAGER;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{NamespaceResourceScope, Request, Status};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

/// How many writes one reconcile has in flight.
const IN_FLIGHT: usize = 16;

/// How soon a pass is made again after a write that others were faster with.
const CONFLICT_RETRY: Duration = Duration::from_millis(50);
/// How soon a pass is made again after a write that failed otherwise.
const ERROR_RETRY: Duration = Duration::from_secs(1);

/// Makes writes side by side, all of them even if one fails; what came of each, in their order.
pub(crate) async fn all<T>(writes: Vec<impl Future<Output = T>>) -> Vec<T> {
    stream::iter(writes).buffered(IN_FLIGHT).collect().await
}

/// When to make a pass over many objects again of which some writes failed. A steady pace instead of a growing one:
/// one object that can't be written must not hold up the others.
pub(crate) fn pace(results: &[Result<(), kube::Error>]) -> Option<Outcome> {
    let mut retry = None;
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        if patch::is_stale(error) || is_not_found(error) {
            retry.get_or_insert(CONFLICT_RETRY);
        } else {
            warn!(error = %error, "a write failed and is tried again");
            retry = Some(ERROR_RETRY);
        }
    }
    retry.map(Outcome::After)
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Objects that live in a namespace and whose type says which kind they are.
pub(crate) trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

pub(crate) fn api<K: Namespaced>(client: &Client, namespace: &str) -> Api<K> {
    Api::namespaced(client.clone(), namespace)
}

/// Whether an object of the name was there already.
#[derive(Debug)]
pub(crate) enum Created<K> {
    /// It is made.
    New,
    /// There is one of that name, read live.
    Exists(K),
}

/// Makes an object of our own definition, read back as the type that the cache holds.
///
/// A creation whose reply was lost finds its own object: the caller tells by the owner.
pub(crate) async fn create<B, K>(client: &Client, cache: &Cache<K>, body: &B) -> Result<Created<K>, kube::Error>
where
    B: Resource<DynamicType = ()> + Serialize,
    K: Namespaced,
{
    let namespace = body.meta().namespace.as_deref().unwrap_or_default();
    let name = body.meta().name.as_deref().unwrap_or_default();
    let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
    let request = Request::new(B::url_path(&(), Some(namespace)))
        .create(&post_params(), bytes)
        .map_err(kube::Error::BuildRequest)?;
    match client.request::<K>(request).await {
        Ok(made) => {
            cache.wrote(made);
            Ok(Created::New)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api::<K>(client, namespace).get(name).await?;
            cache.wrote(there.clone());
            Ok(Created::Exists(there))
        }
        Err(error) => Err(error),
    }
}

/// Writes the status of one of our kinds, if the object is still the version that was looked at; it is read back as the
/// type that the cache holds.
pub(crate) async fn status<B, K>(client: &Client, cache: &Cache<K>, body: &B) -> Result<(), kube::Error>
where
    B: Resource<DynamicType = ()> + Serialize,
    K: Namespaced,
{
    let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
    let request = Request::new(B::url_path(&(), body.meta().namespace.as_deref()))
        .replace_subresource("status", &body.name_any(), &post_params(), bytes)
        .map_err(kube::Error::BuildRequest)?;
    match client.request::<K>(request).await {
        Ok(written) => {
            cache.wrote(written);
            Ok(())
        }
        Err(error) => Err(outdated(client, cache, body.meta(), error).await),
    }
}

/// Removes an object of this uid (and, where asked, of this very version) at once.
///
/// An object that is gone already is a success; one that somebody's finalizer keeps stays in the cache as it is now.
pub(crate) async fn delete<K: Namespaced>(
    client: &Client,
    cache: &Cache<K>,
    object: &K,
    same_version: bool,
) -> Result<(), kube::Error> {
    let meta = object.meta();
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone().filter(|_| same_version),
        }),
        ..DeleteParams::background()
    };
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let key = Key::of(object);
    let uid = meta.uid.as_deref().unwrap_or_default();
    match api::<K>(client, namespace).delete(&key.name, &params).await {
        Ok(deleted) => match deleted.left().filter(|left| !left.finalizers().is_empty()) {
            Some(kept) => cache.wrote(kept),
            None => cache.deleted(&key, uid),
        },
        Err(kube::Error::Api(status)) if status.code == 404 => cache.deleted(&key, uid),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Which part of an object is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status.
    Main,
    /// The status.
    Status,
}

/// Patches an object that is not ours, if it is still the version that was looked at.
pub(crate) async fn patch<K: Namespaced>(
    client: &Client,
    cache: &Cache<K>,
    seen: &K,
    part: Part,
    operations: serde_json::Value,
) -> Result<(), kube::Error> {
    let operations = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
    let patch: Patch<()> = patch::guarded(seen, operations);
    let api = api::<K>(client, seen.meta().namespace.as_deref().unwrap_or_default());
    let name = seen.name_any();
    let patched = match part {
        Part::Main => api.patch(&name, &patch_params(), &patch).await,
        Part::Status => api.patch_status(&name, &patch_params(), &patch).await,
    };
    match patched {
        Ok(patched) => {
            cache.wrote(patched);
            Ok(())
        }
        Err(error) => Err(outdated(client, cache, seen.meta(), error).await),
    }
}

/// After a write that found the object gone or changed: brings the cache up to date, so that the next look does not
/// depend on how far behind the watch is.
async fn outdated<K: Namespaced>(
    client: &Client,
    cache: &Cache<K>,
    seen: &ObjectMeta,
    error: kube::Error,
) -> kube::Error {
    let [namespace, name, uid] =
        [&seen.namespace, &seen.name, &seen.uid].map(|text| text.as_deref().unwrap_or_default());
    let key = Key::namespaced(namespace, name);
    if is_not_found(&error) {
        cache.deleted(&key, uid);
    } else if patch::is_stale(&error) {
        // Best effort: where this fails too, the watch will tell.
        if let Ok(live) = api::<K>(client, namespace).get_opt(name).await {
            match live {
                Some(live) => cache.wrote(live),
                None => cache.deleted(&key, uid),
            }
        }
    }
    error
}

/// Whether the object of a write is gone.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether the API server refuses a write for what it says, so that trying again soon is no use.
pub(crate) fn is_refused(status: &Status) -> bool {
    matches!(status.code, 400 | 403 | 422)
}

/// Whether the API server refuses a patch for what it says, and not because the object has changed.
pub(crate) fn is_refused_for_good(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_refused(status)) && !patch::is_stale(error)
}

/// What to do about a write that failed: an object that is gone or has changed is looked at again.
pub(crate) fn failure(error: kube::Error) -> Failure {
    if is_not_found(&error) { Failure::Conflict(error.into()) } else { error.into() }
}
