use super::*;
use crate::stock::fixtures::{self, stock};

fn template(spec: &Value) -> Value {
    json!({
        "inputs": {"SIZE": "3", "PATH": "/evil $(X)"},
        "operation": {"job": {"template": spec, "backoffLimit": 2, "activeDeadlineSeconds": 60}},
    })
}

fn made(item: Value) -> Result<Value, Failure> {
    let stock = stock(item);
    let job = stock.spec.item.operation.job.as_ref().unwrap();
    of(&stock, "inv-1".to_owned(), job, true).map(|job| serde_json::to_value(job).unwrap())
}

#[test]
fn the_job_is_the_stocks_and_runs_once() {
    let container =
        json!({"name": "build", "image": "b", "args": ["$(stock.name)"], "env": [{"name": "PATH", "value": "/bin"}]});
    let job = made(template(&json!({
        "metadata": {"labels": {"app": "x", "korder.dev/stock": "forged"}},
        "spec": {"containers": [container], "serviceAccount": "default"},
    })))
    .unwrap();
    insta::assert_json_snapshot!(job);
}

#[test]
fn what_can_not_be_run_is_told() {
    for (spec, word) in [
        (json!({"metadata": {}}), "no `spec`"),
        (json!({"spec": {"containers": [{"name": "a", "args": ["$(inputs.NONE)"]}]}}), "$(inputs.NONE)"),
        (
            json!({"spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": "$(random.9)"}]}]}}),
            "$(random.9)",
        ),
        (json!({"spec": {"containers": [], "serviceAccountName": "root"}}), "\"root\""),
    ] {
        let failure = made(template(&spec)).unwrap_err();
        assert_eq!(failure.reason, reasons::INVALID_ITEM);
        assert!(failure.message.contains(word), "{}", failure.message);
    }
}

#[test]
fn the_result_is_of_the_container_that_the_template_names() {
    let of = |metadata: Value| {
        let stock =
            stock(template(&json!({"metadata": metadata, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}})));
        output_container(stock.spec.item.operation.job.as_ref().unwrap()).to_owned()
    };
    assert_eq!(of(json!({})), "a");
    assert_eq!(of(json!({"annotations": {"korder.dev/output-container": "b"}})), "b");
}

#[test]
fn what_a_container_wrote_is_told_where_it_is_no_secret() {
    let failed = fixtures::worker(&stock(template(&json!({}))), "Failed", "{\"password\": \"1234\"}\n");
    let told = |is_secret| failed.trouble(is_secret).unwrap();
    assert_eq!(told(false), "container `build` ended with code 1: {\"password\": \"1234\"}");
    assert_eq!(told(true), "container `build` ended with code 1: Ended");
}

#[test]
fn a_pod_goes_when_nobody_waits_for_its_output() {
    let producing = stock(template(&json!({})));
    let job = fixtures::job(&producing, &[]);
    let worker = |phase| fixtures::worker(&producing, phase, "");
    assert!(!may_go(&worker("Running"), Some(&producing), [&job]));
    assert!(!may_go(&worker("Succeeded"), Some(&producing), []), "its Job is gone and its output is not read");
    assert!(may_go(&worker("Failed"), Some(&producing), [&job]));
    assert!(may_go(&worker("Running"), None, []), "its stock is gone");

    let mut other = producing.clone();
    other.metadata.uid = Some("other".to_owned());
    assert!(may_go(&worker("Running"), Some(&other), []), "another stock has its name");

    let ready = fixtures::in_phase(producing.clone(), korder_api::StockPhase::Ready);
    assert!(may_go(&worker("Succeeded"), Some(&ready), [&job]));

    let mut unscheduled = worker("Pending");
    assert!(!may_go(&unscheduled, Some(&producing), [&job]));
    unscheduled.metadata.deletion_timestamp = Some(Time(crate::fixtures::at(0)));
    assert!(may_go(&unscheduled, Some(&producing), [&job]), "no kubelet will ever end it");
    let mut evicted = worker("Running");
    evicted.metadata.deletion_timestamp = Some(Time(crate::fixtures::at(0)));
    assert!(!may_go(&evicted, Some(&producing), [&job]), "it may still end well");

    let mut released = worker("Failed");
    released.metadata.finalizers = None;
    assert!(!may_go(&released, Some(&producing), [&job]));
}
