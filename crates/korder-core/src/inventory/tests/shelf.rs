//! What is made, and what goes.

use super::*;

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
