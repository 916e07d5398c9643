//! Orders: what they get, keep and are told.

use super::*;

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
