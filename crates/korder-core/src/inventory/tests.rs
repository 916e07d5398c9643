use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use korder_api::stock::StockClaim;
use korder_api::{OrderSpec, StockPhase, StockStatus};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::conditions;
use crate::fixtures::at;

/// A shelf in namespace `shop`, with what plans for it say carried out as the controllers would.
struct Shop {
    inventory: Inventory,
    units: Vec<Arc<Stock>>,
    orders: Vec<Arc<Order>>,
    /// Orders that wait for another inventory.
    elsewhere: Vec<Arc<Order>>,
    memory: Memory,
    now: i64,
}

impl Shop {
    fn new(spec: serde_json::Value) -> Self {
        let mut spec = spec;
        spec["item"]["operation"] =
            json!({"job": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        let inventory = Inventory {
            metadata: meta("cake", "inventory"),
            spec: serde_json::from_value(spec).unwrap(),
            status: None,
        };
        Self { inventory, units: vec![], orders: vec![], elsewhere: vec![], memory: Memory::default(), now: 0 }
    }

    fn order(&mut self, name: &str) -> &mut Order {
        let spec: OrderSpec = serde_json::from_value(json!({"inventoryRef": {"name": "cake"}})).unwrap();
        let mut metadata = meta(name, name);
        metadata.creation_timestamp = Some(Time(at(self.now)));
        metadata.resource_version = Some((1000 + self.orders.len()).to_string());
        self.orders.push(Arc::new(Order { metadata, spec, status: None }));
        Arc::make_mut(self.orders.last_mut().unwrap())
    }

    fn look(&mut self) -> Plan {
        let labels = |_: &str| Some(Labels::new());
        let observed = Observed {
            inventory: &self.inventory,
            units: &self.units,
            requests: &self.orders,
            elsewhere: &self.elsewhere,
            labels: &labels,
        };
        plan(observed, &mut self.memory, at(self.now))
    }

    /// Carries out what a plan says; every write succeeds.
    fn carry_out(&mut self, plan: Plan) {
        let name = full_name(&self.inventory);
        for Serve { order, claim, has, completes, sequence } in plan.serve {
            let mut units: Vec<String> = has.iter().map(|one| unit::name(one).to_owned()).collect();
            for one in claim {
                let claim = StockClaim {
                    namespace: "shop".into(),
                    name: order.metadata.name.clone().unwrap(),
                    uid: order.metadata.uid.clone().unwrap(),
                };
                let status = self.status_of(unit::name(&one));
                assert_eq!(status.phase, Some(StockPhase::Ready), "only a ready unit is claimed");
                (status.phase, status.claim_ref) = (Some(StockPhase::Claimed), Some(claim));
                units.push(unit::name(&one).to_owned());
            }
            let names: Vec<&str> = units.iter().map(String::as_str).collect();
            let status = if completes {
                request::filled(&order, &name, &names, &BTreeMap::new(), at(self.now))
            } else {
                request::waiting(&order, &name, sequence, &names, "", at(self.now))
            };
            self.tell(&order, status);
        }
        for (order, status) in plan.tell {
            self.tell(&order, status);
        }
        for (order, units) in plan.end {
            self.take_back(units);
            let status = request::released(&order, at(self.now));
            self.tell(&order, status);
        }
        self.take_back(plan.given_back.into_iter().map(|(_, one)| one).chain(plan.orphaned));
        let retired: Vec<_> = plan.retire.into_iter().map(|(one, _)| one).collect();
        self.remove(&retired);
        for one in plan.create {
            assert!(self.units.iter().all(|there| unit::name(there) != unit::name(&one)), "a name is used once");
            let mut one = one;
            one.metadata.creation_timestamp = Some(Time(at(self.now)));
            one.metadata.uid = one.metadata.name.clone();
            self.units.push(Arc::new(one));
        }
        if let Some(status) = plan.status {
            self.inventory.status = Some(status);
        }
    }

    fn step(&mut self) {
        let plan = self.look();
        self.carry_out(plan);
    }

    fn tell(&mut self, order: &Order, status: OrderStatus) {
        let there = self.orders.iter_mut().find(|there| there.metadata.uid == order.metadata.uid).unwrap();
        Arc::make_mut(there).status = Some(status);
    }

    fn take_back(&mut self, units: impl IntoIterator<Item = Return>) {
        for Return { unit: one, reset } in units {
            match reset {
                Some(status) => *self.status_of(unit::name(&one)) = *status,
                None => self.remove(&[one]),
            }
        }
    }

    fn remove(&mut self, units: &[Arc<Stock>]) {
        self.units.retain(|there| units.iter().all(|one| unit::name(one) != unit::name(there)));
    }

    fn status_of(&mut self, name: &str) -> &mut StockStatus {
        let one = self.units.iter_mut().find(|one| unit::name(one) == name).unwrap();
        Arc::make_mut(one).status.get_or_insert_default()
    }

    /// Ends the production of all units that are being made.
    fn produced(&mut self) {
        let now = at(self.now);
        for one in self.units.iter_mut().filter(|one| unit::phase(one) == StockPhase::Producing) {
            let status = Arc::make_mut(one).status.get_or_insert_default();
            (status.phase, status.ready_time) = (Some(StockPhase::Ready), Some(Time(now)));
            let say = conditions::Say { type_: conditions::READY, holds: true, reason: "Made", message: String::new() };
            conditions::set(&mut status.conditions, say, None, now);
        }
    }

    fn failed(&mut self) {
        let now = at(self.now);
        for one in self.units.iter_mut().filter(|one| unit::phase(one) == StockPhase::Producing) {
            let status = Arc::make_mut(one).status.get_or_insert_default();
            status.phase = Some(StockPhase::Failed);
            for (type_, holds) in [(conditions::READY, false), (conditions::TORN_DOWN, true)] {
                let say = conditions::Say { type_, holds, reason: "ProductionFailed", message: "no flour".into() };
                conditions::set(&mut status.conditions, say, None, now);
            }
        }
    }

    fn phases(&self) -> Vec<(&str, StockPhase)> {
        self.units.iter().map(|one| (unit::name(one), unit::phase(one))).collect()
    }

    fn stock_of(&self, order: &str) -> Option<&str> {
        let order = self.orders.iter().find(|one| one.metadata.name.as_deref() == Some(order)).unwrap();
        order.status.as_ref()?.stock_name.as_deref()
    }

    fn status(&self) -> &InventoryStatus {
        self.inventory.status.as_ref().unwrap()
    }
}

fn meta(name: &str, uid: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("shop".into()),
        uid: Some(uid.into()),
        creation_timestamp: Some(Time(at(0))),
        generation: Some(1),
        ..ObjectMeta::default()
    }
}

#[test]
fn a_fixed_level_is_filled_as_many_at_a_time_as_may_be() {
    let mut shop = Shop::new(json!({"replicas": 3, "parallelism": 2, "item": {}}));
    shop.step();
    assert_eq!(shop.phases(), [("cake-1", StockPhase::Producing), ("cake-2", StockPhase::Producing)]);
    shop.step();
    assert_eq!(shop.units.len(), 2, "both places are taken");
    shop.produced();
    shop.step();
    shop.produced();
    shop.step();
    assert_eq!((shop.units.len(), shop.status().ready), (3, 3));
    assert_eq!(request_reason(&shop.inventory), "Stocked");
}

#[test]
fn what_is_awaited_is_told_with_since_when() {
    let mut shop = Shop::new(json!({"replicas": 2, "item": {}}));
    shop.step();
    shop.now += 3600;
    shop.step();
    let ready = conditions::holding(&shop.status().conditions, conditions::RECONCILING).unwrap();
    assert_eq!(ready.message, format!("0 of 2 are ready; `cake-1` is in the making since {}", at(0)));
}

fn request_reason(inventory: &Inventory) -> &str {
    let conditions = &inventory.status.as_ref().unwrap().conditions;
    &conditions.iter().find(|one| one.type_ == "Ready").unwrap().reason
}

#[test]
fn an_order_takes_the_oldest_and_another_is_made() {
    let mut shop = Shop::new(json!({"replicas": 2, "parallelism": 1, "item": {}}));
    for _ in 0..2 {
        shop.step();
        shop.now += 10;
        shop.produced();
    }
    shop.order("o");
    shop.step();
    assert_eq!(shop.stock_of("o"), Some("cake-1"));
    assert_eq!(shop.phases().last(), Some(&("cake-3", StockPhase::Producing)));
    assert_eq!(shop.orders[0].status.as_ref().unwrap().waited.as_deref(), Some("0s"));
}

#[test]
fn sixty_four_orders_for_eight_units_are_served_in_the_order_they_came() {
    let mut shop = Shop::new(json!({"replicas": 8, "parallelism": 8, "item": {}}));
    shop.step();
    shop.produced();
    for number in 0..64 {
        shop.order(&format!("o{number:02}"));
    }
    shop.step();
    let filled: Vec<usize> = (0..64).filter(|number| shop.stock_of(&format!("o{number:02}")).is_some()).collect();
    assert_eq!(filled, (0..8).collect::<Vec<_>>());
    let sequences: Vec<_> = shop.orders.iter().map(|order| order.status.as_ref().unwrap().queue_sequence).collect();
    assert!(sequences[8..].is_sorted() && sequences[..8].iter().all(Option::is_none), "{sequences:?}");
    assert_eq!(shop.status().waiting, 56);
    for round in 1..8 {
        shop.produced();
        shop.step();
        let filled = shop.orders.iter().filter(|order| request::stage(order) == Stage::Filled).count();
        assert_eq!(filled, 8 * (round + 1));
    }
}

#[test]
fn copies_are_shared_without_a_write_on_them() {
    let mut shop = Shop::new(json!({"replicas": 1, "item": {"type": "Copy"}}));
    shop.step();
    shop.produced();
    let before = shop.units.clone();
    for number in 0..100 {
        shop.order(&number.to_string());
    }
    shop.step();
    assert!((0..100).all(|number| shop.stock_of(&number.to_string()) == Some("cake-1")));
    assert_eq!(shop.units, before);
}

#[test]
fn an_order_makes_an_empty_inventory_produce() {
    for kind in ["Copy", "Fungible"] {
        let mut shop = Shop::new(json!({"replicas": 0, "item": {"type": kind}}));
        shop.step();
        assert_eq!(shop.units.len(), 0);
        shop.order("o");
        shop.step();
        assert_eq!(shop.units.len(), 1, "{kind}");
        shop.now += 20;
        shop.produced();
        shop.step();
        assert_eq!(shop.stock_of("o"), Some("cake-1"));
        assert_eq!(shop.orders[0].status.as_ref().unwrap().waited.as_deref(), Some("20s"));
    }
}

#[test]
fn failures_are_tried_again_ever_later_and_one_at_a_time() {
    let mut shop = Shop::new(json!({"replicas": 4, "parallelism": 4, "item": {}}));
    shop.step();
    shop.now += 5;
    shop.failed();
    shop.step();
    assert_eq!(shop.status().failures, Some(4));
    assert_eq!(request_reason(&shop.inventory), "ProductionFailed");
    assert_eq!(shop.units.len(), 1, "the last one is kept to be looked at");
    shop.now += 79;
    shop.step();
    assert_eq!(shop.units.len(), 1);
    shop.now += 1;
    shop.step();
    assert_eq!(shop.phases().last(), Some(&("cake-5", StockPhase::Producing)));
    assert_eq!(shop.units.len(), 2);
    shop.now += 5;
    shop.produced();
    shop.step();
    assert_eq!(shop.status().failures, None);
    shop.step();
    assert_eq!(shop.units.len(), 5);
}

#[test]
fn a_failure_is_told_of_longer_than_its_unit_is_kept() {
    let mut shop = Shop::new(json!({"replicas": 1, "failedRetention": "1s", "item": {}}));
    shop.step();
    shop.failed();
    shop.step();
    shop.now += 2;
    shop.step();
    shop.step();
    assert_eq!((shop.units.len(), request_reason(&shop.inventory)), (0, "ProductionFailed"));
}

#[test]
fn an_item_that_was_mended_is_tried_at_once() {
    let mut shop = Shop::new(json!({"replicas": 1, "item": {}}));
    for _ in 0..4 {
        shop.step();
        shop.failed();
        shop.step();
        shop.now += 601;
    }
    shop.now -= 600;
    shop.inventory.spec.item.inputs.insert("FLOUR".into(), "rye".into());
    shop.step();
    assert_eq!(shop.phases().last(), Some(&("cake-5", StockPhase::Producing)));
    assert_eq!(shop.status().failures, None);
}

#[test]
fn an_item_that_changed_leaves_no_empty_shelf() {
    let mut shop = Shop::new(json!({"replicas": 2, "parallelism": 1, "item": {}}));
    for _ in 0..2 {
        shop.step();
        shop.produced();
    }
    shop.inventory.spec.item.inputs.insert("FLOUR".into(), "rye".into());
    shop.step();
    assert_eq!(shop.units.len(), 3, "one new one is made, the old ones stay");
    assert!(conditions::holding(&shop.status().conditions, conditions::ROLLING_OVER).is_some());
    shop.order("o");
    shop.step();
    assert_eq!(shop.stock_of("o"), Some("cake-1"), "who asks for the inventory may have an old one");
    shop.produced();
    shop.step();
    assert_eq!(shop.units.len(), 4, "cake-1 is held, cake-2 stays until two new ones are ready");
    shop.produced();
    shop.step();
    let left: Vec<&str> = shop.units.iter().map(|one| unit::name(one)).collect();
    assert_eq!(left, ["cake-1", "cake-3", "cake-4"]);
    let after = shop.look().status.unwrap();
    let told: Vec<_> = news::of(&shop.inventory, &after).into_iter().map(|one| one.reason).collect();
    assert_eq!(told, ["RolledOver"]);
}

#[test]
fn with_immediate_nobody_gets_an_old_one() {
    let mut shop = Shop::new(json!({"replicas": 1, "updatePolicy": "Immediate", "item": {}}));
    shop.step();
    shop.produced();
    shop.inventory.spec.item.inputs.insert("FLOUR".into(), "rye".into());
    shop.order("o");
    shop.step();
    assert_eq!(shop.stock_of("o"), None);
    assert_eq!(shop.phases(), [("cake-2", StockPhase::Producing)]);
}

#[test]
fn what_is_too_old_goes_and_what_is_held_stays() {
    let mut shop = Shop::new(json!({"replicas": 1, "maxAge": "1m", "item": {}}));
    shop.step();
    shop.produced();
    shop.order("o");
    shop.step();
    shop.produced();
    shop.now += 60;
    shop.step();
    let left: Vec<&str> = shop.units.iter().map(|one| unit::name(one)).collect();
    assert_eq!(left, ["cake-1", "cake-3"], "cake-1 is held, cake-2 expired");
}

#[test]
fn what_ends_all_at_once_goes_little_by_little() {
    let mut shop = Shop::new(json!({"replicas": 150, "parallelism": 150, "maxAge": "1h", "item": {}}));
    while shop.units.len() < 150 {
        shop.step();
    }
    shop.produced();
    for number in 0..30 {
        shop.order(&format!("o{number}")).spec.hold_for = Some("1h".parse().unwrap());
    }
    shop.step();
    // A day is over, by the clock.
    shop.now += 86_400;
    let there = |shop: &Shop| shop.units.iter().filter(|one| unit::phase(one) != StockPhase::Producing).count();
    let released =
        |shop: &Shop| shop.orders.iter().filter(|order| request::reason(order) == Some(reasons::RELEASED)).count();
    for _ in 0..5 {
        shop.step();
    }
    assert_eq!((there(&shop), released(&shop)), (50, 30), "a hundred in the first minute");
    let again = shop.look().again.unwrap();
    assert!(again <= at(86_460), "{again}");
    shop.now += 60;
    for _ in 0..5 {
        shop.step();
    }
    assert_eq!(there(&shop), 0);
}

#[test]
fn a_deadline_ends_an_order_and_hold_for_gives_its_unit_back() {
    let mut shop = Shop::new(json!({"replicas": 0, "maxUnits": 1, "item": {}}));
    shop.order("first").spec.hold_for = Some("30s".parse().unwrap());
    shop.order("second").spec.progress_deadline_seconds = Some(10);
    shop.step();
    shop.produced();
    shop.step();
    shop.now += 10;
    shop.step();
    let second = shop.orders[1].status.clone().unwrap();
    assert_eq!((request::stage(&shop.orders[1]), second.finish_time), (Stage::Finished, Some(Time(at(10)))));
    assert_eq!(request::reason(&shop.orders[1]), Some(reasons::DEADLINE_EXCEEDED));
    shop.now += 20;
    shop.step();
    assert_eq!(request::reason(&shop.orders[0]), Some(reasons::RELEASED));
    assert_eq!(shop.units.len(), 0);
}

#[test]
fn an_order_is_told_of_any_unit_that_it_lost() {
    let mut shop = Shop::new(json!({"replicas": 2, "parallelism": 2, "item": {}}));
    shop.step();
    shop.produced();
    shop.order("two").spec.replicas = Some(2);
    shop.step();
    shop.units.retain(|one| unit::name(one) != "cake-2");
    let lost: Vec<String> = shop.look().lost.into_iter().map(|(_, name)| name).collect();
    assert_eq!(lost, ["cake-2"]);
}

/// An order of two that has one.
fn with_a_part() -> Shop {
    let mut shop = Shop::new(json!({"replicas": 1, "maxUnits": 1, "item": {}}));
    shop.step();
    shop.produced();
    shop.order("two").spec.replicas = Some(2);
    shop.step();
    assert_eq!(shop.phases(), [("cake-1", StockPhase::Claimed)]);
    shop
}

#[test]
fn who_waits_for_another_inventory_now_keeps_nothing_and_is_told_nothing() {
    let mut shop = with_a_part();
    shop.elsewhere = std::mem::take(&mut shop.orders);
    let plan = shop.look();
    assert_eq!(unit::name(&plan.given_back[0].1.unit), "cake-1");
    assert!(plan.tell.is_empty() && plan.serve.is_empty() && plan.orphaned.is_empty());
}

#[test]
fn who_is_not_served_any_more_keeps_no_part() {
    let mut shop = with_a_part();
    shop.inventory.metadata.deletion_timestamp = Some(Time(at(0)));
    let plan = shop.look();
    assert_eq!(unit::name(&plan.given_back[0].1.unit), "cake-1");
    shop.carry_out(plan);
    assert_eq!(request::reason(&shop.orders[0]), Some(reasons::INVENTORY_GONE));
}

#[test]
fn what_was_made_for_orders_goes_an_hour_after_the_last() {
    let mut shop = Shop::new(json!({"demand": {"maxReplicas": 1}, "idleAfter": "1h", "item": {}}));
    let mark = (names::ANNOTATION_MADE_FOR_ORDERS.to_owned(), "true".to_owned());
    shop.inventory.metadata.annotations = Some([mark].into());
    shop.inventory.metadata.creation_timestamp = Some(Time(at(0)));
    shop.step();
    shop.now += 3000;
    shop.order("o");
    shop.step();
    shop.orders.clear();
    shop.units.clear();
    shop.now += 3599;
    assert!(!shop.look().is_unneeded);
    shop.now += 1;
    assert!(shop.look().is_unneeded);
}

/// A shop of one unit at most, which is made like new when it is given back.
fn restocking(more: &serde_json::Value) -> Shop {
    let mut spec = json!({"replicas": 1, "maxUnits": 1, "reclaimPolicy": "Restock", "item": {},
        "reset": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let mut shop = Shop::new(spec);
    shop.step();
    shop.produced();
    shop.order("first");
    shop.step();
    shop
}

#[test]
fn what_is_given_back_is_made_like_new_for_the_next() {
    let mut shop = restocking(&json!({}));
    shop.order("second");
    shop.step();
    shop.orders.remove(0);
    shop.step();
    assert_eq!(shop.phases(), [("cake-1", StockPhase::Resetting)]);
    assert_eq!(unit::holder(&shop.units[0]), None);
    shop.step();
    assert_eq!((shop.status().resetting, shop.status().producing, shop.units.len()), (1, 0, 1));
    shop.status_of("cake-1").phase = Some(StockPhase::Ready);
    shop.step();
    assert_eq!(shop.stock_of("second"), Some("cake-1"));
    // The same when its time is over.
    Arc::make_mut(&mut shop.orders[0]).spec.hold_for = Some("30s".parse().unwrap());
    shop.now += 30;
    shop.step();
    assert_eq!(request::reason(&shop.orders[0]), Some(reasons::RELEASED));
    assert_eq!(shop.phases(), [("cake-1", StockPhase::Resetting)]);
    assert_eq!(shop.units[0].status.as_ref().unwrap().resets, Some(2));
}

#[test]
fn an_order_that_failed_gives_its_part_back() {
    let mut shop = restocking(&json!({}));
    let order = Arc::clone(&shop.orders[0]);
    shop.tell(&order, request::failed(&order, reasons::DEADLINE_EXCEEDED, String::new(), at(0)));
    let given_back = shop.look().given_back;
    assert_eq!(given_back.len(), 1);
    assert!(given_back[0].1.reset.is_some());
}

#[test]
fn what_would_go_anyway_is_not_made_like_new() {
    let goes = |spec: serde_json::Value, change: &dyn Fn(&mut Shop)| {
        let mut shop = restocking(&spec);
        change(&mut shop);
        shop.orders.clear();
        shop.look().orphaned.iter().map(|one| one.reset.is_none()).collect::<Vec<_>>()
    };
    assert_eq!(goes(json!({}), &|_| {}), [false]);
    assert_eq!(goes(json!({"maxAge": "1m"}), &|shop| shop.now += 59), [false]);
    assert_eq!(goes(json!({"maxAge": "1m"}), &|shop| shop.now += 60), [true]);
    assert_eq!(goes(json!({"reclaimPolicy": "Retire"}), &|_| {}), [true]);
    let mended = |shop: &mut Shop| drop(shop.inventory.spec.item.inputs.insert("FLOUR".to_owned(), "rye".to_owned()));
    assert_eq!(goes(json!({}), &mended), [true], "it is of another item");
    let deleted = |shop: &mut Shop| shop.inventory.metadata.deletion_timestamp = Some(Time(at(0)));
    assert_eq!(goes(json!({}), &deleted), [true]);
    let secret = json!({"operation": {}, "outputs": [{"name": "p", "from": {"object": {"kind": "Secret", "name": "p"}, "secretKey": "p"}}]});
    assert_eq!(goes(json!({"item": secret}), &|_| {}), [true], "its last holder knows the password");
}

#[test]
fn one_that_can_not_be_made_like_new_is_replaced_at_once() {
    let mut shop = restocking(&json!({}));
    shop.orders.clear();
    shop.step();
    let status = shop.status_of("cake-1");
    status.phase = Some(StockPhase::Failed);
    for (type_, holds) in [(conditions::READY, false), (conditions::TORN_DOWN, true)] {
        let say = conditions::Say { type_, holds, reason: reasons::RESET_FAILED, message: String::new() };
        conditions::set(&mut status.conditions, say, None, at(0));
    }
    shop.step();
    assert_eq!(shop.phases().last(), Some(&("cake-2", StockPhase::Producing)));
    assert_eq!(shop.status().failures, None, "it is no failure of making");
}

/// A shop of so many units that are probed each minute, all on the shelf.
fn probed(units: i32, probe: &serde_json::Value) -> Shop {
    let mut spec = json!({"replicas": units, "parallelism": units, "item": {}, "probe": {"periodSeconds": 60, "expression": "true"}});
    for (field, value) in probe.as_object().into_iter().flatten() {
        spec["probe"][field] = value.clone();
    }
    let mut shop = Shop::new(spec);
    shop.step();
    shop.produced();
    shop.step();
    shop
}

impl Shop {
    /// Makes a verdict on a unit, as its controller does.
    fn check(&mut self, name: &str, good: bool) {
        let now = at(self.now);
        let status = self.status_of(name);
        status.probe_requested_time = None;
        if good {
            (status.probe_time, status.probe_failures, status.probe_failure_time) = (Some(Time(now)), None, None);
        } else {
            status.probe_failures = Some(status.probe_failures.unwrap_or(0) + 1);
            status.probe_failure_time = Some(Time(now));
        }
        let say = conditions::Say { type_: conditions::HEALTHY, holds: good, reason: "x", message: String::new() };
        conditions::set(&mut status.conditions, say, None, now);
    }

    fn is_suspect(&self) -> bool {
        self.status().conditions.iter().any(|one| one.type_ == conditions::PROBE_SUSPECT)
    }
}

#[test]
fn a_unit_that_fails_often_enough_goes_and_is_replaced() {
    let mut shop = probed(3, &json!({}));
    for name in ["cake-1", "cake-2", "cake-3"] {
        shop.check(name, name != "cake-2");
    }
    assert_eq!(shop.look().retire.len(), 0, "once is no time");
    shop.now += 60;
    shop.check("cake-2", false);
    let retired: Vec<_> = shop.look().retire.iter().map(|(one, why)| (unit::name(one).to_owned(), *why)).collect();
    assert_eq!(retired, [("cake-2".to_owned(), Spoilt::ProbeFailed)]);
    shop.order("o");
    shop.inventory.spec.paused = Some(true);
    shop.step();
    assert_eq!(shop.stock_of("o"), Some("cake-1"));
    shop.order("p");
    shop.order("q");
    shop.step();
    assert_eq!((shop.stock_of("p"), shop.stock_of("q")), (Some("cake-3"), None), "nobody gets one that is bad");
    shop.inventory.spec.paused = None;
    shop.step();
    assert!(shop.phases().iter().all(|(name, _)| *name != "cake-2"));
}

#[test]
fn a_probe_that_most_units_fail_is_not_believed() {
    let mut shop = probed(4, &json!({"failureThreshold": 1}));
    for (name, good) in [("cake-1", false), ("cake-2", false), ("cake-3", true), ("cake-4", false)] {
        shop.check(name, good);
    }
    shop.step();
    assert!(shop.is_suspect());
    assert_eq!(shop.units.len(), 4);
    shop.order("o");
    shop.step();
    assert_eq!(shop.stock_of("o"), Some("cake-1"), "it is not believed to be bad");
    // Half are no more than half.
    shop.now += 60;
    shop.check("cake-2", true);
    shop.step();
    assert!(!shop.is_suspect());
    assert!(shop.phases().iter().all(|(name, _)| *name != "cake-4"));
}

#[test]
fn a_unit_alone_is_believed_to_be_bad_once() {
    let mut shop = probed(1, &json!({"failureThreshold": 1}));
    shop.check("cake-1", false);
    shop.step();
    assert_eq!(shop.phases(), [("cake-2", StockPhase::Producing)]);
    shop.now += 300;
    shop.produced();
    shop.now += 60;
    shop.check("cake-2", false);
    shop.step();
    assert!(shop.is_suspect());
    assert_eq!(shop.phases(), [("cake-2", StockPhase::Ready)]);
    // What is found good speaks for the probe.
    shop.now += 60;
    shop.check("cake-2", true);
    shop.step();
    assert!(!shop.is_suspect());
    shop.now += 60;
    shop.check("cake-2", false);
    shop.step();
    assert_eq!(shop.phases(), [("cake-3", StockPhase::Producing)]);
}

#[test]
fn a_broken_probe_does_not_empty_the_shelf_one_by_one() {
    let mut shop = probed(10, &json!({"failureThreshold": 1}));
    let names: Vec<String> = shop.units.iter().map(|one| unit::name(one).to_owned()).collect();
    for name in &names {
        shop.check(name, true);
    }
    for name in &names {
        shop.now += 6;
        shop.check(name, false);
        shop.step();
    }
    assert!(shop.is_suspect());
    let left = shop.units.iter().filter(|one| names.iter().any(|name| name == unit::name(one))).count();
    assert_eq!(left, 5, "half of them went before it was to be known");
}

#[test]
fn a_unit_is_checked_before_it_is_given_out_when_that_was_long_ago() {
    let mut shop = probed(2, &json!({"freshFor": "20s"}));
    shop.now += 20;
    shop.order("early");
    shop.step();
    assert_eq!(shop.stock_of("early"), Some("cake-1"), "it was made 20 seconds ago");
    shop.now += 1;
    shop.order("o");
    shop.order("next");
    let plan = shop.look();
    let asked: Vec<&str> = plan.ask.iter().map(|one| unit::name(one)).collect();
    assert_eq!(asked, ["cake-2"]);
    assert_eq!(plan.create.len(), 1, "one more than is being made; the one on the shelf counts");
    let now = at(shop.now);
    shop.carry_out(plan);
    shop.status_of("cake-2").probe_requested_time = Some(Time(now));
    assert_eq!(shop.look().ask.len(), 0, "it is asked once");
    // One that fails is not asked again at once.
    shop.check("cake-2", false);
    let plan = shop.look();
    assert_eq!((plan.ask.len(), plan.again), (0, Some(at(shop.now + 60))));
    shop.check("cake-2", true);
    shop.now += 10;
    shop.step();
    assert_eq!((shop.stock_of("o"), shop.stock_of("next")), (Some("cake-2"), None));
}

#[test]
fn a_copy_is_checked_before_it_is_given_out_too() {
    let mut spec = json!({"replicas": 1, "item": {"type": "Copy"}});
    spec["probe"] = json!({"periodSeconds": 60, "expression": "true", "freshFor": "20s"});
    let mut shop = Shop::new(spec);
    shop.step();
    shop.produced();
    shop.now += 21;
    shop.order("o");
    assert_eq!(shop.look().ask.len(), 1);
    shop.step();
    assert_eq!(shop.stock_of("o"), None);
    shop.check("cake-1", true);
    shop.step();
    assert_eq!(shop.stock_of("o"), Some("cake-1"));
}

#[test]
fn what_has_drifted_goes_and_what_is_held_stays() {
    let mut shop = Shop::new(json!({"replicas": 2, "parallelism": 2, "item": {}}));
    shop.step();
    shop.produced();
    shop.order("o");
    shop.step();
    for name in ["cake-1", "cake-2"] {
        let say = conditions::Say { type_: conditions::DRIFTED, holds: true, reason: "x", message: String::new() };
        conditions::set(&mut shop.status_of(name).conditions, say, None, at(0));
    }
    let retired: Vec<_> = shop.look().retire.iter().map(|(one, why)| (unit::name(one).to_owned(), *why)).collect();
    assert_eq!(retired, [("cake-2".to_owned(), Spoilt::Drifted)]);
}

#[test]
fn an_order_that_waited_elsewhere_is_told_where_it_waits_now() {
    let mut shop = Shop::new(json!({"replicas": 0, "maxUnits": 0}));
    let order = shop.order("moved").clone();
    let status = request::waiting(&order, "shop/gone", 7, &[], "waits there", at(0));
    shop.tell(&order, status);
    shop.step();
    let told = shop.orders[0].status.clone().unwrap();
    assert_eq!((told.inventory.as_deref(), told.queue_sequence), (Some("shop/cake"), Some(7)));
    assert!(shop.look().serve.is_empty(), "it is told once");
}

#[test]
fn a_copy_is_at_no_limit_whatever_demand_there_is() {
    let mut shop = Shop::new(json!({"demand": {"maxReplicas": 1}, "item": {"type": "Copy"}}));
    for order in 0..20 {
        shop.order(&format!("order-{order}"));
    }
    shop.step();
    let status = shop.look().status.or(shop.inventory.status.clone()).unwrap();
    let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY).unwrap();
    let told = (ready.reason.as_str(), status.reason.as_deref());
    assert_eq!(told, (crate::reasons::REPLENISHING, Some("one copy serves all orders")));
    assert!(status.conditions.iter().all(|condition| condition.type_ != conditions::LIMITED));
}

#[test]
fn only_the_head_of_the_line_holds_a_part() {
    let mut shop = Shop::new(json!({"replicas": 0, "parallelism": 1, "item": {}}));
    shop.order("three").spec.replicas = Some(3);
    shop.order("one");
    for filled in ["0/3", "1/3", "2/3", "3/3"] {
        shop.step();
        let status = |index: usize, shop: &Shop| shop.orders[index].status.clone().unwrap().filled.unwrap();
        assert_eq!((status(0, &shop).as_str(), status(1, &shop).as_str()), (filled, "0/1"));
        shop.produced();
    }
}

#[test]
fn a_deleted_inventory_keeps_what_is_held_and_tells_who_waits() {
    let mut shop = Shop::new(json!({"replicas": 1, "item": {}}));
    shop.step();
    shop.produced();
    shop.order("holder");
    shop.step();
    shop.order("late");
    shop.step();
    shop.inventory.metadata.deletion_timestamp = Some(Time(at(shop.now)));
    shop.produced();
    shop.step();
    assert_eq!(shop.phases(), [("cake-1", StockPhase::Claimed)]);
    assert_eq!(request::reason(&shop.orders[1]), Some(reasons::INVENTORY_GONE));
    assert!(!shop.look().is_empty);
    shop.orders.remove(0);
    shop.step();
    assert!(shop.look().is_empty);
}

#[test]
fn paused_neither_makes_nor_throws_away_and_serves() {
    let mut shop = Shop::new(json!({"replicas": 2, "parallelism": 2, "maxAge": "1h", "item": {}}));
    shop.step();
    shop.produced();
    shop.inventory.spec.paused = Some(true);
    shop.order("o");
    shop.step();
    assert_eq!(shop.stock_of("o"), Some("cake-1"));
    shop.now += 3600;
    shop.step();
    assert_eq!(shop.units.len(), 2);
}

#[test]
fn demand_raises_the_level_and_silence_lowers_it() {
    let mut shop = Shop::new(json!({"demand": {"maxReplicas": 10}, "parallelism": 10, "idleAfter": "1h", "item": {}}));
    let mut waited = vec![];
    for number in 0..40 {
        shop.order(&format!("o{number}"));
        shop.step();
        shop.now += 20;
        shop.produced();
        shop.step();
        waited.push(shop.orders.last().unwrap().status.as_ref().unwrap().queue_sequence.is_some());
    }
    assert_eq!(waited.iter().rposition(|waited| *waited), Some(0), "only the first had to wait: {waited:?}");
    assert!(shop.status().level > Some(0), "{:?}", shop.status());
    for _ in 0..200 {
        shop.now += 60;
        shop.step();
    }
    assert_eq!(shop.status().level, Some(0));
    let on_the_shelf = shop.units.iter().filter(|one| unit::phase(one) == StockPhase::Ready).count();
    assert_eq!(on_the_shelf, 0);
}

proptest! {
    /// Whatever is ordered, fails and is deleted: no unit has two holders, no more is made than may be, and in the end
    /// every order that is left has its units and the shelf is at its level.
    #[test]
    fn every_history_ends_with_a_full_shelf_and_no_line(
        events in proptest::collection::vec((0..6_u8, 0..8_usize), 0..40),
        replicas in 0..4_i32,
        parallelism in 1..4_i32,
    ) {
        let mut shop = Shop::new(json!({"replicas": replicas, "parallelism": parallelism, "maxUnits": 12, "item": {}}));
        let mut names = 0;
        for (event, which) in events {
            shop.now += 7;
            match event {
                0 | 1 => {
                    names += 1;
                    shop.order(&format!("o{names}")).spec.replicas = Some(i32::try_from(which % 2).unwrap() + 1);
                }
                2 => shop.produced(),
                3 => shop.failed(),
                4 if !shop.orders.is_empty() => {
                    let index = which % shop.orders.len();
                    shop.orders.remove(index);
                }
                5 if !shop.units.is_empty() => {
                    let index = which % shop.units.len();
                    if unit::holder(&shop.units[index]).is_none() {
                        shop.units.remove(index);
                    }
                }
                _ => {}
            }
            shop.step();
            let in_work = shop.units.iter().filter(|one| unit::is_in_work(one)).count();
            prop_assert!(in_work <= usize::try_from(parallelism).unwrap());
            prop_assert!(shop.units.iter().filter(|one| !unit::is_torn_down(one)).count() <= 12);
        }
        shop.orders.truncate(3);
        for _ in 0..40 {
            shop.now += 601;
            shop.produced();
            shop.step();
        }
        for order in &shop.orders {
            let held = shop.units.iter().filter(|one| unit::holder(one).is_some_and(|claim| Some(&claim.uid) == order.metadata.uid.as_ref()));
            prop_assert_eq!(held.count(), request::wants(order));
            prop_assert_eq!(request::stage(order), Stage::Filled);
        }
        let ready = shop.units.iter().filter(|one| unit::phase(one) == StockPhase::Ready).count();
        prop_assert_eq!(ready, usize::try_from(replicas).unwrap());
    }
}
