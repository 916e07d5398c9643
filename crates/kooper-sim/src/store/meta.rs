//! What the API server does to metadata, for every kind.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Key;
use crate::clock::rfc3339;
use crate::hash::Hash;
use crate::kind::{Kind, Rules};
use crate::names::{is_dns_label, is_dns_subdomain, is_label_value, is_qualified_name};
use crate::refusal::{FieldError, Refusal, bad_request, conflict, internal, invalid, invalid_as, stale};

/// Fields that only the API server sets.
const SYSTEM_FIELDS: [&str; 6] =
    ["creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "managedFields", "selfLink", "uid"];
/// Lists and maps that an object has not rather than empty.
const OMITTED_WHEN_EMPTY: [&str; 4] = ["annotations", "finalizers", "labels", "ownerReferences"];

/// Checks that a body is what the address says: its kind, namespace and name.
pub(super) fn check_identity(
    kind: &Kind,
    namespace: &str,
    name: Option<&str>,
    body: &mut Value,
) -> Result<(), Refusal> {
    if !body["metadata"].is_object() {
        if !body.is_object() || !body["metadata"].is_null() {
            return Err(bad_request("the body is not an object with metadata"));
        }
        body["metadata"] = json!({});
    }
    check_type(kind, body)?;
    check_shape(kind, body)?;
    if kind.rules != Rules::Custom {
        drop_nulls(body);
    }
    let stated = |body: &Value, field: &str| body["metadata"][field].as_str().unwrap_or_default().to_owned();
    let stated_namespace = stated(body, "namespace");
    if !stated_namespace.is_empty() && stated_namespace != namespace {
        return Err(bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !namespace.is_empty() {
        body["metadata"]["namespace"] = namespace.into();
    }
    if let Some(name) = name {
        let stated_name = stated(body, "name");
        if stated_name != name {
            let why = format!("the name of the object ({stated_name}) does not match the name on the URL ({name})");
            return Err(bad_request(why));
        }
    }
    Ok(())
}

/// Refuses what a typed decoder would: text where a map belongs.
fn check_shape(kind: &Kind, body: &Value) -> Result<(), Refusal> {
    let maps = [("metadata", "labels"), ("metadata", "annotations")].map(|(map, field)| (field, &body[map][field]));
    let own = ["spec", "status"].map(|field| (field, &body[field])).into_iter().filter(|_| kind.rules != Rules::Custom);
    let wrong = maps.into_iter().chain(own).find(|(_, value)| !(value.is_null() || value.is_object()));
    match wrong {
        Some((field, value)) => Err(bad_request(format!("cannot unmarshal `{value}` into the map `{field}`"))),
        None => Ok(()),
    }
}

fn check_type(kind: &Kind, body: &mut Value) -> Result<(), Refusal> {
    let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    for (field, wanted) in [("apiVersion", &kind.api.api_version), ("kind", &kind.api.kind)] {
        match (body[field].as_str(), kind.rules) {
            (Some(given), _) if given == wanted => {}
            (None, Rules::Custom) => return Err(bad_request(format!("the body's `{field}` is missing"))),
            (None, _) => body[field] = wanted.as_str().into(),
            (Some(given), Rules::Custom) => {
                let error = FieldError::invalid(field, format!("\"{given}\""), format!("must be {wanted}"));
                return Err(invalid(kind, &name, vec![error]));
            }
            (Some(given), _) => {
                return Err(bad_request(format!(
                    "`{given}` in the body does not match the expected {field} `{wanted}`"
                )));
            }
        }
    }
    Ok(())
}

/// Gives a new object what the API server gives it, and checks the rest. `revision` only makes uids differ.
pub(super) fn prepare_create(
    kind: &Kind,
    object: &mut Value,
    seed: u64,
    revision: u64,
    now: Timestamp,
) -> Result<(), Refusal> {
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
        return Err(internal("resourceVersion should not be set on objects to be created"));
    }
    let key = Key::of(object);
    let hash = Hash::new(seed).number(revision).text(&kind.api.group).text(&kind.api.plural).text(&key.namespace);
    let metadata = &mut object["metadata"];
    let prefix = metadata["generateName"].as_str().unwrap_or_default().to_owned();
    if key.name.is_empty() && !prefix.is_empty() {
        metadata["name"] = generated_name(&prefix, hash.text(&prefix)).into();
    }
    remove(metadata, &SYSTEM_FIELDS);
    remove(metadata, &["resourceVersion", "generation"]);
    metadata["uid"] = uid(hash.text(metadata["name"].as_str().unwrap_or_default())).into();
    metadata["creationTimestamp"] = rfc3339(now).into();
    if matches!(kind.rules, Rules::Custom | Rules::Definition | Rules::Pod) {
        metadata["generation"] = 1.into();
    }
    normalize(object);
    let errors = errors(kind, &object["metadata"]);
    if errors.is_empty() { Ok(()) } else { Err(invalid(kind, &Key::of(object).name, errors)) }
}

/// Checks the version that an update is based on.
pub(super) fn check_version(kind: &Kind, current: &Value, proposed: &Value) -> Result<(), Refusal> {
    let name = current["metadata"]["name"].as_str().unwrap_or_default();
    match proposed["metadata"]["resourceVersion"].as_str() {
        None | Some("") if matches!(kind.rules, Rules::Custom | Rules::Lease) => {
            let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
            // The API server names the resource here, where other details name the kind.
            Err(invalid_as(&kind.api.group, &kind.api.plural, name, vec![error]))
        }
        None | Some("") => Ok(()),
        given if given == current["metadata"]["resourceVersion"].as_str() => Ok(()),
        Some(given) if given.parse::<u64>().is_err() => Err(bad_request(format!("invalid resource version `{given}`"))),
        Some(_) => Err(stale(kind, name)),
    }
}

/// A PUT that names a uid means that object and no other of the same name.
pub(super) fn check_put_uid(kind: &Kind, current: &Value, proposed: &Value) -> Result<(), Refusal> {
    let name = current["metadata"]["name"].as_str().unwrap_or_default();
    let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let (wanted, found) = (uid(proposed), uid(current));
    if wanted.is_empty() || wanted == found {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
    Err(conflict(kind, name, why))
}

/// Puts back what an update can't change, and checks the rest. Neither generation nor status is handled here.
pub(super) fn prepare_update(kind: &Kind, current: &Value, proposed: &mut Value) -> Result<(), Refusal> {
    let (old, new) = (&current["metadata"], &mut proposed["metadata"]);
    new["resourceVersion"] = old["resourceVersion"].clone();
    for field in ["creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation"] {
        copy_field(old, new, field);
    }
    remove(new, &["managedFields", "selfLink"]);
    if new["uid"].as_str().is_none_or(str::is_empty) {
        new["uid"] = old["uid"].clone();
    }
    normalize(proposed);
    let new = &proposed["metadata"];
    let mut errors = errors(kind, new);
    for field in ["name", "namespace", "uid"] {
        if new[field] != old[field] {
            errors.push(FieldError::invalid(format!("metadata.{field}"), &new[field], "field is immutable"));
        }
    }
    if !old["deletionTimestamp"].is_null() {
        let had = |finalizer: &Value| list(old, "finalizers").contains(finalizer);
        let added: Vec<&Value> = list(new, "finalizers").iter().filter(|finalizer| !had(finalizer)).collect();
        if !added.is_empty() {
            let why = format!("no new finalizers can be added if the object is being deleted, found {added:?}");
            errors.push(FieldError::forbidden("metadata.finalizers", why));
        }
    }
    let name = current["metadata"]["name"].as_str().unwrap_or_default();
    if errors.is_empty() { Ok(()) } else { Err(invalid(kind, name, errors)) }
}

/// Counts a change of what is wanted.
pub(super) fn bump_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_u64() {
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

/// The list under a key; empty where there is none.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Makes a field of one map equal to another's, absent where it is absent there.
pub(super) fn copy_field(from: &Value, to: &mut Value, field: &str) {
    if from[field].is_null() {
        remove(to, &[field]);
    } else {
        to[field] = from[field].clone();
    }
}

pub(super) fn remove(map: &mut Value, fields: &[&str]) {
    if let Some(map) = map.as_object_mut() {
        map.retain(|key, _| !fields.contains(&key.as_str()));
    }
}

/// Leaves out what is null, as the API server does when it has decoded an object of its own kinds into their types.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Leaves out of the metadata what is null or empty, as the typed API server does when it writes an object.
fn normalize(object: &mut Value) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    metadata.retain(|key, value| match value {
        Value::Null => false,
        Value::Array(list) => !(list.is_empty() && OMITTED_WHEN_EMPTY.contains(&key.as_str())),
        Value::Object(map) => !(map.is_empty() && OMITTED_WHEN_EMPTY.contains(&key.as_str())),
        Value::String(text) => !(text.is_empty() && key == "generateName"),
        _ => true,
    });
}

fn errors(kind: &Kind, metadata: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = metadata["name"].as_str().unwrap_or_default();
    let (fits, wanted): (fn(&str) -> bool, _) = match kind.rules {
        Rules::Namespace => (is_dns_label, "must be a lowercase RFC 1123 label"),
        _ => (is_dns_subdomain, "must be a lowercase RFC 1123 subdomain"),
    };
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else if !fits(name) {
        errors.push(FieldError::invalid("metadata.name", format!("\"{name}\""), wanted));
    }
    for (field, values_are_labels) in [("labels", true), ("annotations", false)] {
        let path = format!("metadata.{field}");
        for (key, value) in metadata[field].as_object().into_iter().flatten() {
            if !is_qualified_name(&if values_are_labels { key.clone() } else { key.to_lowercase() }) {
                errors.push(FieldError::invalid(&path, format!("\"{key}\""), "must be a qualified name"));
            }
            if !value.as_str().is_some_and(|value| !values_are_labels || is_label_value(value)) {
                errors.push(FieldError::invalid(&path, value, "must be a valid value"));
            }
        }
    }
    errors.extend(owner_errors(list(metadata, "ownerReferences")));
    errors
}

fn owner_errors(owners: &[Value]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, owner) in owners.iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                errors.push(FieldError::invalid(path, "\"\"", "must not be empty"));
            }
        }
    }
    if owners.iter().filter(|owner| owner["controller"] == true).count() > 1 {
        let why = "only one reference can have controller set to true";
        errors.push(FieldError::invalid("metadata.ownerReferences", owners.len(), why));
    }
    errors
}

/// A name as the API server generates it: at most 58 bytes of the prefix, then five letters and digits.
fn generated_name(prefix: &str, hash: Hash) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut name: String = prefix.chars().take(58).collect();
    let mut value = hash.value();
    for _ in 0..5 {
        let index = usize::try_from(value % ALPHABET.len() as u64).unwrap_or_default();
        name.push(char::from(ALPHABET[index]));
        value /= ALPHABET.len() as u64;
    }
    name
}

/// A hash in the form of a random (version 4) UUID.
fn uid(hash: Hash) -> String {
    let (high, low) = (hash.value(), hash.number(1).value());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48 & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}
