//! The level as a whole.

use jiff::Timestamp;
use korder_api::InventorySpec;
use proptest::prelude::*;

use super::fixtures::for_share;
use super::*;

const ONE: Arrival = Arrival { units: 1, at_once: true };

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// So many orders, so many seconds apart, of which every twentieth waits.
fn evenly(orders: u32, apart: f64, lead: f64, config: &Config) -> State {
    (1..=orders).fold(State::new(secs(lead)), |state, order| {
        step(state, secs(apart), &[Arrival { units: 1, at_once: order % 20 != 0 }], secs(lead), config)
    })
}

fn units(state: &State, lead: f64, config: &Config) -> u32 {
    level(state, secs(lead), config).units
}

#[test]
fn a_steady_demand_needs_about_the_quantile_plus_one() {
    // Poisson, at 95%: 7 at a mean of 3, 40 at a mean of 30.
    for (rate, lead, least, most) in [(0.05, 1.0, 1, 2), (0.05, 60.0, 6, 9), (0.05, 600.0, 38, 46), (0.005, 60.0, 1, 3)]
    {
        let config = for_share(0.95);
        let state = evenly(3000, 1.0 / rate, lead, &config);
        let level = units(&state, lead, &config);
        assert!((least..=most).contains(&level), "{rate} {lead}: {level}");
    }
}

#[test]
fn orders_that_come_faster_need_more() {
    for config in [for_share(0.95), Config { aim: Aim::Costs { holding_per_shortage: 0.0001 }, ..for_share(0.95) }] {
        let levels =
            [0.003, 0.01, 0.03, 0.1, 0.3].map(|rate| units(&evenly(1000, 1.0 / rate, 60.0, &config), 60.0, &config));
        assert!(levels.is_sorted_by(|less, more| less < more), "{levels:?}");
    }
}

#[test]
fn a_burst_raises_the_level_at_once_and_silence_lowers_it() {
    let config = for_share(0.95);
    let quiet = evenly(500, 600.0, 60.0, &config);
    let before = units(&quiet, 60.0, &config);
    let burst = (0..30)
        .fold(quiet, |state, _| step(state, secs(2.0), &[Arrival { at_once: false, ..ONE }], secs(60.0), &config));
    let during = units(&burst, 60.0, &config);
    assert!(before <= 2 && during >= 10, "{before} then {during}");
    let after = units(&step(burst, secs(4.0 * 3600.0), &[], secs(60.0), &config), 60.0, &config);
    assert!(after < during / 2, "{after} after {during}");
}

#[test]
fn without_an_order_for_long_it_is_the_least() {
    let config = Config { least: 3, idle_after: Some(Duration::from_hours(1)), ..for_share(0.95) };
    let state = evenly(500, 5.0, 60.0, &config);
    let just_before = step(state.clone(), secs(3599.0), &[], secs(60.0), &config);
    let then = step(just_before.clone(), secs(1.0), &[], secs(60.0), &config);
    assert!(!level(&just_before, secs(60.0), &config).reason.starts_with("no order"));
    assert_eq!(
        level(&then, secs(60.0), &config),
        Level { units: 3, reason: "no order for 60 min, minReplicas is 3".to_owned(), limit: None }
    );
    // A new order ends that.
    assert!(units(&step(then, secs(1.0), &[ONE], secs(60.0), &config), 60.0, &config) >= 3);
}

#[test]
fn where_production_is_too_slow_or_the_bound_too_low_it_says_so() {
    let wide = for_share(0.95);
    let state = evenly(1000, 20.0, 60.0, &wide);
    // Three are in the making on average.
    for (parallelism, most, limit) in [
        (1000, 1000, None),
        (4, 1000, None),
        (3, 1000, Some(Limit::ProductionBound)),
        (1000, 4, Some(Limit::AtMax)),
        (3, 4, Some(Limit::ProductionBound)),
    ] {
        let config = Config { most, parallelism, ..wide.clone() };
        assert_eq!(level(&state, secs(60.0), &config).limit, limit, "{parallelism} {most}");
    }
}

#[test]
fn more_costly_waiting_needs_more_and_feedback_has_no_say() {
    let with = |holding_per_shortage| Config { aim: Aim::Costs { holding_per_shortage }, ..for_share(0.95) };
    let levels = [1.0, 0.01, 0.001, 0.0001].map(|costs| {
        let config = with(costs);
        let all_wait = (0..500).fold(State::new(secs(60.0)), |state, _| {
            step(state, secs(20.0), &[Arrival { at_once: false, ..ONE }], secs(60.0), &config)
        });
        let state =
            (0..500).fold(State::new(secs(60.0)), |state, _| step(state, secs(20.0), &[ONE], secs(60.0), &config));
        assert_eq!(units(&state, 60.0, &config), units(&all_wait, 60.0, &config));
        units(&state, 60.0, &config)
    });
    assert!(levels.is_sorted() && levels[0] == 0 && levels[3] >= 8, "{levels:?}");
}

#[test]
fn orders_for_several_units_count_as_many() {
    let config = for_share(0.95);
    let with = |units| {
        let arrival = Arrival { units, ..ONE };
        (0..500).fold(State::new(secs(60.0)), |state, _| step(state, secs(20.0), &[arrival], secs(60.0), &config))
    };
    assert!(units(&with(5), 60.0, &config) > 3 * units(&with(1), 60.0, &config));
}

/// What the rule says on any machine: nothing in it depends on the platform's mathematics.
#[test]
fn the_same_orders_give_the_same_state_everywhere() {
    let config = for_share(0.95);
    let text = evenly(100, 7.0, 12.0, &config).encode(Timestamp::UNIX_EPOCH);
    insta::assert_snapshot!(text);
}

#[test]
fn an_inventory_says_what_its_level_is_held_to() {
    let spec = |rest: serde_json::Value| {
        let mut spec = serde_json::json!({"item": {"operation": {"package": {"name": "db", "version": "1.0.0"}}}});
        spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        serde_json::from_value::<InventorySpec>(spec).unwrap()
    };
    assert_eq!(Config::of(&spec(serde_json::json!({"replicas": 3}))), None);
    assert_eq!(
        Config::of(&spec(serde_json::json!({"demand": {"maxReplicas": 8}}))),
        Some(Config { least: 0, most: 8, aim: Aim::Share(0.95), parallelism: 1, idle_after: None })
    );
    let full = serde_json::json!({
        "demand": {"minReplicas": 2, "maxReplicas": 8, "costs": {"shortage": 4, "holding": 3600}},
        "parallelism": 4, "idleAfter": "1h",
    });
    let Config { least, aim, parallelism, idle_after, .. } = Config::of(&spec(full)).unwrap();
    assert_eq!((least, parallelism, idle_after), (2, 4, Some(Duration::from_hours(1))));
    assert_eq!(aim, Aim::Costs { holding_per_shortage: 0.25 });
}

#[test]
fn a_state_of_another_version_or_a_damaged_one_is_refused() {
    let text = State::new(secs(60.0)).encode(Timestamp::UNIX_EPOCH);
    let error = |text: &str| State::decode(text).unwrap_err().to_string();
    assert_eq!(
        error(&text.replacen("v1", "v2", 1)),
        "the level's state is of another version than `v1`: the demand is learned anew"
    );
    assert_eq!(error(""), error("v2"));
    assert_eq!(error("v1 yesterday"), "the level's state is damaged at `time`: the demand is learned anew");
    let sixth = format!(" {:e}", 1.0 / 6.0);
    assert_eq!(
        error(&text.replacen(&sixth, " 1e0", 1)),
        "the level's state is damaged at `weight`: the demand is learned anew"
    );
    assert_eq!(error(&format!("{text} 0")), "the level's state is damaged at `end`: the demand is learned anew");
    assert_eq!(
        error(&text.replacen("0e0", "NaN", 1)),
        "the level's state is damaged at `silence`: the demand is learned anew"
    );
}

/// Orders as they may come: how long after the one before, how many units, at once or not.
fn arrivals() -> impl Strategy<Value = Vec<(f64, Arrival)>> {
    let silence = prop_oneof![Just(0.0), 0.0..100.0, 0.0..1e6];
    let arrival = (prop_oneof![3 => Just(1), 1 => 0_u32..10_000], any::<bool>());
    prop::collection::vec((silence, arrival.prop_map(|(units, at_once)| Arrival { units, at_once })), 0..60)
}

fn configs() -> impl Strategy<Value = Config> {
    let aim = prop_oneof![
        (1_i32..=99).prop_map(|percent| Aim::Share(f64::from(percent) / 100.0)),
        (1e-13..1e6).prop_map(|holding_per_shortage| Aim::Costs { holding_per_shortage }),
    ];
    (0_u32..20, 0_u32..200, aim, 1_u32..1000).prop_map(|(least, more, aim, parallelism)| Config {
        least,
        most: least + more,
        aim,
        parallelism,
        idle_after: None,
    })
}

fn leads() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 0.001..10.0, 10.0..10_000.0, Just(1e9)]
}

fn played(orders: &[(f64, Arrival)], lead: f64, config: &Config) -> State {
    orders.iter().fold(State::new(secs(lead)), |state, (silence, arrival)| {
        step(state, secs(*silence), &[*arrival], secs(lead), config)
    })
}

proptest! {
    #[test]
    fn levels_are_within_their_bounds_at_any_lead_time(
        orders in arrivals(), config in configs(), lead in leads(), other in leads(), silence in 0.0..1e7,
    ) {
        // The mean of the lead times moves while orders come.
        let state = step(played(&orders, lead, &config), secs(silence), &[ONE], secs(other), &config);
        let Level { units, limit, .. } = level(&state, secs(other), &config);
        prop_assert!((config.least..=config.most).contains(&units));
        prop_assert!(limit != Some(Limit::AtMax) || units == config.most);
    }

    #[test]
    fn a_state_comes_back_as_it_was_written(orders in arrivals(), config in configs(), lead in leads()) {
        let state = played(&orders, lead, &config);
        let at = Timestamp::UNIX_EPOCH;
        let text = state.encode(at);
        prop_assert!(text.len() <= 4096, "{} bytes", text.len());
        prop_assert_eq!(State::decode(&text), Ok((state, at)));
    }

    #[test]
    fn no_text_is_too_bad_to_be_read(text in ".*", at in 0_usize..700, with in ".{0,3}", lead in leads()) {
        prop_assert!(State::decode(&text).is_err());
        let config = for_share(0.95);
        let good = evenly(50, 7.0, 12.0, &config).encode(Timestamp::UNIX_EPOCH);
        let at = at.min(good.len());
        let damaged = format!("{}{with}{}", &good[..at], &good[(at + 1).min(good.len())..]);
        if let Ok((state, _)) = State::decode(&damaged) {
            let state = step(state, secs(1.0), &[ONE], secs(lead), &config);
            prop_assert!(units(&state, lead, &config) <= config.most);
        }
    }

    /// Any numbers within their ranges are a state that can be gone on with.
    #[test]
    fn no_state_is_too_odd_to_go_on_with(
        numbers in prop::collection::vec(prop_oneof![Just(0.0_f64), Just(1.0), 0.0..1.0, 1e-9..1e12], 22),
        counts in prop::collection::vec(0_u32..=1_000_000, 21), lead in leads(), config in configs(),
    ) {
        let experts = "1e-9 1e-3 1e0 ".to_owned() + &format!("{:e} {:e} 0 ", f64::max(numbers[0], 1e-9), f64::max(numbers[1], 1e-3)).repeat(5);
        let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
        let needs = vec![format!("{:e}", numbers[2]); 96].join(" ");
        let text = format!(
            "v1 1970-01-01T00:00:00Z {:e} {experts}{:e} {:e} 3.912 -1 0.5 {} {needs}",
            numbers[3], numbers[4], numbers[5], counts.join(" "),
        );
        let (state, _) = State::decode(&text).unwrap();
        let state = step(state, secs(1.0), &[ONE], secs(lead), &config);
        let units = units(&state, lead, &config);
        prop_assert!((config.least..=config.most).contains(&units));
        State::decode(&state.encode(Timestamp::UNIX_EPOCH)).unwrap();
    }

    #[test]
    fn a_silence_may_be_cut_into_steps(orders in arrivals(), steps in 1_u32..50, millis in 0_u32..10_000_000) {
        let (config, lead) = (for_share(0.95), secs(60.0));
        let state = played(&orders, 60.0, &config);
        let piece = Duration::from_millis(millis.into());
        let whole = step(state.clone(), piece * steps, &[ONE], lead, &config);
        let pieces = (1..steps).fold(state, |state, _| step(state, piece, &[], lead, &config));
        let pieces = step(pieces, piece, &[ONE], lead, &config);
        let (whole, pieces) = (level(&whole, lead, &config).units, level(&pieces, lead, &config).units);
        prop_assert!(whole.abs_diff(pieces) <= 1, "{whole} {pieces}");
    }

    /// Where feedback has no say, which goes by whether orders had to wait.
    #[test]
    fn one_more_order_never_lowers_the_level(orders in arrivals(), lead in 1.0..600.0, holding in 1e-6..1e-2) {
        let config = Config { aim: Aim::Costs { holding_per_shortage: holding }, ..for_share(0.95) };
        let before = played(&orders, lead, &config);
        let after = step(before.clone(), Duration::ZERO, &[ONE], secs(lead), &config);
        let (before, after) = (units(&before, lead, &config), units(&after, lead, &config));
        prop_assert!(after >= before, "{after} after {before}");
    }
}
