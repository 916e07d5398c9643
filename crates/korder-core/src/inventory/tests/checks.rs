//! Probes and drift.

use super::*;

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
