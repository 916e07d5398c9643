use korder_api::StockPhase;
use korder_api::stock::StockClaim;
use serde_json::{Value, json};

use super::*;
use crate::conditions::READY;
use crate::fixtures::at;
use crate::stock::fixtures::{in_phase, job, stock, worker};
use crate::stock::job::Job;
use crate::stock::production::plan;

/// A unit with an output and a password, given back for the second time.
fn given_back() -> Stock {
    let template = json!({"spec": {"containers": [{"name": "build", "image": "b"}]}});
    let mut unit = stock(json!({"operation": {"job": {"template": template}}, "outputs": [
        {"name": "host", "from": {"result": "host"}},
        {"name": "password", "from": {"result": "password"}, "sensitive": true},
    ]}));
    unit = in_phase(unit, StockPhase::Claimed);
    let status = unit.status.as_mut().unwrap();
    status.claim_ref = Some(StockClaim { namespace: "shop".into(), name: "o".into(), uid: "u".into() });
    status.outputs = [("host".to_owned(), "old".to_owned())].into();
    status.resets = Some(1);
    status.ready_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    let status = begun(&unit, at(5));
    Stock { status: Some(status), ..unit }
}

fn inventory(reset: Option<&Value>) -> Inventory {
    let spec = json!({"replicas": 1, "item": {"operation": {}}, "reset": reset});
    Inventory::new("inv", serde_json::from_value(spec).unwrap())
}

fn with_reset() -> Inventory {
    inventory(Some(&json!({"template": {"spec": {"containers": [{"name": "build", "image": "cleaner"}]}}})))
}

/// The Job of the unit's second time.
fn reset_job(unit: &Stock, conditions: &[&str]) -> Job {
    let mut job = job(unit, conditions);
    job.metadata.name = Some("inv-1-r2".into());
    job
}

fn reset_worker(unit: &Stock, message: &str) -> Worker {
    let mut worker = worker(unit, "Succeeded", message);
    worker.metadata.owner_references.as_mut().unwrap()[0].name = "inv-1-r2".into();
    worker
}

fn next(unit: &Stock, jobs: &[&Job], workers: &[&Worker]) -> Option<Step> {
    let inventory = with_reset();
    let (jobs, workers) = (jobs.to_vec(), workers.to_vec());
    let seen =
        Observed { stock: unit, inventory: Some(&inventory), jobs, workers, namespace_is_going: false, looked: at(0) };
    plan(&seen, at(10)).step
}

#[track_caller]
fn failure(step: Option<Step>) -> String {
    let Some(Step::WriteStatus(status)) = step else { panic!("{step:?}") };
    assert_eq!(status.phase, Some(StockPhase::Failed));
    let ready = status.conditions.into_iter().find(|one| one.type_ == READY).unwrap();
    assert_eq!(ready.reason, reasons::RESET_FAILED);
    ready.message
}

#[test]
fn a_unit_that_is_given_back_is_nobodys_and_its_job_has_a_number() {
    let unit = given_back();
    let status = unit.status.as_ref().unwrap();
    assert_eq!((status.phase, &status.claim_ref, status.resets), (Some(StockPhase::Resetting), &None, Some(2)));
    let Some(Step::CreateJob(made)) = next(&unit, &[], &[]) else { panic!("a Job is made") };
    assert_eq!(made.name(), "inv-1-r2");
    let made = serde_json::to_value(&made).unwrap();
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["image"], "cleaner");
    assert_eq!(made["spec"]["template"]["metadata"]["finalizers"], json!([korder_api::names::FINALIZER_OUTPUT]));
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "stock-uid");
}

#[test]
fn a_name_without_room_gives_way_to_the_uid() {
    let mut unit = given_back();
    unit.metadata.name = Some("x".repeat(61));
    assert_eq!(job::reset_name(&unit, 2), "stock-uid-r2");
}

#[test]
fn the_end_of_an_earlier_job_counts_for_nothing_and_it_is_removed() {
    let unit = given_back();
    let made = job(&unit, &["Complete"]);
    let mut earlier = job(&unit, &["Complete"]);
    (earlier.metadata.name, earlier.metadata.uid) = (Some("inv-1-r1".into()), Some("earlier".into()));
    let done = worker(&unit, "Succeeded", r#"{"host": "a", "password": "b"}"#);
    assert_eq!(next(&unit, &[&made, &earlier], &[&done]), Some(Step::DeleteJob("earlier".into())));
    assert!(
        matches!(next(&unit, &[&made], &[&done]), Some(Step::CreateJob(_))),
        "what made the unit does not reset it"
    );
    // And so is the last one, when the unit is back on the shelf.
    let ready = in_phase(unit.clone(), StockPhase::Ready);
    let step = next(&ready, &[&made, &reset_job(&unit, &["Complete"])], &[]);
    assert_eq!(step, Some(Step::DeleteJob("job-uid".into())));
    assert_eq!(next(&ready, &[&made], &[]), None, "the log of its making may still be read");
}

#[test]
fn its_result_renews_outputs_and_must_renew_secrets() {
    let unit = given_back();
    let running = reset_job(&unit, &[]);
    assert_eq!(next(&unit, &[&running], &[]), None);
    let with = |message: &str| next(&unit, &[&running], &[&reset_worker(&unit, message)]);
    let Some(Step::Finish(outputs)) = with(r#"{"password": "new"}"#) else { panic!("it is finished") };
    assert_eq!((outputs.plain["host"].as_str(), outputs.sensitive["password"].as_str()), ("old", "new"));
    let Some(Step::Finish(outputs)) = with(r#"{"password": "new", "host": "other"}"#) else { panic!("it is finished") };
    assert_eq!(outputs.plain["host"], "other");
    assert!(failure(with(r#"{"host": "other"}"#)).contains("output `password`"));
    assert!(failure(with("done")).contains("`password`"));
    let status = production::ready(&unit, &outputs, Some("inv-1-outputs".into()), at(20));
    assert_eq!(status.ready_time.unwrap().0, at(0), "its age is that of the first time");
}

#[test]
fn one_that_can_not_be_reset_fails() {
    let unit = given_back();
    assert!(failure(next(&unit, &[&reset_job(&unit, &["Failed"])], &[])).contains("the job failed: so it is"));
    let mut foreign = reset_job(&unit, &["Complete"]);
    foreign.metadata.owner_references = None;
    assert!(failure(next(&unit, &[&foreign], &[])).contains("`inv-1-r2` is there already"));
    let without = inventory(None);
    let seen = Observed {
        stock: &unit,
        inventory: Some(&without),
        jobs: vec![],
        workers: vec![],
        namespace_is_going: false,
        looked: at(0),
    };
    assert!(failure(plan(&seen, at(10)).step).contains("no `reset` any more"));
}

#[test]
fn objects_are_read_again_after_it() {
    let mut unit = given_back();
    let manifests = json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "$(stock.name)"}}]);
    unit.spec.item = serde_json::from_value(json!({"operation": {"manifests": manifests}})).unwrap();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "inv-1", "uid": "u"});
    unit.status.as_mut().unwrap().objects = vec![serde_json::from_value(object).unwrap()];
    assert_eq!(next(&unit, &[&reset_job(&unit, &["Complete"])], &[]), Some(Step::ReadObjects));
}

#[test]
fn a_secret_of_an_object_can_not_be_renewed() {
    let item = |output: Value| serde_json::from_value(json!({"operation": {}, "outputs": [output]})).unwrap();
    let secret = json!({"kind": "Secret", "name": "s"});
    assert!(can_renew(&item(json!({"name": "a", "from": {"result": "a"}, "sensitive": true}))));
    assert!(can_renew(&item(json!({"name": "a", "from": {"object": secret, "fieldPath": ".a"}}))));
    assert!(!can_renew(&item(json!({"name": "a", "from": {"object": secret, "secretKey": "a"}}))));
}
