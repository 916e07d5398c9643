//! Deleting objects.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Key, Store, meta, pod};
use crate::clock::rfc3339;
use crate::kind::{Kind, Rules};
use crate::object::Object;
use crate::refusal::{Refusal, conflict, not_simulated};

/// The body of a deletion.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    /// How long a pod gets to end; None for what its spec says.
    pub(crate) grace_period_seconds: Option<i64>,
    /// What the object must still be.
    pub(crate) preconditions: Option<Preconditions>,
    /// What happens to the objects that it owns.
    pub(crate) propagation_policy: Option<String>,
    /// The older form of the same.
    orphan_dependents: Option<bool>,
    /// `["All"]` for a dry run.
    pub(crate) dry_run: Vec<String>,
}

/// The finalizer by which an object stays until the garbage collector has removed what it owns.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// What an object must still be to be deleted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// What a deletion did.
#[derive(Clone, Debug)]
pub(crate) enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Object>),
    /// The object is marked, and goes when its finalizers or its node let go of it.
    Ending(Arc<Object>),
}

impl Store {
    /// Deletes an object, or marks it as ending.
    ///
    /// # Errors
    /// 404, 409 for preconditions that don't hold, 501 where dependents are to be orphaned.
    pub(crate) fn delete(&mut self, call: &Call, key: &Key, options: &DeleteOptions) -> Result<Deleted, Refusal> {
        let kind = self.collection(&call.resource)?.kind.clone();
        let current = self.get(&call.resource, key)?.clone();
        check_preconditions(&kind, &current, options.preconditions.as_ref())?;
        check_simulated(&kind, options)?;
        let grace = match kind.rules {
            Rules::Pod => Some(pod::grace_period(current.value(), options.grace_period_seconds)),
            _ => None,
        };
        let mut ending = current.value().clone();
        if options.propagation_policy.as_deref() == Some("Foreground") && !current.is_ending() {
            let mut finalizers = meta::list(&ending["metadata"], "finalizers").to_vec();
            finalizers.push(json!(FOREGROUND));
            ending["metadata"]["finalizers"] = json!(finalizers);
        }
        let has_finalizers = !meta::list(&ending["metadata"], "finalizers").is_empty();
        match mark(&ending, grace, has_finalizers, call.now) {
            Mark::Nothing => Ok(Deleted::Ending(current)),
            Mark::Remove => self.commit(call, Some(current), None).map(Deleted::Gone),
            Mark::Ending(marked) => self.commit(call, Some(current), Some(marked)).map(Deleted::Ending),
        }
    }
}

/// What is to be done to an object that shall go.
enum Mark {
    Nothing,
    Remove,
    Ending(Value),
}

/// `grace` is the time that a pod gets now; None for kinds that end at once.
fn mark(current: &Value, grace: Option<i64>, has_finalizers: bool, now: Timestamp) -> Mark {
    let metadata = &current["metadata"];
    let mut marked = current.clone();
    if metadata["deletionTimestamp"].is_null() {
        let grace = grace.unwrap_or_default();
        if grace == 0 && !has_finalizers {
            return Mark::Remove;
        }
        meta::bump_generation(&mut marked);
        set_end(&mut marked, now + SignedDuration::from_secs(grace), grace);
        return Mark::Ending(marked);
    }
    // An ending object's time can only be shortened.
    let left = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
    let shorter = grace.filter(|grace| *grace < left);
    match (left, shorter) {
        (0, _) | (_, Some(0)) if !has_finalizers => Mark::Remove,
        (_, Some(grace)) => {
            let end: Timestamp = metadata["deletionTimestamp"].as_str().and_then(|end| end.parse().ok()).unwrap_or(now);
            let end = end + SignedDuration::from_secs(grace - left);
            // Time that is already over leaves the least that is still graceful.
            if end < now {
                set_end(&mut marked, now, grace.min(1));
            } else {
                set_end(&mut marked, end, grace);
            }
            Mark::Ending(marked)
        }
        _ => Mark::Nothing,
    }
}

fn set_end(object: &mut Value, end: Timestamp, grace: i64) {
    object["metadata"]["deletionTimestamp"] = rfc3339(end).into();
    object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
}

fn check_preconditions(kind: &Kind, current: &Object, wanted: Option<&Preconditions>) -> Result<(), Refusal> {
    let Some(Preconditions { uid, resource_version }) = wanted else { return Ok(()) };
    let name = current.value()["metadata"]["name"].as_str().unwrap_or_default();
    let differs = |what: &str, wanted: &Option<String>, found: &str| match wanted {
        Some(wanted) if wanted != found => Err(conflict(
            kind,
            name,
            format!("the {what} in the precondition ({wanted}) is not that in record ({found})"),
        )),
        _ => Ok(()),
    };
    differs("UID", uid, current.uid())?;
    differs("ResourceVersion", resource_version, &current.revision().to_string())
}

fn check_simulated(kind: &Kind, options: &DeleteOptions) -> Result<(), Refusal> {
    match kind.rules {
        Rules::Namespace => return Err(not_simulated("the deletion of namespaces")),
        Rules::Definition => return Err(not_simulated("the deletion of definitions of custom resources")),
        _ => {}
    }
    match options.propagation_policy.as_deref() {
        None | Some("Background" | "Foreground") if options.orphan_dependents.is_none() => Ok(()),
        _ => Err(not_simulated("deletions that orphan dependents")),
    }
}
