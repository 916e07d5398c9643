//! A unit of stock as its inventory looks at it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use korder_api::stock::StockClaim;
use korder_api::{Inventory, InventorySpec, Stock, StockPhase};

use crate::conditions;

/// Where a unit is in its life; one that is being deleted is on its way out whatever its status says.
pub fn phase(unit: &Stock) -> StockPhase {
    if unit.metadata.deletion_timestamp.is_some() {
        return StockPhase::Retiring;
    }
    unit.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

/// The order that holds a unit.
pub fn holder(unit: &Stock) -> Option<&StockClaim> {
    unit.status.as_ref()?.claim_ref.as_ref()
}

/// The unit's name.
pub fn name(unit: &Stock) -> &str {
    unit.metadata.name.as_deref().unwrap_or_default()
}

/// The unit's number among all that its inventory ever made.
pub fn number(inventory: &Inventory, unit: &Stock) -> Option<i64> {
    let number = name(unit).strip_prefix(inventory.metadata.name.as_deref()?)?.strip_prefix('-')?;
    number.parse().ok().filter(|&number| number > 0)
}

/// When the unit was made, and when it came on the shelf.
pub fn made_in(unit: &Stock) -> Option<(Timestamp, Timestamp)> {
    let begun = unit.metadata.creation_timestamp.as_ref()?.0;
    Some((begun, unit.status.as_ref()?.ready_time.as_ref()?.0))
}

/// Whether the unit was on the shelf once. One that fails later could not be made like new, which tells nothing of the making.
pub fn was_made(unit: &Stock) -> bool {
    made_in(unit).is_some()
}

/// When the unit becomes too old to be given out.
pub fn expires(unit: &Stock, spec: &InventorySpec) -> Option<Timestamp> {
    let (_, ready) = made_in(unit)?;
    ready.checked_add(spec.max_age.as_ref()?.get()).ok()
}

/// What a unit says of itself.
pub fn condition<'a>(unit: &'a Stock, type_: &str) -> Option<&'a Condition> {
    unit.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// When the unit could not be made, and why, in words.
pub fn failure(unit: &Stock) -> Option<(Timestamp, &str)> {
    let ready = condition(unit, conditions::READY).filter(|_| phase(unit) == StockPhase::Failed)?;
    Some((ready.last_transition_time.0, &ready.message))
}

/// Whether nothing is left of a unit that could not be made but its record.
pub fn is_torn_down(unit: &Stock) -> bool {
    condition(unit, conditions::TORN_DOWN).is_some_and(|condition| condition.status == "True")
}

/// Whether a unit takes one of the places of those that are being made.
pub fn is_in_work(unit: &Stock) -> bool {
    match phase(unit) {
        StockPhase::Producing | StockPhase::Resetting => true,
        StockPhase::Failed => !is_torn_down(unit),
        StockPhase::Ready | StockPhase::Claimed | StockPhase::Retiring => false,
    }
}
