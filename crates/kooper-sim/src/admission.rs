//! Rules of one's own before a write, as a webhook or an admission policy has them.

use std::fmt;
use std::sync::Arc;

use kube::core::response::{Status, StatusCause};
use serde_json::Value;

use crate::kind::Kind;
use crate::refusal::{FieldError, forbidden, invalid};
use crate::request::Verb;

/// A create or update that asks to be let in.
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    /// [`Verb::Create`], [`Verb::Update`] or [`Verb::Patch`].
    pub verb: Verb,
    /// The kind of the object.
    pub kind: &'a Kind,
    /// The subresource written to, such as `status`.
    pub subresource: Option<&'a str>,
    /// The object as it is; None for a create.
    pub old: Option<&'a Value>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Whose client asks.
    pub actor: &'a str,
}

/// Why a request isn't let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// 403, as a webhook or a policy answers.
    Forbidden(String),
    /// 422, as the schema of a custom resource answers.
    Invalid(Vec<FieldError>),
}

type Rule = dyn Fn(&AdmissionRequest<'_>, &mut Value) -> Result<(), Denial> + Send + Sync;

/// One rule. It may change the object, and must decide by its arguments alone.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Rule>);

impl Admission {
    pub(crate) fn new<F>(rule: F) -> Self
    where
        F: Fn(&AdmissionRequest<'_>, &mut Value) -> Result<(), Denial> + Send + Sync + 'static,
    {
        Self(Arc::new(rule))
    }

    pub(crate) fn ask(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), Box<Status>> {
        (self.0)(request, object).map_err(|denial| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            match denial {
                Denial::Forbidden(why) => forbidden(request.kind, name, why, Vec::<StatusCause>::new()),
                Denial::Invalid(errors) => invalid(request.kind, name, errors),
            }
        })
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission")
    }
}
