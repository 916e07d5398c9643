//! Whether a unit on the shelf still consists of what it was made of.
//!
//! Its objects are not watched (they are of any kind), but looked at now and then: as often as it is probed, or every ten
//! minutes. What its holder does to them is the holder's business.

use jiff::{SignedDuration, Timestamp};
use korder_api::{Stock, StockStatus};
use serde_json::Value;

use super::manifests::{Live, in_words};
use super::production::{self, Observed};
use super::{probe, status};
use crate::conditions::DRIFTED;

/// Between two looks at the objects of a unit that is not probed.
const PERIOD: SignedDuration = SignedDuration::from_mins(10);

/// When the objects of a unit on the shelf are to be looked at, which were last at `looked`.
pub(super) fn due(seen: &Observed<'_>, looked: Timestamp) -> Option<Timestamp> {
    let probe = seen.inventory.and_then(|inventory| inventory.spec.probe.as_ref());
    let has_objects = !production::objects(seen.stock).is_empty() && !is_drifted(seen.stock);
    has_objects.then(|| probe::moment(seen.stock, probe.map_or(PERIOD, probe::period), looked))
}

/// Whether a unit was seen to be another than was made.
pub fn is_drifted(stock: &Stock) -> bool {
    status::condition(stock, DRIFTED).is_some_and(|drifted| drifted.status == "True")
}

/// The status of a unit whose objects were looked at, where they are not as they were when it became ready.
pub fn seen(stock: &Stock, objects: &[Live], now: Timestamp) -> Option<StockStatus> {
    let changed = objects.iter().find_map(|live| Some(format!("{} {}", in_words(&live.object), changed(live)?)))?;
    Some(status::drifted(stock, &changed, now))
}

/// What has become of an object, if anything has.
fn changed(live: &Live) -> Option<String> {
    let Some(value) = &live.value else { return Some("is gone".to_owned()) };
    let metadata = &value["metadata"];
    if metadata["uid"].as_str() != live.object.uid.as_deref() {
        return Some("is another one of the same name".to_owned());
    }
    if metadata["deletionTimestamp"].is_string() {
        return Some("is being deleted".to_owned());
    }
    // Kinds without a generation do not tell of changes.
    let (was, is) = (live.object.generation?, metadata.get("generation").and_then(Value::as_i64)?);
    (was != is).then(|| format!("was changed: its generation is {is}, and was {was} when the unit became ready"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::at;
    use crate::stock::fixtures::stock;

    fn object(generation: Option<i64>, value: Option<Value>) -> Live {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "db", "uid": "u", "generation": generation});
        Live { object: serde_json::from_value(object).unwrap(), value }
    }

    #[test]
    fn what_is_gone_or_another_or_changed_has_drifted() {
        let unit = stock(json!({"operation": {}}));
        let told = |generation, value: Value| {
            let value = (!value.is_null()).then(|| json!({"metadata": value}));
            let status = seen(&unit, &[object(generation, value)], at(5))?;
            let drifted = Stock { status: Some(status.clone()), ..unit.clone() };
            assert!(is_drifted(&drifted));
            Some(status.conditions[0].message.clone())
        };
        assert_eq!(told(Some(2), json!({"uid": "u", "generation": 2})), None);
        assert_eq!(told(None, json!({"uid": "u", "generation": 2})), None);
        assert_eq!(told(Some(2), json!({"uid": "u"})), None);
        assert_eq!(told(None, json!(null)).as_deref(), Some("Deployment `db` is gone"));
        assert_eq!(told(None, json!({"uid": "v"})).as_deref(), Some("Deployment `db` is another one of the same name"));
        let going = json!({"uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(told(None, going).as_deref(), Some("Deployment `db` is being deleted"));
        assert_eq!(
            told(Some(2), json!({"uid": "u", "generation": 3})).as_deref(),
            Some("Deployment `db` was changed: its generation is 3, and was 2 when the unit became ready")
        );
    }
}
