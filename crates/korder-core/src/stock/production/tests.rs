use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::conditions::{READY, STALLED};
use crate::fixtures::at;
use crate::stock::fixtures::{deleted, in_phase, job, stock, worker};

fn of_job(outputs: &Value) -> Stock {
    let template = json!({"spec": {"containers": [{"name": "build", "image": "b"}]}});
    stock(json!({"operation": {"job": {"template": template}}, "outputs": outputs}))
}

fn with_result() -> Stock {
    of_job(&json!([{"name": "digest", "from": {"result": "result"}}]))
}

fn next(stock: &Stock, job: Option<&Job>, workers: &[&Worker]) -> Plan {
    plan(&seen(stock, job, workers), at(5))
}

fn seen<'a>(stock: &'a Stock, job: Option<&'a Job>, workers: &[&'a Worker]) -> Observed<'a> {
    let jobs = job.into_iter().collect();
    Observed { stock, inventory: None, jobs, workers: workers.to_vec(), namespace_is_going: false, looked: at(0) }
}

/// The name of the Job that is made.
#[track_caller]
fn made(plan: &Plan) -> &str {
    let Some(Step::CreateJob(job)) = &plan.step else { panic!("{plan:?}") };
    job.name()
}

/// The phase that is written, with the reason of a condition.
#[track_caller]
fn written<'p>(plan: &'p Plan, condition: &str) -> (StockPhase, &'p str) {
    let Some(Step::WriteStatus(status)) = &plan.step else { panic!("{plan:?}") };
    let condition = status.conditions.iter().find(|one| one.type_ == condition).unwrap_or_else(|| panic!("{status:?}"));
    (status.phase.unwrap(), &condition.reason)
}

#[test]
fn a_job_is_made_awaited_and_read() {
    let stock = with_result();
    assert_eq!(made(&next(&stock, None, &[])), "inv-1");
    let running = job(&stock, &[]);
    assert_eq!(next(&stock, Some(&running), &[]), Plan::default());
    assert_eq!(next(&stock, Some(&running), &[&worker(&stock, "Running", "")]).step, None);
    let done = worker(&stock, "Succeeded", "sha256:1\n");
    let finish = next(&stock, Some(&running), &[&done]);
    let Some(Step::Finish(outputs)) = &finish.step else { panic!("{finish:?}") };
    assert_eq!(outputs.plain["digest"], "sha256:1");
    // Its Job may have been removed since.
    assert_eq!(next(&stock, None, &[&done]), finish);
    let status = ready(&stock, outputs, None, at(5));
    assert_eq!((status.phase, status.ready_time.as_ref().map(|time| time.0)), (Some(StockPhase::Ready), Some(at(5))));
    let on_the_shelf = Stock { status: Some(status), ..stock.clone() };
    assert_eq!(next(&on_the_shelf, Some(&running), &[&done]), Plan::default());
}

#[test]
fn nothing_is_made_for_a_unit_that_would_leave_it_behind() {
    let mut stock = with_result();
    stock.metadata.finalizers = None;
    assert_eq!(next(&stock, None, &[]), Plan::default());
    // What was made before it lost its finalizer is finished.
    let done = worker(&stock, "Succeeded", "sha256:1");
    assert!(matches!(next(&stock, Some(&job(&stock, &[])), &[&done]).step, Some(Step::Finish(_))));
}

#[test]
fn a_result_that_is_none_fails() {
    let stock = with_result();
    let running = job(&stock, &[]);
    for (message, reason) in [("", reasons::OUTPUT_MISSING), (&"x".repeat(4096), reasons::OUTPUT_TOO_LARGE)] {
        let plan = next(&stock, Some(&running), &[&worker(&stock, "Succeeded", message)]);
        assert_eq!(written(&plan, READY), (StockPhase::Failed, reason));
        assert_eq!(written(&plan, STALLED), (StockPhase::Failed, reason));
    }
}

#[test]
fn a_pod_of_another_job_or_stock_gives_no_result() {
    let stock = with_result();
    let running = job(&stock, &[]);
    let mut other = worker(&stock, "Succeeded", "forged");
    other.metadata.owner_references.as_mut().unwrap()[0].uid = "another".into();
    assert_eq!(next(&stock, Some(&running), &[&other]), Plan::default());
    let mut other = worker(&stock, "Succeeded", "forged");
    other.metadata.labels.as_mut().unwrap().insert(names::LABEL_STOCK_UID.into(), "another".into());
    assert_eq!(made(&next(&stock, None, &[&other])), "inv-1");
}

#[test]
fn a_job_that_fails_tells_why() {
    let stock = with_result();
    let failed = job(&stock, &["Failed"]);
    let plan = next(&stock, Some(&failed), &[&worker(&stock, "Failed", "no space left\n")]);
    assert_eq!(written(&plan, READY), (StockPhase::Failed, reasons::PRODUCTION_FAILED));
    let Some(Step::WriteStatus(status)) = plan.step else { unreachable!() };
    let told = &status.conditions.iter().find(|one| one.type_ == READY).unwrap().message;
    assert_eq!(told, "the job failed: so it is; container `build` ended with code 1: no space left");
}

#[test]
fn a_job_whose_result_is_secret_tells_nothing_of_it_when_it_fails() {
    let stock = of_job(&json!([{"name": "password", "from": {"result": "password"}, "sensitive": true}]));
    let failed = job(&stock, &["Failed"]);
    let plan = next(&stock, Some(&failed), &[&worker(&stock, "Failed", "{\"password\": \"1234\"}")]);
    let Some(Step::WriteStatus(status)) = &plan.step else { panic!("{plan:?}") };
    let told = &status.conditions.iter().find(|one| one.type_ == READY).unwrap().message;
    assert_eq!(told, "the job failed: so it is; container `build` ended with code 1: Ended");
}

#[test]
fn a_completed_job_without_its_pod_is_believed_only_if_nothing_is_read_from_it() {
    let nothing = of_job(&json!([]));
    let done = job(&nothing, &["Complete"]);
    assert_eq!(next(&nothing, Some(&done), &[]).step, Some(Step::Finish(Outputs::default())));
    let stock = with_result();
    let wait = next(&stock, Some(&job(&stock, &["Complete"])), &[]);
    assert_eq!(wait, Plan { step: None, wake: Some(at(30)) });
    let complete = job(&stock, &["Complete"]);
    assert_eq!(
        written(&plan(&seen(&stock, Some(&complete), &[]), at(30)), READY),
        (StockPhase::Failed, reasons::OUTPUT_MISSING)
    );
}

#[test]
fn another_job_of_the_name_is_left_alone() {
    let stock = with_result();
    let mut other = job(&stock, &["Complete"]);
    other.metadata.owner_references = None;
    assert_eq!(written(&next(&stock, Some(&other), &[]), READY), (StockPhase::Failed, reasons::OBJECT_EXISTS));
    // Nor is it removed with the unit.
    let failed = in_phase(stock, StockPhase::Failed);
    assert_eq!(written(&next(&failed, Some(&other), &[]), TORN_DOWN).1, reasons::TEAR_DOWN_DONE);
}

#[test]
fn a_job_that_nothing_ends_is_told_of_once() {
    let mut stock = with_result();
    let (mut running, pod) = (job(&stock, &[]), worker(&stock, "Running", ""));
    running.metadata.creation_timestamp = Some(Time(at(0)));
    let look = |stock: &Stock, now| plan(&seen(stock, Some(&running), &[&pod]), at(now));
    assert_eq!(look(&stock, 599), Plan { step: None, wake: Some(at(600)) });
    let told = look(&stock, 600);
    assert_eq!(written(&told, RECONCILING), (StockPhase::Producing, reasons::PRODUCING));
    let Some(Step::WriteStatus(status)) = told.step else { unreachable!() };
    stock.status = Some(*status);
    assert_eq!(look(&stock, 700), Plan::default());
    // One that has a deadline ends by itself.
    stock.status = None;
    let item = Arc::make_mut(&mut stock.spec.item);
    item.operation.job.as_mut().unwrap().active_deadline_seconds = Some(3600);
    assert_eq!(look(&stock, 600), Plan::default());
}

#[test]
fn what_holds_a_pod_up_is_told_once() {
    let mut stock = with_result();
    let running = job(&stock, &[]);
    let held_up = |reason: &str| {
        let mut pod = worker(&with_result(), "Pending", "");
        pod.status.container_statuses[0].state =
            serde_json::from_value(json!({"waiting": {"reason": reason}})).unwrap();
        pod
    };
    assert_eq!(next(&stock, Some(&running), &[&held_up("ContainerCreating")]), Plan::default());
    let plan = next(&stock, Some(&running), &[&held_up("ErrImagePull")]);
    assert_eq!(written(&plan, RECONCILING), (StockPhase::Producing, reasons::PRODUCING));
    let Some(Step::WriteStatus(status)) = plan.step else { unreachable!() };
    stock.status = Some(*status);
    assert_eq!(next(&stock, Some(&running), &[&held_up("ImagePullBackOff")]), Plan::default());
}

#[test]
fn a_job_that_can_not_make_a_pod_is_told_in_time() {
    let stock = with_result();
    let mut running = job(&stock, &[]);
    running.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    assert_eq!(next(&stock, Some(&running), &[]), Plan { step: None, wake: Some(at(30)) });
    let late = plan(&seen(&stock, Some(&running), &[]), at(30));
    assert_eq!(written(&late, RECONCILING), (StockPhase::Producing, reasons::PRODUCING));
    assert_eq!(next(&stock, Some(&running), &[&worker(&stock, "Running", "")]).step, None);
}

#[test]
fn a_failed_unit_is_torn_down_and_stays() {
    let failed = in_phase(with_result(), StockPhase::Failed);
    let there = job(&failed, &["Failed"]);
    let pod = worker(&failed, "Failed", "");
    assert_eq!(next(&failed, Some(&there), &[&pod]).step, Some(Step::DeleteJob("job-uid".into())));
    assert_eq!(next(&failed, None, &[&pod]), Plan::default(), "its pods go by themselves");
    let done = next(&failed, None, &[]);
    assert_eq!(written(&done, TORN_DOWN), (StockPhase::Failed, reasons::TEAR_DOWN_DONE));
    let Some(Step::WriteStatus(status)) = done.step else { unreachable!() };
    let torn_down = Stock { status: Some(*status), ..failed };
    assert_eq!(next(&torn_down, None, &[]), Plan::default());
    assert_eq!(next(&deleted(torn_down), None, &[]).step, Some(Step::LetGo(None)));
}

#[test]
fn a_deleted_unit_goes_when_nothing_is_left() {
    let claim = korder_api::stock::StockClaim { namespace: "shop".into(), name: "o".into(), uid: "u".into() };
    let mut claimed = deleted(in_phase(with_result(), StockPhase::Claimed));
    claimed.status.as_mut().unwrap().claim_ref = Some(claim.clone());
    let there = job(&claimed, &[]);
    let plan = next(&claimed, Some(&there), &[]);
    assert_eq!(written(&plan, READY), (StockPhase::Retiring, reasons::TEARING_DOWN));
    let Some(Step::WriteStatus(status)) = plan.step else { unreachable!() };
    assert_eq!(status.claim_ref, Some(claim), "who has it is not forgotten");
    let retiring = Stock { status: Some(*status), ..claimed };
    assert_eq!(next(&retiring, Some(&there), &[]).step, Some(Step::DeleteJob("job-uid".into())));
    let mut going = there.clone();
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    assert_eq!(next(&retiring, Some(&going), &[]), Plan::default());
    assert_eq!(next(&retiring, None, &[]).step, Some(Step::LetGo(None)));
    let mut free = retiring;
    free.metadata.finalizers = None;
    assert_eq!(next(&free, None, &[]), Plan::default());
}

#[test]
fn what_is_abandoned_goes_at_once_and_tells_what_is_left() {
    let mut stock = deleted(with_result());
    let there = job(&stock, &[]);
    let seen = Observed { namespace_is_going: true, ..seen(&stock, Some(&there), &[]) };
    assert_eq!(plan(&seen, at(5)).step, Some(Step::LetGo(Some("Job `inv-1`".into()))));
    stock.metadata.annotations = Some([(names::ANNOTATION_ABANDON.to_owned(), String::new())].into());
    assert_eq!(next(&stock, None, &[]).step, Some(Step::LetGo(None)));
    stock.metadata.deletion_timestamp = None;
    assert_eq!(made(&next(&stock, None, &[])), "inv-1", "one that is not deleted stays");
}

#[test]
fn objects_are_made_and_removed_by_who_sees_them() {
    let manifests = json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "$(stock.name)"}}]);
    let mut stock = stock(json!({"operation": {"manifests": manifests}}));
    assert_eq!(next(&stock, None, &[]).step, Some(Step::MakeObjects));
    let object = serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "inv-1"})).unwrap();
    stock.status =
        Some(StockStatus { phase: Some(StockPhase::Retiring), objects: vec![object], ..StockStatus::default() });
    assert_eq!(next(&deleted(stock.clone()), None, &[]).step, Some(Step::RemoveObjects));
    assert_eq!(gone(&deleted(stock), at(5)).step, Some(Step::LetGo(None)));
}

#[test]
fn packages_are_not_supported_yet() {
    let stock = stock(json!({"operation": {"package": {"name": "p", "version": "1.0.0"}}}));
    assert_eq!(written(&next(&stock, None, &[]), READY), (StockPhase::Failed, reasons::NOT_SUPPORTED_YET));
}
