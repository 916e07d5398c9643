//! Applying patches.

use serde_json::{Map, Value};

use crate::kind::{Kind, Rules};
use crate::refusal::{Refusal, bad_request, not_simulated, too_large, unprocessable, unsupported_media_type};

/// The most operations that a JSON patch may have.
const MAX_OPERATIONS: usize = 10_000;

/// The four forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    /// Reads a `Content-Type`.
    ///
    /// # Errors
    /// 415 for any other.
    pub(crate) fn parse(content_type: &str) -> Result<Self, Refusal> {
        match content_type {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => Err(unsupported_media_type("application/json-patch+json, application/merge-patch+json")),
        }
    }
}

/// The object that a patch makes of the current one.
pub(super) fn apply(kind: &Kind, patch_type: PatchType, patch: &[u8], current: &Value) -> Result<Value, Refusal> {
    let mut patched = current.clone();
    match patch_type {
        PatchType::Json => {
            let patch: json_patch::Patch =
                serde_json::from_slice(patch).map_err(|error| bad_request(format!("error decoding patch: {error}")))?;
            if patch.len() > MAX_OPERATIONS {
                return Err(too_large(MAX_OPERATIONS));
            }
            json_patch::patch(&mut patched, &patch).map_err(|_| unprocessable())?;
        }
        PatchType::Merge => json_patch::merge(&mut patched, &Value::Object(decode(patch)?)),
        PatchType::Strategic if kind.rules == Rules::Custom => {
            return Err(unsupported_media_type("application/json-patch+json, application/merge-patch+json"));
        }
        PatchType::Strategic => merge_strategically(&mut patched, decode(patch)?)?,
        PatchType::Apply => return Err(not_simulated("server-side apply: send a JSON patch or a merge patch")),
    }
    Ok(patched)
}

fn decode(patch: &[u8]) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_slice(patch).map_err(|error| bad_request(format!("error decoding patch: {error}")))
}

/// Merges as Kubernetes' own kinds do: maps key by key, conditions by their type. Other lists would need the schemas of
/// all kinds, and are refused.
fn merge_strategically(target: &mut Value, patch: Map<String, Value>) -> Result<(), Refusal> {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, change) in patch {
        if key.starts_with('$') {
            return Err(not_simulated(format!("the directive `{key}` in a strategic merge patch")));
        }
        match change {
            Value::Null => drop(target.as_object_mut().and_then(|map| map.remove(&key))),
            Value::Object(change) => merge_strategically(&mut target[&key], change)?,
            Value::Array(changes) if key == "conditions" => merge_conditions(&mut target[&key], changes)?,
            Value::Array(_) => return Err(not_simulated(format!("the list `{key}` in a strategic merge patch"))),
            scalar => target[&key] = scalar,
        }
    }
    Ok(())
}

fn merge_conditions(target: &mut Value, changes: Vec<Value>) -> Result<(), Refusal> {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    for change in changes {
        let Value::Object(change) = change else {
            return Err(bad_request("a strategic merge patch needs maps in `conditions`"));
        };
        let Some(wanted) = change.get("type").cloned() else {
            return Err(bad_request("a condition in a strategic merge patch needs its `type`"));
        };
        let Some(conditions) = target.as_array_mut() else { continue };
        let place = conditions.iter().position(|condition| condition["type"] == wanted).unwrap_or(conditions.len());
        if place == conditions.len() {
            conditions.push(Value::Null);
        }
        merge_strategically(&mut conditions[place], change)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(patch_type: PatchType, patch: &Value, expected: &Result<Value, u16>) {
        let current = json!({"spec": {"a": 1, "b": {"c": 2}}, "status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "Fine"}, {"type": "Other", "status": "False"},
        ]}});
        let pod = Kind::builtin().remove(0);
        let seen = apply(&pod, patch_type, patch.to_string().as_bytes(), &current).map_err(|status| status.code);
        assert_eq!(&seen.map(|value| value["spec"].clone()), expected, "{patch}");
    }

    #[test]
    fn json_patches() {
        let test =
            |value| json!([{"op": "test", "path": "/spec/a", "value": value}, {"op": "remove", "path": "/spec/b"}]);
        check(PatchType::Json, &test(1), &Ok(json!({"a": 1})));
        check(PatchType::Json, &test(2), &Err(422));
        check(PatchType::Json, &json!([{"op": "remove", "path": "/spec/x"}]), &Err(422));
        check(PatchType::Json, &json!([{"op": "jump", "path": "/spec"}]), &Err(400));
        check(PatchType::Json, &json!({"spec": 1}), &Err(400));
        let one = json!({"op": "test", "path": "/spec/a", "value": 1});
        check(PatchType::Json, &Value::Array(vec![one; MAX_OPERATIONS + 1]), &Err(413));
    }

    #[test]
    fn merge_patches() {
        check(PatchType::Merge, &json!({"spec": {"a": null, "b": {"d": 3}}}), &Ok(json!({"b": {"c": 2, "d": 3}})));
        check(PatchType::Merge, &json!([1]), &Err(400));
    }

    #[test]
    fn strategic_merge_patches() {
        check(PatchType::Strategic, &json!({"spec": {"a": null, "b": {"d": 3}}}), &Ok(json!({"b": {"c": 2, "d": 3}})));
        check(PatchType::Strategic, &json!({"spec": {"list": [1]}}), &Err(501));
        check(PatchType::Strategic, &json!({"spec": {"$patch": "replace"}}), &Err(501));
        check(PatchType::Apply, &json!({}), &Err(501));

        let mut conditions = json!([{"type": "Ready", "status": "True", "reason": "Fine"}, {"type": "Other"}]);
        let changes = vec![json!({"type": "Ready", "status": "False"}), json!({"type": "New", "status": "True"})];
        merge_conditions(&mut conditions, changes).unwrap();
        let expected = json!([
            {"type": "Ready", "status": "False", "reason": "Fine"}, {"type": "Other"}, {"type": "New", "status": "True"},
        ]);
        assert_eq!(conditions, expected);
    }

    #[test]
    fn custom_kinds_know_no_strategic_merge() {
        let gvk = kube::core::GroupVersionKind::gvk("e.com", "v1", "Shop");
        let shop = Kind::custom(kube::core::ApiResource::from_gvk(&gvk));
        let seen = apply(&shop, PatchType::Strategic, b"{}", &json!({})).map_err(|status| status.code);
        assert_eq!(seen, Err(415));
    }
}
