//! The objects of which a unit consists.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use korder_api::stock::StockObject;
use korder_api::{Stock, StockStatus, names};
use serde_json::{Map, Value, json};

use super::expression::{self, Holds};
use super::failure::Failure;
use super::kstatus::{self, Readiness};
use super::output::{self, Found, Outputs};
use super::variables::{self, Values};
use super::{labels, production, status};
use crate::reasons;

/// Between two looks at the objects of a unit that is being made: at first, and at last.
const POLL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Kinds whose objects an output may be taken from though they are none of the unit's own: what operators make beside the
/// objects that they are for.
const MADE_BY_OTHERS: [&str; 2] = ["Secret", "ConfigMap"];

/// The objects of a unit, in the order in which they are made. `random` makes a secret value of so many characters.
///
/// # Errors
/// An object that can't be one of a unit.
pub fn rendered(stock: &Stock, random: &mut impl FnMut(usize) -> String) -> Result<Vec<Map<String, Value>>, Failure> {
    let values = values(stock);
    let mut known = BTreeSet::new();
    let mut objects = Vec::new();
    for manifest in &stock.spec.item.operation.manifests {
        let object = variables::in_object(&manifest.0, values, random);
        let mut object = object.map_err(|error| invalid(&manifest.0, &error.to_string()))?;
        own(stock, &mut object).map_err(|why| invalid(&manifest.0, &why))?;
        let is_new =
            known.insert((group(&object).to_owned(), text(&object, "kind").to_owned(), name(&object).to_owned()));
        if !is_new {
            return Err(invalid(&manifest.0, "another one of the unit's objects is of the same kind and name"));
        }
        objects.push(object);
    }
    Ok(objects)
}

fn values(stock: &Stock) -> Values<'_> {
    Values { stock_name: super::name(stock), inputs: &stock.spec.item.inputs }
}

fn invalid(manifest: &Map<String, Value>, why: &str) -> Failure {
    let message = format!("{} `{}`: {why}", text(manifest, "kind"), name(manifest));
    Failure::new(reasons::INVALID_ITEM, message)
}

/// Makes an object the unit's.
fn own(stock: &Stock, object: &mut Map<String, Value>) -> Result<(), String> {
    let namespace = stock.metadata.namespace.as_deref().unwrap_or_default();
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).ok_or("it has no `metadata`")?;
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if !may_be_name(name) {
        return Err(format!("`{name}` can't be its `metadata.name`"));
    }
    if metadata.contains_key("generateName") {
        return Err("`metadata.generateName` is refused: it must be found again by its name".to_owned());
    }
    let there = metadata.get("namespace").and_then(Value::as_str);
    if let Some(other) = there.filter(|there| *there != namespace) {
        return Err(format!("it would be in namespace `{other}`; a unit's objects are in its own, `{namespace}`"));
    }
    metadata.insert("namespace".to_owned(), json!(namespace));
    let own = metadata.entry("labels").or_insert_with(|| json!({}));
    if own.is_null() {
        *own = json!({});
    }
    let own = own.as_object_mut().ok_or("its `metadata.labels` are none")?;
    own.extend(labels(stock).into_iter().map(|(key, value)| (key, json!(value))));
    Ok(())
}

fn text<'o>(object: &'o Map<String, Value>, field: &str) -> &'o str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn name(object: &Map<String, Value>) -> &str {
    object.get("metadata").and_then(|metadata| metadata["name"].as_str()).unwrap_or_default()
}

fn group(object: &Map<String, Value>) -> &str {
    text(object, "apiVersion").split_once('/').map_or("", |(group, _)| group)
}

/// The status that names all objects of a unit, which is written before the first of them is made.
pub fn begun(stock: &Stock, objects: &[Map<String, Value>], now: Timestamp) -> StockStatus {
    let objects = objects.iter().map(|object| StockObject {
        api_version: text(object, "apiVersion").to_owned(),
        kind: text(object, "kind").to_owned(),
        name: name(object).to_owned(),
        uid: None,
        generation: None,
    });
    status::producing(stock, objects.collect(), "its objects are being made", now)
}

/// Whether an object was made for a unit.
pub fn is_of(object: &Value, stock: &Stock) -> bool {
    let labelled = object["metadata"]["labels"][names::LABEL_STOCK_UID].as_str();
    labelled.is_some() && labelled == stock.metadata.uid.as_deref()
}

/// What makes a unit fail one of whose names is taken.
pub fn exists(object: &StockObject) -> Failure {
    let why = format!(
        "{} is there already, and is not of this unit: what korder has not made it does not touch",
        in_words(object)
    );
    Failure::new(reasons::OBJECT_EXISTS, why)
}

/// An object of a unit, for people.
pub fn in_words(object: &StockObject) -> String {
    format!("{} `{}`", object.kind, object.name)
}

/// An object as it was read, in the order of the unit's, or one beside them that an output is taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// What it is; the uid is that under which it is known to have been made.
    pub object: StockObject,
    /// How it is, if it is there.
    pub value: Option<Value>,
}

/// The objects beside a unit's own that its outputs are taken from.
///
/// # Errors
/// An output from an object that is not of the unit.
pub fn others(stock: &Stock, own: &[StockObject]) -> Result<Vec<StockObject>, Failure> {
    let mut others = Vec::new();
    for output in &stock.spec.item.outputs {
        let Some(named) = &output.from.object else { continue };
        let name = name_in(stock, &named.name)?;
        if own.iter().any(|object| object.kind == named.kind && object.name == name) {
            continue;
        }
        if !MADE_BY_OTHERS.contains(&named.kind.as_str()) {
            let why = format!("output `{}`: the unit has no {} `{name}`", output.name, named.kind);
            return Err(Failure::new(reasons::INVALID_ITEM, why));
        }
        let kind = named.kind.clone();
        others.push(StockObject { api_version: "v1".to_owned(), kind, name, uid: None, generation: None });
    }
    Ok(others)
}

/// A name of an object, with the values of its variables.
fn name_in(stock: &Stock, name: &str) -> Result<String, Failure> {
    let invalid = |why: &str| Failure::new(reasons::INVALID_ITEM, format!("name `{name}`: {why}"));
    let replaced = variables::in_text(name, values(stock)).map_err(|error| invalid(&error.to_string()))?;
    if may_be_name(&replaced) { Ok(replaced) } else { Err(invalid("no object can be named so")) }
}

/// Whether this is one segment of an address; what else a name must be is up to each kind.
fn may_be_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    !name.is_empty() && name != "." && name != ".." && name.bytes().all(plain)
}

/// How far a unit is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It is ready, and these are its outputs.
    Ready(Outputs),
    /// What it waits for.
    Waiting(String),
}

/// How far a unit is whose objects are these; `others` are those beside it.
///
/// # Errors
/// Why it will not become ready any more.
pub fn progress(stock: &Stock, objects: &[Live], others: &[Live]) -> Result<Progress, Failure> {
    let mut waits = None;
    for Live { object, value } in objects {
        let Some(value) = value.as_ref().filter(|value| value["metadata"]["deletionTimestamp"].is_null()) else {
            let why = format!("{} was removed before the unit was ready", in_words(object));
            return Err(Failure::new(reasons::OBJECT_GONE, why));
        };
        if !stock.spec.item.ready_when.is_empty() {
            continue;
        }
        match kstatus::of(value) {
            Readiness::Ready => {}
            Readiness::Waiting(what) => waits = waits.or_else(|| Some(format!("{}: {what}", in_words(object)))),
            Readiness::Failed(why) => {
                let why = format!("{}: {why}", in_words(object));
                return Err(Failure::new(reasons::PRODUCTION_FAILED, why));
            }
        }
    }
    waits = waits.or(unmet(stock, objects)?);
    if let Some(waits) = waits {
        return Ok(Progress::Waiting(waits));
    }
    let found = output::of_objects(&stock.spec.item.outputs, |named| {
        let name = name_in(stock, &named.name)?;
        let live = objects.iter().chain(others).find(|live| live.object.kind == named.kind && live.object.name == name);
        Ok(live.and_then(|live| live.value.as_ref()))
    })?;
    Ok(match found {
        Found::All(outputs) => Progress::Ready(outputs),
        Found::NotYet(what) => Progress::Waiting(what),
    })
}

/// The first condition of `readyWhen` that is not met.
fn unmet(stock: &Stock, objects: &[Live]) -> Result<Option<String>, Failure> {
    for condition in &stock.spec.item.ready_when {
        let name = name_in(stock, &condition.name)?;
        let found = objects.iter().find(|live| live.object.kind == condition.kind && live.object.name == name);
        let Some(Live { value: Some(value), .. }) = found else {
            let why = format!("`readyWhen`: the unit has no {} `{name}`", condition.kind);
            return Err(Failure::new(reasons::INVALID_ITEM, why));
        };
        let holds = expression::holds(&condition.expression, "object", value);
        let holds = holds.map_err(|error| Failure::new(reasons::INVALID_ITEM, format!("`readyWhen`: {error}")))?;
        let unmet =
            |why: &str| Ok(Some(format!("{} `{name}`: `{}` does not hold{why}", condition.kind, condition.expression)));
        match holds {
            Holds::Yes => {}
            Holds::No => return unmet(""),
            Holds::Unknown(why) => return unmet(&format!(": {why}")),
        }
    }
    Ok(None)
}

/// The objects as they are known after they were read: with uids.
pub fn known(objects: &[Live]) -> Vec<StockObject> {
    let uid = |live: &Live| live.value.as_ref().and_then(|value| value["metadata"]["uid"].as_str()).map(str::to_owned);
    objects
        .iter()
        .map(|live| StockObject { uid: live.object.uid.clone().or_else(|| uid(live)), ..live.object.clone() })
        .collect()
}

/// The status of a unit that is made of objects.
pub fn ready(
    stock: &Stock,
    objects: &[Live],
    outputs: &Outputs,
    secret_name: Option<String>,
    now: Timestamp,
) -> StockStatus {
    let generations = objects.iter().map(|live| live.value.as_ref()?["metadata"]["generation"].as_i64());
    let known = known(objects).into_iter().zip(generations);
    let objects = known.map(|(object, generation)| StockObject { generation, ..object }).collect();
    status::ready(stock, objects, outputs, secret_name, now)
}

/// The status of a unit that waits for its objects.
pub fn waiting(stock: &Stock, objects: &[Live], what: &str, now: Timestamp) -> StockStatus {
    StockStatus { objects: known(objects), ..status::held_up(stock, what, now) }
}

/// The status of a unit that can't be made, or not be made like new, with what was made of it.
pub fn failed(stock: &Stock, objects: &[Live], failure: &Failure, now: Timestamp) -> StockStatus {
    StockStatus { objects: known(objects), ..production::failed(stock, failure, now) }
}

/// When to look again at the objects of a unit that is being made: the longer it takes, the more seldom.
pub fn look_again(stock: &Stock, now: Timestamp) -> Duration {
    let since = stock.metadata.creation_timestamp.as_ref().map(|time| now.duration_since(time.0));
    let since = since.and_then(|since| Duration::try_from(since).ok()).unwrap_or_default();
    (since / 4).clamp(POLL.0, POLL.1)
}

#[cfg(test)]
mod tests;
