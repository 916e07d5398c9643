//! Every change after a version, whatever becomes of the watch and of the API server that serves it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::Change;
use crate::history::key;

/// How long an API server may be away.
const AWAY: Duration = Duration::from_mins(3);
/// How often one that is away is asked again.
const RETRY: Duration = Duration::from_millis(200);
/// The API server no longer tells watches what came after a version.
const GONE: u16 = 410;

/// Whether an answer is none of the API server's own: it is away, or has too much to do.
pub fn is_away(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 503 | 504),
        _ => true,
    }
}

/// Tells every change after a version, reading watches one after the other; ends when that can't be done.
///
/// An API server that begins anew tells no watch what was before. That is read off lists of the past, which it has for
/// five minutes: each change of an object is found there but for those of one that came and went in between.
pub async fn follow<K>(
    api: &Api<K>,
    params: &WatchParams,
    mut version: String,
    mut on: impl FnMut(Change, K),
) -> Result<Infallible>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let mut answered = Instant::now();
    loop {
        let is_gone = match api.watch(params, &version).await {
            Ok(events) => {
                answered = Instant::now();
                let mut events = pin!(events);
                // A stream that fails is taken up again like one that ends: the API server closes them under load.
                loop {
                    let (change, object) = match events.try_next().await {
                        Ok(Some(WatchEvent::Added(object))) => (Change::Added, object),
                        Ok(Some(WatchEvent::Modified(object))) => (Change::Modified, object),
                        Ok(Some(WatchEvent::Deleted(object))) => (Change::Deleted, object),
                        Ok(Some(WatchEvent::Bookmark(bookmark))) => {
                            version = bookmark.metadata.resource_version;
                            continue;
                        }
                        Ok(Some(WatchEvent::Error(status))) if status.code == GONE => break true,
                        Ok(Some(WatchEvent::Error(status))) => bail!("the watch was refused: {}", status.message),
                        Ok(None) | Err(_) => break false,
                    };
                    version = object.resource_version().context("an object without a resource version")?;
                    on(change, object);
                }
            }
            Err(kube::Error::Api(status)) if status.code == GONE => true,
            Err(error) if is_away(&error) && answered.elapsed() < AWAY => {
                tokio::time::sleep(RETRY).await;
                false
            }
            Err(error) => return Err(error).context("cannot watch"),
        };
        if is_gone {
            version = catch_up(api, params, version, &mut on).await?;
        }
    }
}

/// Tells what changed after a version by lists of the past; the version up to which it did. Where the API server goes away
/// that is not the last one.
async fn catch_up<K>(
    api: &Api<K>,
    params: &WatchParams,
    version: String,
    on: &mut impl FnMut(Change, K),
) -> Result<String>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let selector = ListParams {
        label_selector: params.label_selector.clone(),
        field_selector: params.field_selector.clone(),
        ..ListParams::default()
    };
    let mut told: u64 = version.parse().context("a resource version that is no number")?;
    let past = async |version: u64| -> kube::Result<BTreeMap<String, K>> {
        let at = selector.clone().at(&version.to_string()).matching(kube::api::VersionMatch::Exact);
        Ok(api.list(&at).await?.items.into_iter().map(|object| (key(&object), object)).collect())
    };
    let filled = async {
        let last = api.list(&selector.clone().limit(1)).await?.metadata.resource_version.unwrap_or_default();
        let last = last.parse().unwrap_or(told);
        let mut before = past(told).await?;
        // The earliest is looked at next.
        let mut ahead = vec![(last, past(last).await?)];
        while let Some((version, after)) = ahead.pop() {
            let changes = differences(&before, &after);
            let middle = told.midpoint(version);
            if !changes.is_empty() && middle > told {
                ahead.push((version, after));
                ahead.push((middle, past(middle).await?));
                continue;
            }
            for (change, mut object) in changes {
                // As a watch tells it: the version of a removal is its own.
                object.meta_mut().resource_version = Some(version.to_string());
                on(change, object);
            }
            (told, before) = (version, after);
        }
        kube::Result::Ok(())
    };
    match filled.await {
        Err(error) if !is_away(&error) => Err(error).context("cannot read what was before the API server began"),
        _ => Ok(told.to_string()),
    }
}

/// What one change, or several, have made of these objects.
fn differences<K: Resource + Clone>(before: &BTreeMap<String, K>, after: &BTreeMap<String, K>) -> Vec<(Change, K)> {
    let meta = |object: &K| (object.meta().uid.clone(), object.meta().resource_version.clone());
    let mut changes = Vec::new();
    for (key, old) in before {
        if after.get(key).is_none_or(|new| new.meta().uid != old.meta().uid) {
            changes.push((Change::Deleted, old.clone()));
        }
    }
    for (key, new) in after {
        match before.get(key) {
            Some(old) if meta(old) == meta(new) => {}
            Some(old) if old.meta().uid == new.meta().uid => changes.push((Change::Modified, new.clone())),
            _ => changes.push((Change::Added, new.clone())),
        }
    }
    changes
}
