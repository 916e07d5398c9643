//! `$(stock.name)`, `$(inputs.NAME)` and `$(random.LENGTH)` in the objects of a unit.
//!
//! They are replaced in strings that were parsed already, never in the text of a manifest, so that no value can
//! add a field; and not where they could change what an object is, where it is, or what it may do. Everything else in
//! this form, such as the `$(HOSTNAME)` of a container's arguments, is Kubernetes' own and stays, and so does what `$$(` escapes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The longest random value.
const MAX_RANDOM: usize = 256;
/// Fields, at any depth, of which nothing may depend on a variable.
const FIXED: [&str; 6] = ["apiVersion", "kind", "namespace", "serviceAccount", "serviceAccountName", "securityContext"];

/// What variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The unit's name.
    pub stock_name: &'a str,
    /// The item's inputs.
    pub inputs: &'a BTreeMap<String, String>,
}

/// A variable that can't be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// There is none of this name.
    #[error(
        "`{path}`: `$({name})` is no variable: there are `$(stock.name)`, `$(inputs.NAME)` for each input, and `$(random.LENGTH)`"
    )]
    Unknown {
        /// Where it stands.
        path: String,
        /// Its name.
        name: String,
    },
    /// It stands where nothing may depend on a variable.
    #[error("`{path}`: `$({name})` may not stand here: {why}")]
    Misplaced {
        /// Where it stands.
        path: String,
        /// Its name.
        name: String,
        /// Why not.
        why: &'static str,
    },
}

/// An object of a unit, with the values of its variables. `random` makes a value of so many characters.
///
/// # Errors
/// Names the first variable that can't be replaced, and where it stands.
pub fn in_object(
    manifest: &Map<String, Value>,
    values: Values<'_>,
    random: &mut impl FnMut(usize) -> String,
) -> Result<Map<String, Value>, VariableError> {
    let is_secret = manifest.get("kind").and_then(Value::as_str) == Some("Secret");
    let replacing = &mut Replacing { values, random, is_secret };
    object(manifest, &Place::default(), replacing)
}

/// A text, such as the name of one of a unit's objects, with the values of its variables.
///
/// # Errors
/// Names the first variable that can't be replaced; there are no random ones.
pub fn in_text(text: &str, values: Values<'_>) -> Result<String, VariableError> {
    let replacing = &mut Replacing { values, random: &mut |_| String::new(), is_secret: false };
    string(text, &Place::default(), replacing)
}

struct Replacing<'a, R> {
    values: Values<'a>,
    random: &'a mut R,
    is_secret: bool,
}

/// Where a value stands.
#[derive(Clone, Debug, Default)]
struct Place {
    path: String,
    fixed: bool,
    /// Below `stringData`.
    of_secret: bool,
}

impl Place {
    fn field(&self, key: &str) -> Self {
        Self {
            path: if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) },
            fixed: self.fixed || FIXED.contains(&key),
            of_secret: self.of_secret || (self.path.is_empty() && key == "stringData"),
        }
    }

    fn item(&self, index: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), ..self.clone() }
    }
}

fn object<R: FnMut(usize) -> String>(
    fields: &Map<String, Value>,
    place: &Place,
    replacing: &mut Replacing<'_, R>,
) -> Result<Map<String, Value>, VariableError> {
    let mut replaced = Map::new();
    for (key, value) in fields {
        let place = place.field(key);
        if let Some((_, name, _)) = next_variable(key) {
            return Err(misplaced(&place, name, "the names of fields are fixed"));
        }
        replaced.insert(key.clone(), of_value(value, &place, replacing)?);
    }
    Ok(replaced)
}

fn of_value<R: FnMut(usize) -> String>(
    value: &Value,
    place: &Place,
    replacing: &mut Replacing<'_, R>,
) -> Result<Value, VariableError> {
    Ok(match value {
        Value::String(text) => Value::String(string(text, place, replacing)?),
        Value::Object(fields) => Value::Object(object(fields, place, replacing)?),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            Value::Array(
                items.map(|(index, item)| of_value(item, &place.item(index), replacing)).collect::<Result<_, _>>()?,
            )
        }
        other => other.clone(),
    })
}

fn string<R: FnMut(usize) -> String>(
    text: &str,
    place: &Place,
    replacing: &mut Replacing<'_, R>,
) -> Result<String, VariableError> {
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some((before, name, after)) = next_variable(rest) {
        if place.fixed {
            return Err(misplaced(place, name, "it would change what the object is, where it is, or what it may do"));
        }
        replaced.push_str(before);
        replaced.push_str(&value_of(name, place, replacing)?);
        rest = after;
    }
    replaced.push_str(rest);
    Ok(replaced)
}

fn value_of<R: FnMut(usize) -> String>(
    name: &str,
    place: &Place,
    replacing: &mut Replacing<'_, R>,
) -> Result<String, VariableError> {
    let unknown = || VariableError::Unknown { path: place.path.clone(), name: name.to_owned() };
    if name == "stock.name" {
        return Ok(replacing.values.stock_name.to_owned());
    }
    if let Some(input) = name.strip_prefix("inputs.") {
        return replacing.values.inputs.get(input).cloned().ok_or_else(unknown);
    }
    let length = name.strip_prefix("random.").and_then(|length| length.parse().ok());
    let length = length.filter(|length| (1..=MAX_RANDOM).contains(length)).ok_or_else(unknown)?;
    if !(replacing.is_secret && place.of_secret) {
        return Err(misplaced(place, name, "a random value stands in `stringData` of a Secret and nowhere else"));
    }
    Ok((replacing.random)(length))
}

fn misplaced(place: &Place, name: &str, why: &'static str) -> VariableError {
    VariableError::Misplaced { path: place.path.clone(), name: name.to_owned(), why }
}

/// The first variable of ours in a text: what is before it, its name, and what is after it.
fn next_variable(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(found) = text[from..].find("$(") {
        let start = from + found;
        let escaped = text[..start].bytes().rev().take_while(|&byte| byte == b'$').count() % 2 == 1;
        let end = start + text[start..].find(')')?;
        let name = &text[start + 2..end];
        let ours = ["stock.", "inputs.", "random."].iter().any(|prefix| name.starts_with(prefix));
        if ours && !escaped {
            return Some((&text[..start], name, &text[end + 1..]));
        }
        from = start + 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn replaced(manifest: Value) -> Result<Value, VariableError> {
        let inputs = [("SIZE".to_owned(), "$(stock.name)".to_owned())].into();
        let values = Values { stock_name: "db-1", inputs: &inputs };
        let Value::Object(fields) = manifest else { unreachable!("a manifest is an object") };
        let mut count = 0;
        let mut random = |length: usize| {
            count += 1;
            format!("{count}").repeat(length)
        };
        in_object(&fields, values, &mut random).map(Value::Object)
    }

    #[test]
    fn leaves_are_replaced_and_what_they_bring_is_not_read_again() {
        let manifest = json!({
            "kind": "ConfigMap",
            "metadata": {"name": "$(stock.name)-config"},
            "data": {"list": ["a $(inputs.SIZE) $(stock.name)", 3, null], "args": "$(HOSTNAME) $$(stock.name) $(stock.name"},
        });
        let data =
            json!({"list": ["a $(stock.name) db-1", 3, null], "args": "$(HOSTNAME) $$(stock.name) $(stock.name"});
        assert_eq!(
            replaced(manifest).unwrap(),
            json!({"kind": "ConfigMap", "metadata": {"name": "db-1-config"}, "data": data})
        );
    }

    #[test]
    fn each_random_value_is_another_one_and_only_a_secret_has_any() {
        let secret = |field: &str, kind: &str| json!({"kind": kind, field: {"a": "$(random.3)", "b": "x$(random.2)"}});
        assert_eq!(replaced(secret("stringData", "Secret")).unwrap()["stringData"], json!({"a": "111", "b": "x22"}));
        for wrong in [secret("data", "Secret"), secret("stringData", "ConfigMap")] {
            let error = replaced(wrong).unwrap_err().to_string();
            assert!(error.contains("`stringData` of a Secret"), "{error}");
        }
    }

    #[test]
    fn what_an_object_is_and_may_do_depends_on_no_variable() {
        for (path, manifest) in [
            ("kind", json!({"kind": "$(stock.name)"})),
            ("metadata.namespace", json!({"metadata": {"namespace": "$(inputs.SIZE)"}})),
            ("spec.serviceAccountName", json!({"spec": {"serviceAccountName": "$(stock.name)"}})),
            (
                "spec.securityContext.seLinuxOptions.level",
                json!({"spec": {"securityContext": {"seLinuxOptions": {"level": "$(stock.name)"}}}}),
            ),
            ("data.$(stock.name)", json!({"data": {"$(stock.name)": "x"}})),
            ("roleRef[0].kind", json!({"roleRef": [{"kind": "$(stock.name)"}]})),
        ] {
            let VariableError::Misplaced { path: told, .. } = replaced(manifest).unwrap_err() else { panic!("{path}") };
            assert_eq!(told, path);
        }
    }

    #[test]
    fn a_variable_that_is_none_is_told() {
        for name in ["stock.nam", "inputs.OTHER", "random.0", "random.257", "random.x", "random.-1"] {
            let error = replaced(json!({"data": {"key": format!("$({name})")}})).unwrap_err();
            assert_eq!(error, VariableError::Unknown { path: "data.key".to_owned(), name: name.to_owned() });
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in ".{0,80}") {
            let inputs = BTreeMap::new();
            // It may be refused; it never panics, and without a variable it stays as it is.
            let read = in_text(&text, Values { stock_name: "s", inputs: &inputs });
            prop_assert!(next_variable(&text).is_some() || read == Ok(text));
        }
    }
}
