//! What is told of an inventory by events: what a person would want to hear of, and nothing that each order makes anew.
//!
//! It is found by comparing what the status said with what it says, so that a restart tells nothing twice. That units were
//! retired is told by who retires them.

use korder_api::{Inventory, InventoryStatus};

use crate::conditions::{self, LIMITED, ROLLING_OVER};
use crate::reasons;

/// Something that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// In one `CamelCase` word.
    pub reason: String,
    /// In words.
    pub note: String,
}

/// What is told when an inventory's status becomes this one.
pub fn of(inventory: &Inventory, after: &InventoryStatus) -> Vec<News> {
    let before = inventory.status.clone().unwrap_or_default();
    [level(inventory, &before, after), limited(&before, after), failed(&before, after)]
        .into_iter()
        .chain([stalled(&before, after), rolled_over(inventory, &before, after), suspect(&before, after)])
        .flatten()
        .collect()
}

impl News {
    fn new(reason: &str, note: String) -> Self {
        Self { reason: reason.to_owned(), note }
    }
}

/// A level that follows the orders has moved. That of a fixed one is who set it.
fn level(inventory: &Inventory, before: &InventoryStatus, after: &InventoryStatus) -> Option<News> {
    let (was, is) = (before.level.unwrap_or(0), after.level.unwrap_or(0));
    if was == is || inventory.spec.demand.is_none() {
        return None;
    }
    let reason = if is > was { reasons::LEVEL_RAISED } else { reasons::LEVEL_LOWERED };
    Some(News::new(reason, format!("from {was} to {is}: {}", after.reason.as_deref().unwrap_or_default())))
}

/// Something else keeps the level from doing what it is for than before.
fn limited(before: &InventoryStatus, after: &InventoryStatus) -> Option<News> {
    let limit = conditions::holding(&after.conditions, LIMITED)?;
    let was = conditions::holding(&before.conditions, LIMITED).map(|limit| &limit.reason);
    (was != Some(&limit.reason)).then(|| News::new(&limit.reason, limit.message.clone()))
}

/// Another unit could not be made.
fn failed(before: &InventoryStatus, after: &InventoryStatus) -> Option<News> {
    let is_another = after.failures > before.failures || after.last_failure_time > before.last_failure_time;
    let ready = after.conditions.iter().find(|one| one.type_ == conditions::READY)?;
    let is_told = ready.reason == reasons::PRODUCTION_FAILED;
    (is_another && is_told).then(|| News::new(reasons::PRODUCTION_FAILED, ready.message.clone()))
}

/// Nothing comes of it any more until somebody acts, or as good as nothing.
fn stalled(before: &InventoryStatus, after: &InventoryStatus) -> Option<News> {
    let stalled = conditions::holding(&after.conditions, conditions::STALLED)?;
    let was = conditions::holding(&before.conditions, conditions::STALLED).is_some();
    (!was).then(|| News::new(reasons::STALLED, stalled.message.clone()))
}

/// More units fail their checks than may well be bad.
fn suspect(before: &InventoryStatus, after: &InventoryStatus) -> Option<News> {
    let suspect = conditions::holding(&after.conditions, conditions::PROBE_SUSPECT)?;
    let was = conditions::holding(&before.conditions, conditions::PROBE_SUSPECT).is_some();
    (!was).then(|| News::new(reasons::PROBE_SUSPECT, suspect.message.clone()))
}

/// The last unit of the former item has left the shelf.
fn rolled_over(inventory: &Inventory, before: &InventoryStatus, after: &InventoryStatus) -> Option<News> {
    conditions::holding(&before.conditions, ROLLING_OVER)?;
    let is_over = conditions::holding(&after.conditions, ROLLING_OVER).is_none();
    let is_kept = inventory.metadata.deletion_timestamp.is_none();
    let note = format!("nothing of the former item is on the shelf any more; {} of the present one are", after.ready);
    (is_over && is_kept).then(|| News::new(reasons::ROLLED_OVER, note))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::conditions::{READY, RECONCILING, STALLED, Say};
    use crate::fixtures::at;

    fn inventory(spec: serde_json::Value, status: InventoryStatus) -> Inventory {
        let mut spec = spec;
        spec["item"] = json!({"operation": {"package": {"name": "p", "version": "1.0.0"}}});
        let mut inventory = Inventory::new("cake", serde_json::from_value(spec).unwrap());
        inventory.status = Some(status);
        inventory
    }

    fn saying(conditions: &[(&str, bool, &str)]) -> InventoryStatus {
        let mut status = InventoryStatus::default();
        for &(type_, holds, reason) in conditions {
            let say = Say { type_, holds, reason, message: format!("so it is: {reason}") };
            conditions::set(&mut status.conditions, say, None, at(0));
        }
        status
    }

    #[track_caller]
    fn tells(spec: &serde_json::Value, before: &InventoryStatus, after: &InventoryStatus, reasons: &[&str]) {
        let told = of(&inventory(spec.clone(), before.clone()), after);
        let told: Vec<&str> = told.iter().map(|news| news.reason.as_str()).collect();
        assert_eq!(told, reasons);
        // What was told is not told again.
        assert_eq!(of(&inventory(spec.clone(), after.clone()), after), vec![]);
    }

    #[test]
    fn a_level_that_follows_the_orders_is_told_when_it_moves() {
        let status = |level| InventoryStatus { level: Some(level), reason: Some("so".into()), ..Default::default() };
        let follows = json!({"demand": {"maxReplicas": 9}});
        tells(&follows, &status(2), &status(3), &["LevelRaised"]);
        tells(&follows, &status(3), &status(2), &["LevelLowered"]);
        tells(&follows, &InventoryStatus::default(), &status(1), &["LevelRaised"]);
        tells(&json!({"replicas": 3}), &status(2), &status(3), &[]);
        let told = of(&inventory(follows, status(2)), &status(3));
        assert_eq!(told[0].note, "from 2 to 3: so");
    }

    #[test]
    fn an_order_that_comes_and_goes_is_no_news() {
        let full = saying(&[(READY, true, "Stocked")]);
        let not = saying(&[(READY, false, "Replenishing"), (RECONCILING, true, "Replenishing")]);
        let fixed = json!({"replicas": 3});
        tells(&fixed, &full, &not, &[]);
        tells(&fixed, &not, &full, &[]);
    }

    #[test]
    fn each_limit_is_told_once() {
        let (free, at_max) = (saying(&[]), saying(&[(LIMITED, true, "AtMax")]));
        let follows = json!({"demand": {"maxReplicas": 9}});
        tells(&follows, &free, &at_max, &["AtMax"]);
        tells(&follows, &at_max, &saying(&[(LIMITED, true, "ProductionBound")]), &["ProductionBound"]);
        tells(&follows, &at_max, &free, &[]);
    }

    #[test]
    fn each_failure_is_told_and_the_third_stalls() {
        let after = |count, second, stalled: bool| {
            let progress = if stalled { STALLED } else { RECONCILING };
            let failures = Some(count).filter(|count| *count > 0);
            let last_failure_time = Some(Time(at(second)));
            let said = saying(&[(READY, false, "ProductionFailed"), (progress, true, "ProductionFailed")]);
            InventoryStatus { failures, last_failure_time, ..said }
        };
        let fixed = json!({"replicas": 1});
        tells(&fixed, &saying(&[]), &after(1, 1, false), &["ProductionFailed"]);
        tells(&fixed, &after(2, 20, false), &after(3, 40, true), &["ProductionFailed", "Stalled"]);
        tells(&fixed, &after(3, 40, true), &after(4, 90, true), &["ProductionFailed"]);
        // Of an item that was mended the first failure is news, though more failed before.
        tells(&fixed, &after(4, 90, true), &after(1, 99, false), &["ProductionFailed"]);
        let mended = InventoryStatus { failures: None, ..saying(&[(READY, true, "Stocked")]) };
        tells(&fixed, &after(4, 90, true), &mended, &[]);
    }

    #[test]
    fn that_a_changed_item_has_replaced_the_old_shelf_is_told_at_its_end() {
        let rolling = saying(&[(ROLLING_OVER, true, "ItemChanged")]);
        let fixed = json!({"replicas": 1});
        tells(&fixed, &saying(&[]), &rolling, &[]);
        tells(&fixed, &rolling, &saying(&[]), &["RolledOver"]);
        let mut deleted = inventory(fixed, rolling);
        deleted.metadata.deletion_timestamp = Some(Time(at(0)));
        assert_eq!(of(&deleted, &saying(&[])), vec![]);
    }
}
