//! Units that are given back.

use super::*;

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
