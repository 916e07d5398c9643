//! What a unit hands to its holder, read from a job's result or from the unit's objects.

use std::collections::BTreeMap;

use korder_api::item::{ObjectName, Output};
use serde_json::Value;

use super::failure::Failure;
use crate::reasons;

/// The most that the kubelet keeps of a container's message, in bytes (`MaxContainerTerminationMessageLength`): its end.
const MAX_MESSAGE: usize = 4096;
/// The most that it keeps of the messages of all containers of a pod, shared evenly (`MaxPodTerminationMessageLogLength`).
const MAX_MESSAGES: usize = 12 * 1024;
/// The longest value of an object's field that is shown in a status, in bytes.
const MAX_VALUE: usize = 4096;
/// The key of a result that is one plain string.
const PLAIN: &str = "result";

/// The outputs of a unit, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Those that everybody may see who may see the unit.
    pub plain: BTreeMap<String, String>,
    /// Those that are kept in a Secret only.
    pub sensitive: BTreeMap<String, String>,
}

impl Outputs {
    fn put(&mut self, output: &Output, value: String) {
        let outputs = if output.is_sensitive() { &mut self.sensitive } else { &mut self.plain };
        outputs.insert(output.name.clone(), value);
    }
}

/// The outputs that a job's result gives: its termination message, in a pod of so many containers.
///
/// The message is a JSON object of strings, or one plain string, which is then the value of `result`. What nobody asks for
/// is ignored.
///
/// # Errors
/// A message that may have been cut, is not of that form, or lacks a value.
pub fn of_result(message: &str, containers: usize, wanted: &[Output]) -> Result<Outputs, Failure> {
    let mut outputs = Outputs::default();
    if wanted.is_empty() {
        return Ok(outputs);
    }
    let values = read(message, containers)?;
    for output in wanted {
        let value = values.get(output)?;
        outputs.put(output, value);
    }
    Ok(outputs)
}

/// The outputs that the result of a reset gives anew: those that it has, and all that are sensitive, since who held the
/// unit before knows these.
///
/// # Errors
/// As [`of_result`], but that what is not sensitive may be missing.
pub fn renewed(message: &str, containers: usize, outputs: &[Output]) -> Result<Outputs, Failure> {
    let is_given = |values: &Values| {
        let given = outputs.iter().filter(|output| output.is_sensitive() || values.has(output));
        given.cloned().collect::<Vec<_>>()
    };
    let given = if outputs.is_empty() { vec![] } else { is_given(&read(message, containers)?) };
    of_result(message, containers, &given)
}

/// What a result says, by key.
enum Values {
    Object(serde_json::Map<String, Value>),
    Text(String),
}

fn read(message: &str, containers: usize) -> Result<Values, Failure> {
    let limit = MAX_MESSAGE.min(MAX_MESSAGES / containers.max(1));
    if message.len() >= limit {
        let why = format!(
            "the result has {limit} bytes or more, and the kubelet keeps no more of it; write the large part to a \
             store and its address to the result"
        );
        return Err(Failure::new(reasons::OUTPUT_TOO_LARGE, why));
    }
    let text = message.trim_end();
    Ok(match serde_json::from_str(text) {
        Ok(Value::Object(values)) => Values::Object(values),
        _ => Values::Text(text.to_owned()),
    })
}

impl Values {
    fn get(&self, output: &Output) -> Result<String, Failure> {
        let key = key(output);
        match self {
            Self::Object(values) => match values.get(key) {
                Some(Value::String(value)) => Ok(value.clone()),
                Some(_) => {
                    let why = format!("`{key}` in the result is not a string, which output `{}` needs", output.name);
                    Err(Failure::new(reasons::OUTPUT_INVALID, why))
                }
                None => Err(missing(output, &format!("the result has no key `{key}`"))),
            },
            Self::Text(text) if text.is_empty() => {
                Err(missing(output, "the container wrote no result to its `terminationMessagePath`"))
            }
            Self::Text(text) if key == PLAIN => Ok(text.clone()),
            Self::Text(_) => {
                let why = format!(
                    "the result is not a JSON object, and has no value but `{PLAIN}`: output `{}` needs `{key}`",
                    output.name
                );
                Err(Failure::new(reasons::OUTPUT_INVALID, why))
            }
        }
    }

    fn has(&self, output: &Output) -> bool {
        match self {
            Self::Object(values) => values.contains_key(key(output)),
            Self::Text(text) => !text.is_empty() && key(output) == PLAIN,
        }
    }
}

/// The key in a result that an output is taken from.
fn key(output: &Output) -> &str {
    output.from.result.as_deref().unwrap_or_default()
}

fn missing(output: &Output, why: &str) -> Failure {
    Failure::new(reasons::OUTPUT_MISSING, format!("output `{}`: {why}", output.name))
}

/// What the outputs of objects come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// All are there.
    All(Outputs),
    /// One is not there yet: which, and where it is looked for.
    NotYet(String),
}

/// The outputs that objects give. `object` finds the object that an output is taken from, if it is there.
///
/// # Errors
/// A value that is not one of a form to be handed on, or a path that is none.
pub fn of_objects<'o>(
    wanted: &[Output],
    object: impl Fn(&ObjectName) -> Result<Option<&'o Value>, Failure>,
) -> Result<Found, Failure> {
    let mut outputs = Outputs::default();
    for output in wanted {
        let Some(from) = &output.from.object else { continue };
        let not_yet = |what: &str| {
            let what = format!("output `{}`: {} `{}` {what}", output.name, from.kind, from.name);
            Ok(Found::NotYet(what))
        };
        let Some(object) = object(from)? else { return not_yet("is not there yet") };
        let value = match (&output.from.field_path, &output.from.secret_key) {
            (Some(path), _) => match field(object, path) {
                Ok(Some(value)) => in_words(output, path, value)?,
                Ok(None) => return not_yet(&format!("has no `{path}` yet")),
                Err(why) => {
                    return Err(Failure::new(reasons::INVALID_ITEM, format!("output `{}`: {why}", output.name)));
                }
            },
            (None, Some(key)) => match object["data"].get(key).and_then(Value::as_str) {
                Some(encoded) => decoded(output, key, encoded)?,
                None => return not_yet(&format!("has no key `{key}` yet")),
            },
            (None, None) => continue,
        };
        outputs.put(output, value);
    }
    Ok(Found::All(outputs))
}

fn in_words(output: &Output, path: &str, value: &Value) -> Result<String, Failure> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let why = format!("output `{}`: `{path}` is neither a string nor a number nor a boolean", output.name);
            return Err(Failure::new(reasons::OUTPUT_INVALID, why));
        }
    };
    if text.len() > MAX_VALUE {
        let why = format!("output `{}`: `{path}` has {} bytes; {MAX_VALUE} are the most", output.name, text.len());
        return Err(Failure::new(reasons::OUTPUT_TOO_LARGE, why));
    }
    Ok(text)
}

fn decoded(output: &Output, key: &str, encoded: &str) -> Result<String, Failure> {
    let bytes: Result<k8s_openapi::ByteString, _> = serde_json::from_value(Value::from(encoded));
    bytes.ok().and_then(|bytes| String::from_utf8(bytes.0).ok()).ok_or_else(|| {
        let why = format!("output `{}`: the value of key `{key}` is not text", output.name);
        Failure::new(reasons::OUTPUT_INVALID, why)
    })
}

/// The value of an object at a path such as `.status.ingress[0].ip`, or `.metadata.annotations['example.com/zone']`.
///
/// # Errors
/// What is wrong with the path, in words.
fn field<'o>(object: &'o Value, path: &str) -> Result<Option<&'o Value>, String> {
    let wrong = || format!("`{path}` is no path: write it as `.status.list[0].field` or `.data['a.b']`");
    let (mut value, mut rest) = (Some(object), path);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("['") {
            let (key, after) = after.split_once("']").ok_or_else(wrong)?;
            value = value.and_then(|value| value.get(key));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']').ok_or_else(wrong)?;
            let index: usize = index.parse().map_err(|_| wrong())?;
            value = value.and_then(|value| value.get(index));
            rest = after;
        } else {
            // The dot at the start may be left out.
            let after = rest.strip_prefix('.').or_else(|| (rest == path).then_some(rest)).ok_or_else(wrong)?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let key = &after[..end];
            if key.is_empty() || key.contains([']', '\'', '{', '}', '*']) {
                return Err(wrong());
            }
            value = value.and_then(|value| value.get(key));
            rest = &after[end..];
        }
    }
    Ok(value.filter(|value| !value.is_null()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn outputs(outputs: Value) -> Vec<Output> {
        serde_json::from_value(outputs).unwrap()
    }

    fn results(keys: &[&str]) -> Vec<Output> {
        keys.iter().flat_map(|key| outputs(json!([{"name": format!("o-{key}"), "from": {"result": key}}]))).collect()
    }

    fn reason(result: Result<Outputs, Failure>) -> &'static str {
        result.unwrap_err().reason
    }

    #[test]
    fn a_result_is_an_object_of_strings_or_one_string() {
        let two = of_result(r#"{"a": "1", "b": "2", "c": 3}"#, 1, &results(&["a", "b"])).unwrap();
        assert_eq!(two.plain, [("o-a".to_owned(), "1".to_owned()), ("o-b".to_owned(), "2".to_owned())].into());
        let plain = of_result("sha256:12\n", 1, &results(&["result"])).unwrap();
        assert_eq!(plain.plain["o-result"], "sha256:12");
    }

    #[test]
    fn sensitive_values_stand_apart() {
        let wanted = outputs(json!([
            {"name": "user", "from": {"result": "u"}},
            {"name": "password", "from": {"result": "p"}, "sensitive": true},
        ]));
        let read = of_result(r#"{"u": "me", "p": "secret"}"#, 1, &wanted).unwrap();
        assert_eq!(read.plain, [("user".to_owned(), "me".to_owned())].into());
        assert_eq!(read.sensitive, [("password".to_owned(), "secret".to_owned())].into());
    }

    #[test]
    fn what_is_wrong_with_a_result_is_told() {
        for (message, keys, expected) in [
            (r#"{"a": "1"}"#, ["a", "b"], reasons::OUTPUT_MISSING),
            (r#"{"a": 1, "b": "2"}"#, ["a", "b"], reasons::OUTPUT_INVALID),
            ("plain", ["a", "b"], reasons::OUTPUT_INVALID),
            ("plain", ["result", "b"], reasons::OUTPUT_INVALID),
            (r#"["a"]"#, ["a", "b"], reasons::OUTPUT_INVALID),
            (" \n", ["a", "b"], reasons::OUTPUT_MISSING),
        ] {
            assert_eq!(reason(of_result(message, 1, &results(&keys))), expected, "{message}");
        }
    }

    #[test]
    fn what_may_have_been_cut_is_not_read() {
        let result = results(&["result"]);
        assert!(of_result(&"x".repeat(4095), 1, &result).is_ok());
        assert_eq!(reason(of_result(&"x".repeat(4096), 3, &result)), reasons::OUTPUT_TOO_LARGE);
        // Six containers share 12 kB.
        assert!(of_result(&"x".repeat(2047), 6, &result).is_ok());
        assert_eq!(reason(of_result(&"x".repeat(2048), 6, &result)), reasons::OUTPUT_TOO_LARGE);
        assert_eq!(of_result(&"x".repeat(5000), 1, &[]), Ok(Outputs::default()));
    }

    fn object() -> Value {
        json!({
            "metadata": {"annotations": {"a.b/c": "dotted"}},
            "status": {"ingress": [{"ip": "1.2.3.4"}], "port": 80, "up": true, "nothing": null},
            "data": {"password": "aHVudGVyMg==", "binary": "/w=="},
        })
    }

    #[test]
    fn paths_lead_to_fields_or_nowhere() {
        let object = object();
        let at = |path| field(&object, path).map(|found| found.map(|value| value.as_str().unwrap_or("other")));
        assert_eq!(at(".status.ingress[0].ip"), Ok(Some("1.2.3.4")));
        assert_eq!(at("status.port"), Ok(Some("other")));
        assert_eq!(at(".metadata.annotations['a.b/c']"), Ok(Some("dotted")));
        for nowhere in [".status.ingress[1].ip", ".spec.a", ".status.nothing", ".status.port.deeper"] {
            assert_eq!(at(nowhere), Ok(None), "{nowhere}");
        }
        for wrong in ["", ".", "..a", ".a[", ".a[x]", ".a[0]b", ".a['b", "{.a}", ".a[*]", ".a."] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_give_values_or_are_waited_for() {
        let object = object();
        let of = |kind: &str, from: Value| {
            let mut from = from;
            from["object"] = json!({"kind": kind, "name": "x"});
            of_objects(&outputs(json!([{"name": "o", "from": from}])), |_| Ok(Some(&object)))
        };
        let plain = |value: &str| {
            Ok(Found::All(Outputs { plain: [("o".to_owned(), value.to_owned())].into(), ..Outputs::default() }))
        };
        assert_eq!(of("Service", json!({"fieldPath": ".status.port"})), plain("80"));
        assert_eq!(of("Service", json!({"fieldPath": ".status.up"})), plain("true"));
        let secret = of("Secret", json!({"secretKey": "password"})).unwrap();
        let Found::All(secret) = secret else { panic!("{secret:?}") };
        assert_eq!((secret.plain.len(), secret.sensitive["o"].as_str()), (0, "hunter2"));
        assert_eq!(
            of("Service", json!({"fieldPath": ".status.ip"})),
            Ok(Found::NotYet("output `o`: Service `x` has no `.status.ip` yet".to_owned()))
        );
        assert!(matches!(of("Secret", json!({"secretKey": "user"})), Ok(Found::NotYet(_))));
        let reason = |found: Result<Found, Failure>| found.unwrap_err().reason;
        assert_eq!(reason(of("Service", json!({"fieldPath": ".status"}))), reasons::OUTPUT_INVALID);
        assert_eq!(reason(of("Secret", json!({"secretKey": "binary"}))), reasons::OUTPUT_INVALID);
        assert_eq!(reason(of("Service", json!({"fieldPath": ".a["}))), reasons::INVALID_ITEM);
    }

    proptest! {
        #[test]
        fn any_message_and_any_path_is_read_to_its_end(message in ".{0,60}", path in "[.a\\[\\]'0{}]{0,12}") {
            let _read = of_result(&message, 1, &results(&["a", "result"]));
            let _found = field(&object(), &path);
        }
    }
}
