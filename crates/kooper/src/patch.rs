//! Patches of objects that are not ours.
//!
//! A typed PUT of somebody else's object loses the fields that our version of its type can't name.
//! So such objects are patched, and only if they still are what we looked at.

use json_patch::jsonptr::PointerBuf;
use json_patch::{PatchOperation, TestOperation};
use kube::Resource;
use kube::api::Patch;
use kube::core::Status;
use serde_json::Value;

/// A JSON patch that is applied only if the object on the server still has the `uid` and the
/// `resourceVersion` of `seen`.
///
/// The first catches an object deleted and made anew under the same name, the second any change. The
/// server answers a stale one as [`is_stale`] tells, and `?` turns that into a
/// [`Conflict`](crate::Failure::Conflict).
pub fn guarded<K: Resource>(seen: &K, operations: Vec<PatchOperation>) -> Patch<()> {
    let meta = seen.meta();
    let mut all = vec![test("uid", meta.uid.as_deref()), test("resourceVersion", meta.resource_version.as_deref())];
    all.extend(operations);
    Patch::Json(json_patch::Patch(all))
}

/// Like [`guarded`], but whatever has changed in the meantime: only for the same `uid`.
///
/// For operations that are right on any version of the object, such as setting one annotation.
pub fn guarded_by_uid<K: Resource>(seen: &K, operations: Vec<PatchOperation>) -> Patch<()> {
    let mut all = vec![test("uid", seen.meta().uid.as_deref())];
    all.extend(operations);
    Patch::Json(json_patch::Patch(all))
}

/// Whether a write was refused because the object has changed, or is another one by now.
///
/// That is 409, and for a JSON patch whose `test` did not hold 422 without causes: the API server
/// says no more about it than that (`k8s.io/apiserver`, `endpoints/handlers/patch.go`), while a
/// refusal by validation names fields.
pub fn is_stale(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_stale_status(status))
}

pub(crate) fn is_stale_status(status: &Status) -> bool {
    let names_causes = status.details.as_ref().is_some_and(|details| !details.causes.is_empty());
    status.code == 409 || status.code == 422 && !names_causes
}

fn test(field: &str, value: Option<&str>) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: PointerBuf::from_tokens(["metadata", field]),
        value: value.map_or(Value::Null, Value::from),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn seen() -> ConfigMap {
        from_value(json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}})).unwrap()
    }

    fn operations() -> Vec<PatchOperation> {
        from_value(json!([{"op": "remove", "path": "/data/a"}])).unwrap()
    }

    fn json(patch: Patch<()>) -> Value {
        match patch {
            Patch::Json(patch) => to_value(patch).unwrap(),
            other => panic!("not a JSON patch: {other:?}"),
        }
    }

    #[test]
    fn the_tests_come_before_the_operations() {
        assert_eq!(
            json(guarded(&seen(), operations())),
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "remove", "path": "/data/a"},
            ])
        );
        assert_eq!(
            json(guarded_by_uid(&seen(), operations())),
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "remove", "path": "/data/a"},
            ])
        );
    }

    #[test]
    fn only_conflicts_and_failed_tests_are_stale() {
        let stale = |status: Value| is_stale(&kube::Error::Api(from_value(status).unwrap()));
        assert!(stale(json!({"code": 409, "reason": "Conflict"})));
        assert!(stale(json!({"code": 422, "reason": "Invalid", "details": {}})));
        assert!(!stale(json!({"code": 422, "reason": "Invalid", "details": {
            "causes": [{"reason": "FieldValueInvalid", "message": "no", "field": "spec"}]}})));
        assert!(!stale(json!({"code": 404, "reason": "NotFound"})));
    }
}
