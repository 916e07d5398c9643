//! The Status bodies with which the API server refuses.
//!
//! Codes, reasons and details are those of `k8s.io/apimachinery/pkg/api/errors`; clients go by them. The messages say
//! the same in the same order, not always in the same words.

use std::fmt::Display;

use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails, StatusSummary};

use crate::kind::Kind;

/// A refused request's answer.
pub(crate) type Refusal = Box<Status>;

/// One field that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    reason: &'static str,
    message: String,
    field: String,
}

impl FieldError {
    /// A value that isn't allowed there.
    pub fn invalid(field: impl Into<String>, value: impl Display, why: impl Display) -> Self {
        Self { reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {why}"), field: field.into() }
    }

    /// A value that is missing.
    pub fn required(field: impl Into<String>, why: impl Display) -> Self {
        Self { reason: "FieldValueRequired", message: format!("Required value: {why}"), field: field.into() }
    }

    /// A value that is none of those known.
    pub fn not_supported(field: impl Into<String>, value: &str, known: &[&str]) -> Self {
        let message = format!("Unsupported value: \"{value}\": supported values: \"{}\"", known.join("\", \""));
        Self { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    /// A field that must not be there or not change.
    pub fn forbidden(field: impl Into<String>, why: impl Display) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.into() }
    }
}

pub(crate) fn not_found(kind: &Kind, name: &str) -> Refusal {
    refuse(404, "NotFound", format!("{kind} \"{name}\" not found"), Some(resource(kind, name)))
}

/// 404 for an address below an object of Kubernetes' own kinds that leads nowhere.
pub(crate) fn no_such_subresource() -> Refusal {
    let message = "the server could not find the requested resource";
    refuse(404, "NotFound", message.to_owned(), Some(details("", "", "")))
}

pub(crate) fn already_exists(kind: &Kind, name: &str) -> Refusal {
    refuse(409, "AlreadyExists", format!("{kind} \"{name}\" already exists"), Some(resource(kind, name)))
}

pub(crate) fn conflict(kind: &Kind, name: &str, why: impl Display) -> Refusal {
    let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
    refuse(409, "Conflict", message, Some(resource(kind, name)))
}

/// The conflict of whoever writes on the base of a version that is no longer the latest.
pub(crate) fn stale(kind: &Kind, name: &str) -> Refusal {
    conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")
}

/// A conflict from nowhere: a fault knows only the address, not the object.
pub(crate) fn injected_conflict() -> Refusal {
    let message = "Operation cannot be fulfilled: the object has been modified, by an injected fault";
    refuse(409, "Conflict", message.to_owned(), Some(details("", "", "")))
}

pub(crate) fn forbidden(kind: &Kind, name: &str, why: impl Display, causes: Vec<StatusCause>) -> Refusal {
    let message = format!("{kind} \"{name}\" is forbidden: {why}");
    refuse(403, "Forbidden", message, Some(StatusDetails { causes, ..resource(kind, name) }))
}

/// 422. The details name the kind, not the resource.
pub(crate) fn invalid(kind: &Kind, name: &str, errors: Vec<FieldError>) -> Refusal {
    invalid_as(&kind.api.group, &kind.api.kind, name, errors)
}

pub(crate) fn invalid_as(group: &str, kind: &str, name: &str, errors: Vec<FieldError>) -> Refusal {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let listed: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    let listed = if let [one] = listed.as_slice() { one.clone() } else { format!("[{}]", listed.join(", ")) };
    let causes = errors
        .into_iter()
        .map(|FieldError { reason, message, field }| StatusCause { reason: reason.to_owned(), message, field })
        .collect();
    let details = StatusDetails { causes, ..details(group, kind, name) };
    refuse(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {listed}"), Some(details))
}

/// 422 without a word about the object, as a JSON patch gets whose `test` fails.
pub(crate) fn unprocessable() -> Refusal {
    let message = "the server rejected our request due to an error in our request";
    refuse(422, "Invalid", message.to_owned(), Some(details("", "", "")))
}

pub(crate) fn bad_request(why: impl Display) -> Refusal {
    refuse(400, "BadRequest", why.to_string(), None)
}

/// 500 for what the API server didn't foresee: no reason is given.
pub(crate) fn internal(why: impl Display) -> Refusal {
    refuse(500, "", why.to_string(), None)
}

pub(crate) fn method_not_allowed(verb: &str) -> Refusal {
    let message = format!("the server does not allow this method on the requested resource: {verb}");
    refuse(405, "MethodNotAllowed", message, Some(details("", "", "")))
}

pub(crate) fn unsupported_media_type(accepted: &str) -> Refusal {
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    refuse(415, "UnsupportedMediaType", message, None)
}

pub(crate) fn too_large(limit: usize) -> Refusal {
    refuse(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"), None)
}

/// 410 for a watch or a list from a version that is forgotten.
pub(crate) fn expired(why: impl Display) -> Refusal {
    refuse(410, "Expired", why.to_string(), None)
}

/// 504 for a list at a version that doesn't exist yet.
pub(crate) fn version_too_large(wanted: u64, current: u64) -> Refusal {
    let cause = StatusCause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    };
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let details = StatusDetails { causes: vec![cause], retry_after_seconds: 1, ..details("", "", "") };
    refuse(504, "Timeout", message, Some(details))
}

pub(crate) fn too_many_requests(retry_after_seconds: u32) -> Refusal {
    let message = "the server has received too many requests and has asked us to try again later";
    let details = StatusDetails { retry_after_seconds, ..details("", "", "") };
    refuse(429, "TooManyRequests", message.to_owned(), Some(details))
}

pub(crate) fn unavailable(retry_after_seconds: u32) -> Refusal {
    let message = "the server is currently unable to handle the request";
    let details = StatusDetails { retry_after_seconds, ..details("", "", "") };
    refuse(503, "ServiceUnavailable", message.to_owned(), Some(details))
}

/// 501, which no API server answers: the simulation doesn't cover what was asked.
pub(crate) fn not_simulated(what: impl Display) -> Refusal {
    refuse(501, "NotImplemented", format!("kooper-sim does not simulate {what}"), None)
}

/// The cause that tells a create in a namespace that goes from other refusals.
pub(crate) fn namespace_terminating(namespace: &str) -> StatusCause {
    StatusCause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    }
}

/// The body of a Status.
pub(crate) fn body(status: &Status) -> Vec<u8> {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["kind"] = "Status".into();
    value["apiVersion"] = "v1".into();
    if value["metadata"].is_null() {
        value["metadata"] = serde_json::json!({});
    }
    value.to_string().into_bytes()
}

/// The answer to a deletion that removed an object.
pub(crate) fn deleted(kind: &Kind, name: &str, uid: &str) -> Status {
    Status::success().with_details(StatusDetails { uid: uid.to_owned(), ..resource(kind, name) })
}

fn refuse(code: u16, reason: &str, message: String, details: Option<StatusDetails>) -> Refusal {
    Box::new(Status {
        status: Some(StatusSummary::Failure),
        code,
        message,
        metadata: None,
        reason: reason.to_owned(),
        details,
    })
}

fn resource(kind: &Kind, name: &str) -> StatusDetails {
    details(&kind.api.group, &kind.api.plural, name)
}

fn details(group: &str, kind: &str, name: &str) -> StatusDetails {
    StatusDetails {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    }
}
