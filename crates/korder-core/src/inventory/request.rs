//! An order that asks for stock: how far it is, and what is written on it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use korder_api::{Order, OrderStatus};

use crate::conditions::{self, Progress, Say};
use crate::reasons;

/// How many names of units a status has at most.
pub(super) const MAX_NAMES: usize = 100;

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It does not have all its units yet.
    Waiting,
    /// It has all its units.
    Filled,
    /// Its units were given back, or it failed.
    Finished,
}

/// Whether an order asks for stock.
pub fn is_request(order: &Order) -> bool {
    order.spec.item.is_some() || order.spec.inventory_ref.is_some()
}

/// How far a request is.
pub fn stage(order: &Order) -> Stage {
    match &order.status {
        Some(OrderStatus { finish_time: Some(_), .. }) => Stage::Finished,
        Some(OrderStatus { filled_time: Some(_), .. }) => Stage::Filled,
        _ => Stage::Waiting,
    }
}

/// How many units a request wants.
pub fn wants(order: &Order) -> usize {
    usize::try_from(order.spec.replicas.unwrap_or(1)).unwrap_or(0)
}

/// How long after its creation a request that still waits has failed.
pub fn deadline(order: &Order) -> Option<Timestamp> {
    let limit = SignedDuration::from_secs(order.spec.progress_deadline_seconds?);
    created(order)?.checked_add(limit).ok()
}

/// When a filled request gives its units back by itself.
pub fn holds_until(order: &Order) -> Option<Timestamp> {
    let filled = order.status.as_ref()?.filled_time.as_ref()?.0;
    filled.checked_add(order.spec.hold_for.as_ref()?.get()).ok()
}

/// When a finished request is deleted.
pub fn forgotten_at(order: &Order) -> Option<Timestamp> {
    let finished = order.status.as_ref()?.finish_time.as_ref()?.0;
    finished.checked_add(SignedDuration::from_secs(order.spec.ttl_seconds_after_finished?)).ok()
}

/// When an order was placed.
pub fn created(order: &Order) -> Option<Timestamp> {
    order.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// The status of a request that stands in line at an inventory (`NAMESPACE/NAME`), with this many of its units.
pub fn waiting(order: &Order, inventory: &str, sequence: i64, held: &[&str], why: &str, now: Timestamp) -> OrderStatus {
    let sequence = order.status.as_ref().and_then(|status| status.queue_sequence).unwrap_or(sequence);
    let mut status = OrderStatus {
        inventory: Some(inventory.to_owned()),
        queue_sequence: Some(sequence),
        waited: None,
        ..with_units(order, held)
    };
    let ready = say(false, reasons::WAITING_FOR_STOCK, why.to_owned());
    conditions::summarize(&mut status.conditions, ready, Progress::Reconciling, order.metadata.generation, now);
    status
}

/// Whether a request was told that it waits in the line of this inventory (`NAMESPACE/NAME`).
pub fn waits_at(order: &Order, inventory: &str) -> bool {
    let told = order.status.as_ref().and_then(|status| status.inventory.as_deref());
    told == Some(inventory) && reason(order) == Some(reasons::WAITING_FOR_STOCK)
}

/// The status of a request that has all its units.
pub fn filled(
    order: &Order,
    inventory: &str,
    units: &[&str],
    outputs: &BTreeMap<String, String>,
    now: Timestamp,
) -> OrderStatus {
    let mut status = OrderStatus {
        inventory: Some(inventory.to_owned()),
        outputs: outputs.clone(),
        waited: created(order).map(|since| in_words(now.duration_since(since))),
        filled_time: Some(Time(now)),
        ..with_units(order, units)
    };
    let message = match units {
        [] => "it wants no unit".to_owned(),
        [one] => format!("has stock `{one}` of inventory `{inventory}`"),
        _ => format!("has {} units of inventory `{inventory}`", units.len()),
    };
    let ready = say(true, reasons::FILLED, message);
    conditions::summarize(&mut status.conditions, ready, Progress::Settled, order.metadata.generation, now);
    status
}

/// The status of a request that gets nothing until somebody acts: it is out of the line.
pub fn stalled(order: &Order, reason: &str, message: String, now: Timestamp) -> OrderStatus {
    let mut status = with_units(order, &[]);
    conditions::summarize(
        &mut status.conditions,
        say(false, reason, message),
        Progress::Stalled,
        order.metadata.generation,
        now,
    );
    status
}

/// The status of a request that ended without what it asked for.
pub fn failed(order: &Order, reason: &str, message: String, now: Timestamp) -> OrderStatus {
    let mut status = stalled(order, reason, message.clone(), now);
    status.finish_time = Some(Time(now));
    let failed = Say { type_: conditions::FAILED, holds: true, reason, message };
    conditions::set(&mut status.conditions, failed, order.metadata.generation, now);
    status
}

/// The status of a request that gave its units back.
pub fn released(order: &Order, now: Timestamp) -> OrderStatus {
    let mut status = OrderStatus { outputs: BTreeMap::new(), finish_time: Some(Time(now)), ..with_units(order, &[]) };
    let unit = order.status.as_ref().and_then(|before| before.stock_name.as_deref()).unwrap_or_default();
    let held = order.spec.hold_for.as_ref().map_or("its time", |held| held.as_str());
    let ready = say(true, reasons::RELEASED, format!("gave stock `{unit}` back after {held}"));
    conditions::summarize(&mut status.conditions, ready, Progress::Settled, order.metadata.generation, now);
    status
}

/// The status of a filled request of whose units one is gone; it stays filled, since that is what happened.
pub fn stock_lost(order: &Order, unit: &str, now: Timestamp) -> OrderStatus {
    let mut status = order.status.clone().unwrap_or_default();
    let ready = say(false, reasons::STOCK_LOST, format!("stock `{unit}` was deleted while this order held it"));
    conditions::summarize(&mut status.conditions, ready, Progress::Stalled, order.metadata.generation, now);
    status
}

/// The reason of an order's `Ready` condition.
pub fn reason(order: &Order) -> Option<&str> {
    let conditions = order.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .find(|condition| condition.type_ == conditions::READY)
        .map(|condition| condition.reason.as_str())
}

fn say(holds: bool, reason: &str, message: String) -> Say<'_> {
    Say { type_: conditions::READY, holds, reason, message }
}

fn with_units(order: &Order, units: &[&str]) -> OrderStatus {
    OrderStatus {
        observed_generation: order.metadata.generation,
        filled: Some(format!("{}/{}", units.len(), wants(order))),
        stock_name: units.first().map(|&name| name.to_owned()),
        stocks: if units.len() > 1 {
            units.iter().take(MAX_NAMES).map(|&name| name.to_owned()).collect()
        } else {
            vec![]
        },
        ..order.status.clone().unwrap_or_default()
    }
}

/// A time in whole seconds, minutes and hours, as `20s` or `1h5m`; never negative.
pub fn in_words(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let words: Vec<String> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if words.is_empty() { "0s".to_owned() } else { words.concat() }
}
