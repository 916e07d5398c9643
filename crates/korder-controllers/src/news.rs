//! Events: what users read in `kubectl describe`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kooper::{Event, EventType, Recorder};
use korder_core::conditions::READY;
use korder_core::reasons;
use kube::Resource;
use tracing::info;

/// Tells of a change of the `Ready` condition, if its reason has changed.
pub(crate) fn of_transition<K>(recorder: &Recorder, object: &K, action: &str, before: &[Condition], after: &[Condition])
where
    K: Resource<DynamicType = ()>,
{
    let ready = |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == READY).cloned();
    let Some(now) = ready(after) else { return };
    if ready(before).is_some_and(|before| before.reason == now.reason) {
        return;
    }
    tell(recorder, object, action, &now.reason, &now.message);
}

/// Tells of something that happened to an object, by an event and in the log.
pub(crate) fn tell<K>(recorder: &Recorder, object: &K, action: &str, reason: &str, note: &str)
where
    K: Resource<DynamicType = ()>,
{
    let type_ = if reasons::is_warning(reason) { EventType::Warning } else { EventType::Normal };
    let meta = object.meta();
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    info!(kind = %K::kind(&()), namespace, name, reason, "{note}");
    let event = Event { type_, reason: reason.to_owned(), action: action.to_owned(), note: note.to_owned() };
    recorder.publish(&object.object_ref(&()), event);
}
