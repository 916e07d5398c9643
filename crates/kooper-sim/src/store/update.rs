//! Changing objects: PUT, PATCH, and the subresources that change one.

use std::sync::Arc;

use serde_json::Value;

use super::patch::{self, PatchType};
use super::{Call, Key, Store, definition, meta, pod};
use crate::kind::{Kind, Rules};
use crate::object::Object;
use crate::refusal::{Refusal, not_simulated};

/// How an object shall change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// To this.
    Replace(Value),
    /// By this patch.
    Patch(PatchType, Vec<u8>),
}

impl Store {
    /// Changes an object, or by `call.subresource` its status. Where nothing changes, nothing is written.
    ///
    /// # Errors
    /// The Status that the API server answers with.
    pub(crate) fn update(&mut self, call: &Call, key: &Key, change: Change) -> Result<Arc<Object>, Refusal> {
        let kind = self.collection(&call.resource)?.kind.clone();
        let current = self.get(&call.resource, key)?.clone();
        let mut proposed = match change {
            Change::Replace(object) => object,
            Change::Patch(patch_type, patch) => patch::apply(&kind, patch_type, &patch, current.value())?,
        };
        meta::check_identity(&kind, &key.namespace, Some(&key.name), &mut proposed)?;
        if call.verb == crate::request::Verb::Update {
            meta::check_put_uid(&kind, current.value(), &proposed)?;
        }
        meta::check_version(&kind, current.value(), &proposed)?;
        match call.subresource.as_deref() {
            None => prepare_main(&kind, current.value(), &mut proposed),
            Some("status") => prepare_status(&kind, current.value(), &mut proposed),
            Some(other) => return Err(not_simulated(format!("the subresource `{other}` of {kind}"))),
        }
        self.ask_admission(call, &kind, Some(current.value()), &mut proposed)?;
        meta::prepare_update(&kind, current.value(), &mut proposed)?;
        match kind.rules {
            Rules::Pod => pod::prepare_update(&kind, current.value(), &mut proposed)?,
            Rules::Definition => definition::prepare(&kind, &mut proposed, call.now)?,
            _ => {}
        }
        if call.subresource.is_none() && is_new_generation(&kind, current.value(), &proposed) {
            meta::bump_generation(&mut proposed);
        }
        let written = self.write_changed(call, current, proposed)?;
        self.serve_defined(call, &kind, written.value())?;
        Ok(written)
    }

    /// Writes a changed object; removes it, if the change took the last thing that kept an ending object.
    fn write_changed(&mut self, call: &Call, current: Arc<Object>, proposed: Value) -> Result<Arc<Object>, Refusal> {
        if proposed == *current.value() {
            return Ok(current);
        }
        let metadata = &current.value()["metadata"];
        let ends = current.is_ending()
            && metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or_default() == 0
            && meta::list(&proposed["metadata"], "finalizers").is_empty();
        if ends {
            self.commit(call, Some(current), None)?;
            // Who took the last finalizer gets the object that he sent, as after any other update.
            return Ok(Object::unstored(proposed));
        }
        self.commit(call, Some(current), Some(proposed))
    }
}

/// A write to the object itself ignores the status where that has a subresource.
fn prepare_main(kind: &Kind, current: &Value, proposed: &mut Value) {
    if kind.status {
        meta::copy_field(current, proposed, "status");
    }
}

/// A write to the status ignores the spec; a custom resource's also ignores all metadata.
fn prepare_status(kind: &Kind, current: &Value, proposed: &mut Value) {
    if kind.rules == Rules::Custom {
        let status = proposed["status"].take();
        *proposed = current.clone();
        meta::copy_field(&serde_json::json!({ "status": status }), proposed, "status");
        return;
    }
    meta::copy_field(current, proposed, "spec");
    if kind.rules == Rules::Pod {
        let owners = &current["metadata"];
        meta::copy_field(owners, &mut proposed["metadata"], "ownerReferences");
    }
}

/// Whether a write changes what is wanted: for a custom resource anything but metadata (its status is put back before,
/// where it has a subresource), for a pod its spec. Other kinds have no generation here.
fn is_new_generation(kind: &Kind, current: &Value, proposed: &Value) -> bool {
    match kind.rules {
        Rules::Custom | Rules::Definition => without_metadata(current).ne(without_metadata(proposed)),
        Rules::Pod => current["spec"] != proposed["spec"],
        Rules::BuiltIn | Rules::Lease | Rules::Namespace => false,
    }
}

fn without_metadata(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten().filter(|(key, _)| *key != "metadata")
}
