use serde_json::{Value, from_value, json};

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("ticket `{0}` could not be written")]
struct Wrapped(&'static str, #[source] kube::Error);

fn api(status: Value) -> kube::Error {
    kube::Error::Api(from_value(status).unwrap())
}

fn convert<E>(error: E) -> Failure
where
    Failure: From<E>,
{
    error.into()
}

#[test]
fn answers_of_the_server_are_classified_however_deep_they_are_wrapped() {
    let conflict = || api(json!({"code": 409, "reason": "Conflict", "message": "changed"}));
    assert!(matches!(convert(conflict()), Failure::Conflict(_)));
    assert!(matches!(convert(Wrapped("a", conflict())), Failure::Conflict(_)));
    assert!(matches!(Failure::of(Box::new(Wrapped("a", conflict()))), Failure::Conflict(_)));

    for code in [429, 503] {
        let busy = api(json!({"code": code, "details": {"retryAfterSeconds": 7}}));
        assert!(matches!(convert(busy), Failure::RetryAfter(wait, _) if wait == Duration::from_secs(7)));
        assert!(matches!(convert(api(json!({"code": code}))), Failure::Unavailable(_)));
    }
    assert!(matches!(convert(api(json!({"code": 500}))), Failure::Unavailable(_)));
    assert!(matches!(convert(kube::Error::Service("refused".into())), Failure::Unavailable(_)));
    assert!(matches!(convert(api(json!({"code": 404}))), Failure::Retry(_)));
    assert!(matches!(convert(std::fmt::Error), Failure::Retry(_)));
}

#[test]
fn the_text_names_each_cause_once() {
    let failure = convert(Wrapped("a", api(json!({"code": 500, "reason": "InternalError", "message": "no etcd"}))));
    assert_eq!(failure.to_string(), "ticket `a` could not be written: no etcd: InternalError");
}
