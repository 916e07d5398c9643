use korder_api::names::FINALIZER_OUTPUT;
use korder_api::{Inventory, StockPhase};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::at;
use crate::stock::fixtures::{job as job_of, stock};
use crate::stock::job::Job;
use crate::stock::production::{Step, plan};

/// A unit that is on the shelf since the start, made by a job.
fn on_the_shelf() -> Stock {
    let template = json!({"spec": {"containers": [{"name": "build", "image": "b"}]}});
    let unit = stock(json!({"operation": {"job": {"template": template}}}));
    let status = status::ready(&unit, vec![], &crate::stock::output::Outputs::default(), None, at(0));
    Stock { status: Some(status), ..unit }
}

fn probed(probe: Value) -> Inventory {
    let mut probe = probe;
    probe["periodSeconds"] = json!(60);
    let spec = json!({"replicas": 1, "item": {"operation": {}}, "probe": probe});
    Inventory::new("inv", serde_json::from_value(spec).unwrap())
}

fn by_job() -> Inventory {
    probed(json!({"job": {"template": {"spec": {"containers": [{"name": "check", "image": "c"}]}}}}))
}

fn next(unit: &Stock, inventory: &Inventory, jobs: &[&Job], now: i64) -> Plan {
    let inventory = Some(inventory);
    let jobs = jobs.to_vec();
    let seen = Observed { stock: unit, inventory, jobs, workers: vec![], namespace_is_going: false, looked: at(0) };
    plan(&seen, at(now))
}

#[track_caller]
fn written(plan: Plan, unit: &Stock) -> Stock {
    let Some(Step::WriteStatus(status)) = plan.step else { panic!("{plan:?}") };
    Stock { status: Some(*status), ..unit.clone() }
}

fn told(unit: &Stock) -> (&str, i32) {
    (&status::condition(unit, HEALTHY).unwrap().reason, failures(unit))
}

/// The moment of the unit's first check.
fn first(unit: &Stock) -> i64 {
    moment(unit, SignedDuration::from_mins(1), at(30)).duration_since(at(0)).as_secs()
}

#[test]
fn a_job_checks_a_unit_in_its_moment_and_is_removed() {
    let (unit, inventory) = (on_the_shelf(), by_job());
    let due = first(&unit);
    assert_eq!(next(&unit, &inventory, &[], due - 1), Plan { step: None, wake: Some(at(due)) });
    let Some(Step::CreateJob(made)) = next(&unit, &inventory, &[], due).step else { panic!("a Job is made") };
    assert_eq!(made.name(), format!("inv-1-p{}", at(0).as_second()));
    let body = serde_json::to_value(&made).unwrap();
    assert_eq!((&body["spec"]["activeDeadlineSeconds"], &body["spec"]["backoffLimit"]), (&json!(30), &json!(0)));
    assert!(!body.to_string().contains(FINALIZER_OUTPUT), "nobody reads what it says");

    let check = |conditions: &[&str]| {
        let mut job = job_of(&unit, conditions);
        job.metadata.name = Some(made.name().to_owned());
        job
    };
    assert_eq!(next(&unit, &inventory, &[&check(&[])], due + 1), Plan::default());
    let good = written(next(&unit, &inventory, &[&check(&["Complete"])], due + 2), &unit);
    assert_eq!((told(&good), seen_good(&good)), ((reasons::PROBED, 0), Some(at(due + 2))));
    let bad = written(next(&unit, &inventory, &[&check(&["Failed"])], due + 2), &unit);
    assert_eq!((told(&bad), seen_good(&bad), last(&bad)), ((reasons::PROBE_FAILED, 1), Some(at(0)), Some(at(due + 2))));
    // The same Job is no second verdict.
    for checked in [&good, &bad] {
        let step = next(checked, &inventory, &[&check(&["Failed"])], due + 3).step;
        assert_eq!(step, Some(Step::DeleteJob("job-uid".into())));
        assert_eq!(next(checked, &inventory, &[], due + 3), Plan { step: None, wake: Some(at(due + 60)) });
    }
    let bad_again = next(&bad, &inventory, &[], due + 60);
    assert!(matches!(bad_again.step, Some(Step::CreateJob(job)) if job.name() != made.name()));
}

#[test]
fn what_could_not_be_made_tells_nothing_of_the_unit() {
    let unit = on_the_shelf();
    let status = production::failed(&unit, &Failure::new(reasons::REFUSED, "quota"), at(70));
    assert_eq!(status.phase, Some(StockPhase::Ready));
    let refused = Stock { status: Some(status), ..unit };
    assert_eq!(told(&refused), (reasons::PROBE_REFUSED, 0));
    let wrong = probed(json!({"expression": "stock."}));
    assert_eq!(told(&written(next(&refused, &wrong, &[], 200), &refused)), (reasons::PROBE_REFUSED, 0));
}

#[test]
fn an_expression_that_holds_is_written_only_if_something_hangs_on_it() {
    let unit = on_the_shelf();
    let due = first(&unit);
    let good = probed(json!({"expression": "stock.metadata.name == 'inv-1'"}));
    let known = written(next(&unit, &good, &[], due), &unit);
    assert_eq!(told(&known), (reasons::PROBED, 0));
    for round in 1..10 {
        let plan = next(&known, &good, &[], due + 60 * round);
        assert_eq!(plan, Plan { step: None, wake: Some(at(due + 60 * (round + 1))) });
    }
    let fresh = probed(json!({"expression": "true", "freshFor": "10m"}));
    assert_eq!(next(&known, &fresh, &[], due + 480).step, None);
    assert_eq!(seen_good(&written(next(&known, &fresh, &[], due + 540), &known)), Some(at(due + 540)));
    let never = probed(json!({"expression": "true", "freshFor": "59s"}));
    assert_eq!(next(&known, &never, &[], due + 540).step, None, "it would be stale most of the time anyway");
    let mut asked = known.clone();
    asked.status.as_mut().unwrap().probe_requested_time =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(due + 1)));
    let answered = written(next(&asked, &good, &[], due + 1), &asked);
    assert_eq!((seen_good(&answered), is_requested(&answered)), (Some(at(due + 1)), false));

    let bad = probed(json!({"expression": "stock.metadata.name == 'other'"}));
    let first_time = written(next(&known, &bad, &[], due + 60), &known);
    let second_time = written(next(&first_time, &bad, &[], due + 120), &first_time);
    assert_eq!((failures(&first_time), failures(&second_time)), (1, 2));
    assert_eq!(next(&first_time, &bad, &[], due + 61).step, None, "once in a period");
    assert_eq!(told(&written(next(&second_time, &good, &[], due + 180), &second_time)), (reasons::PROBED, 0));
    let missing = probed(json!({"expression": "stock.status.outputs.none == ''"}));
    assert_eq!(told(&written(next(&known, &missing, &[], due + 60), &known)), (reasons::PROBE_FAILED, 1));
}

#[test]
fn a_unit_that_is_not_probed_any_more_says_nothing_of_it() {
    let unit = on_the_shelf();
    let known = written(next(&unit, &probed(json!({"expression": "false"})), &[], 120), &unit);
    let spec = json!({"replicas": 1, "item": {"operation": {}}});
    let without = Inventory::new("inv", serde_json::from_value(spec).unwrap());
    let clean = written(next(&known, &without, &[], 130), &known);
    assert_eq!(clean, unit);
    assert_eq!(next(&clean, &without, &[], 130), Plan::default());
}

#[test]
fn objects_are_looked_at_in_their_moment() {
    let mut unit = on_the_shelf();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "inv-1", "uid": "u"});
    unit.status.as_mut().unwrap().objects = vec![serde_json::from_value(object).unwrap()];
    let spec = json!({"replicas": 1, "item": {"operation": {}}});
    let inventory = Inventory::new("inv", serde_json::from_value(spec).unwrap());
    let due = next(&unit, &inventory, &[], 0).wake.unwrap();
    assert!(due > at(0) && due <= at(600), "{due}");
    let due = due.duration_since(at(0)).as_secs();
    assert_eq!(next(&unit, &inventory, &[], due).step, Some(Step::LookForDrift));
    let probed = probed(json!({"expression": "true"}));
    assert_eq!(next(&unit, &probed, &[], 60).step, Some(Step::LookForDrift), "as often as it is probed");
    let drifted = Stock { status: Some(status::drifted(&unit, "it", at(0))), ..unit.clone() };
    assert_eq!(next(&drifted, &inventory, &[], due), Plan::default());
    let held = crate::stock::fixtures::in_phase(unit, StockPhase::Claimed);
    assert_eq!(next(&held, &inventory, &[], due), Plan::default());
}

proptest! {
    #[test]
    fn each_period_has_one_moment(uid in "[0-9a-f]{8}", period in 60..700_000_i64, after in 0..10_000_000_i64) {
        let mut unit = on_the_shelf();
        unit.metadata.uid = Some(uid);
        let period = SignedDuration::from_secs(period);
        let next = moment(&unit, period, at(after));
        prop_assert!(next > at(after) && next <= at(after) + period);
        prop_assert_eq!(moment(&unit, period, next), next + period);
    }
}

#[test]
fn moments_are_spread() {
    let mut tenths = [0; 10];
    for number in 0..1000_u64 {
        let mut unit = on_the_shelf();
        let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        unit.metadata.uid = Some(format!("{hash:016x}"));
        let moment = moment(&unit, SignedDuration::from_mins(10), at(0)).duration_since(at(0)).as_secs();
        tenths[usize::try_from((moment - 1) / 60).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (50..200).contains(count)), "{tenths:?}");
}
