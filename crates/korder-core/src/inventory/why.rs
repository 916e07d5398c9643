//! Why an order for stock has what it has, told by the rules that decide it.

use jiff::Timestamp;
use korder_api::{Inventory, Order};
use serde::Serialize;

use super::full_name;
use super::request::{self, Stage, in_words};
use super::serving::waiting;
use crate::conditions::{self, READY};
use crate::reasons;
use crate::stock::line;

/// What becomes of an order for stock, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestAnswer {
    /// Namespace and name.
    pub order: String,
    /// In one `CamelCase` word.
    pub reason: String,
    /// In words.
    pub message: String,
    /// How long it has been there, in seconds.
    pub age_seconds: i64,
    /// The inventory whose line it stands in: namespace and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<String>,
    /// Its units.
    pub stocks: Vec<String>,
    /// Its place in line, from 1, and of how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// How far its inventory is, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shelf: Option<String>,
    /// What would change it.
    pub advice: Vec<String>,
}

/// A place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// From 1.
    pub at: usize,
    /// How many are in line, as far as whoever asks may see them.
    pub of: usize,
}

/// What becomes of an order for stock. `orders` and `inventories` are those that whoever asks may see.
pub fn of_request(order: &Order, orders: &[Order], inventories: &[Inventory], now: Timestamp) -> RequestAnswer {
    let [namespace, name] =
        [&order.metadata.namespace, &order.metadata.name].map(|text| text.as_deref().unwrap_or_default());
    let status = order.status.as_ref();
    let ready = status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == READY);
    let at = status.and_then(|status| status.inventory.clone());
    let inventory = inventories.iter().find(|one| Some(full_name(one)) == at);
    let waits = request::stage(order) == Stage::Waiting && request::reason(order) == Some(reasons::WAITING_FOR_STOCK);
    let stocks = status.map(|status| match status.stocks.as_slice() {
        [] => status.stock_name.clone().into_iter().collect(),
        several => several.to_vec(),
    });
    RequestAnswer {
        order: format!("{namespace}/{name}"),
        reason: ready.map_or("New", |ready| &ready.reason).to_owned(),
        message: ready.map_or("korder has not looked at it yet", |ready| &ready.message).to_owned(),
        age_seconds: request::created(order).map_or(0, |since| now.duration_since(since).as_secs()),
        place: at.as_deref().filter(|_| waits).and_then(|at| place(order, orders, at)),
        shelf: inventory.map(shelf),
        advice: advice(order, inventory, now),
        inventory: at,
        stocks: stocks.unwrap_or_default(),
    }
}

fn place(order: &Order, orders: &[Order], at: &str) -> Option<Place> {
    let in_line = |one: &&Order| {
        let status = one.status.as_ref();
        request::stage(one) == Stage::Waiting
            && request::reason(one) == Some(reasons::WAITING_FOR_STOCK)
            && status.and_then(|status| status.inventory.as_deref()) == Some(at)
    };
    let has = |one: &Order| {
        let filled = one.status.as_ref().and_then(|status| status.filled.as_deref());
        filled.and_then(|filled| filled.split('/').next()?.parse().ok()).unwrap_or(0)
    };
    let line = orders.iter().filter(in_line).map(|one| waiting(one, |_| has(one), false)).collect();
    let line = line::in_line(line);
    let at = line.iter().position(|one| Some(one.uid) == order.metadata.uid.as_deref())? + 1;
    Some(Place { at, of: line.len() })
}

fn shelf(inventory: &Inventory) -> String {
    let status = inventory.status.clone().unwrap_or_default();
    let level = status.level.unwrap_or(0);
    let lead = status.lead_time_p95.map(|lead| format!("; 95% of them take less than {lead}")).unwrap_or_default();
    let mut text = format!(
        "{} ready of {level} wanted, {} being made{lead}, {} held by orders",
        status.ready, status.producing, status.claimed
    );
    let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
    if let Some(told) = ready.filter(|ready| ready.status != "True") {
        text = format!("{text} ({}: {})", told.reason, told.message);
    }
    text
}

fn advice(order: &Order, inventory: Option<&Inventory>, now: Timestamp) -> Vec<String> {
    if request::stage(order) != Stage::Waiting {
        return vec![];
    }
    let mut advice = Vec::new();
    if let Some(inventory) = inventory {
        let name = full_name(inventory);
        let status = inventory.status.clone().unwrap_or_default();
        let spec = &inventory.spec;
        if spec.paused == Some(true) {
            advice.push(format!("inventory `{name}` is paused and makes nothing: set its `spec.paused` to false"));
        }
        let total = status.ready + status.producing + status.claimed + status.resetting;
        if spec.max_units.is_some_and(|most| total >= most) {
            advice.push(format!(
                "inventory `{name}` has as many units as it may (`maxUnits`): raise it, or wait until one is given back"
            ));
        }
        if status.conditions.iter().any(|condition| condition.type_ == conditions::STALLED) {
            advice.push(format!("production fails: see `kubectl get stocks` and `kubectl describe` of the last one of inventory `{name}`"));
        }
        let busy = spec.parallelism.unwrap_or(1);
        if status.waiting > busy && status.producing >= busy {
            advice.push(format!(
                "{} orders wait while {busy} units are made at a time (`parallelism`): raise it",
                status.waiting
            ));
        }
    }
    if let Some(deadline) = request::deadline(order).filter(|deadline| *deadline > now) {
        advice.push(format!(
            "without a unit it fails in {} (`progressDeadlineSeconds`)",
            in_words(deadline.duration_since(now))
        ));
    }
    advice
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::at;

    fn order(name: &str, sequence: i64) -> Order {
        let placed = Order::new(name, serde_json::from_value(json!({"inventoryRef": {"name": "cake"}})).unwrap());
        let mut placed = placed;
        placed.metadata.namespace = Some("shop".into());
        placed.metadata.uid = Some(name.into());
        placed.status = Some(request::waiting(&placed, "shop/cake", sequence, &[], "waits for a unit", at(0)));
        placed
    }

    #[test]
    fn the_place_in_line_and_what_would_change_it() {
        let spec = json!({"replicas": 1, "maxUnits": 1, "item": {"operation": {"package": {"name": "p", "version": "1.0.0"}}}});
        let mut inventory = Inventory::new("cake", serde_json::from_value(spec).unwrap());
        inventory.metadata.namespace = Some("shop".into());
        let status = json!({"ready": 0, "producing": 0, "claimed": 1, "waiting": 2, "level": 1, "leadTimeP95": "20s"});
        inventory.status = Some(serde_json::from_value(status).unwrap());
        let (first, second) = (order("first", 1), order("second", 2));
        let answer = of_request(&second, &[second.clone(), first], &[inventory], at(60));
        assert_eq!(answer.place, Some(Place { at: 2, of: 2 }));
        assert_eq!((answer.reason.as_str(), answer.inventory.as_deref()), ("WaitingForStock", Some("shop/cake")));
        insta::assert_snapshot!(answer.shelf.unwrap(), @"0 ready of 1 wanted, 0 being made; 95% of them take less than 20s, 1 held by orders");
        assert_eq!(answer.advice.len(), 1);
        assert!(answer.advice[0].contains("`maxUnits`"), "{:?}", answer.advice);
    }
}
