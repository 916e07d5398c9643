//! Answers as bytes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};
use kube::core::Status;
use serde_json::{Value, json};

use super::Answer;
use crate::kind::{Kind, Rules};
use crate::object::Object;
use crate::refusal::{Refusal, body};
use crate::store::{Event, EventType, ListOptions, Opened, Page, Watch};

/// An answer, ready to be sent.
#[derive(Debug)]
pub(crate) enum Reply {
    /// All at once.
    Full { code: u16, content_type: &'static str, body: Bytes },
    /// A stream of events.
    Watch(Box<Opened>, ListOptions),
}

/// In which form a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Whole,
    /// Their metadata only.
    Metadata,
}

const JSON: &str = "application/json";

impl Form {
    /// Reads an `Accept` header. None for forms that aren't simulated, such as tables.
    pub(crate) fn parse(headers: &HeaderMap) -> Option<Self> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or(JSON);
        let wanted = accept.split(',').map(str::trim).find(|wanted| wanted.starts_with(JSON) || *wanted == "*/*")?;
        match wanted.split(';').find_map(|part| part.trim().strip_prefix("as=")) {
            None => Some(Self::Whole),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Self::Metadata),
            Some(_) => None,
        }
    }

    fn json(self, object: &Object) -> Bytes {
        match self {
            Self::Whole => object.json(),
            Self::Metadata => metadata_only(object).to_string().into(),
        }
    }
}

impl Reply {
    /// Writes an answer.
    pub(crate) fn new(answer: Result<Answer, Refusal>, form: Form) -> Self {
        match answer {
            Ok(Answer::Object(code, object)) => Self::json(code, form.json(&object)),
            Ok(Answer::List(kind, page)) => Self::json(200, list(&kind, &page, form)),
            Ok(Answer::Status(code, status)) => Self::json(code, body(&status).into()),
            Ok(Answer::Watch(opened, options)) => Self::Watch(opened, options),
            Ok(Answer::Expired(refusal)) => Self::json(200, error_frame(&refusal)),
            Ok(Answer::Plain(value)) => Self::json(200, value.to_string().into()),
            Ok(Answer::NoSuchPath) => {
                Self::Full { code: 404, content_type: "text/plain", body: Bytes::from_static(b"404 page not found\n") }
            }
            Err(refusal) => Self::json(refusal.code, body(&refusal).into()),
        }
    }

    fn json(code: u16, body: Bytes) -> Self {
        Self::Full { code, content_type: JSON, body }
    }
}

fn list(kind: &Arc<Kind>, page: &Page, form: Form) -> Bytes {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    match &page.continue_token {
        Some(token) => metadata["continue"] = token.as_str().into(),
        // Only the lists of Kubernetes' own kinds leave it out.
        None if kind.rules == Rules::Custom => metadata["continue"] = "".into(),
        None => {}
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    let (list_kind, api_version) = match form {
        Form::Whole => (format!("{}List", kind.api.kind), kind.api.api_version.as_str()),
        Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1"),
    };
    let mut text =
        format!(r#"{{"kind":"{list_kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#).into_bytes();
    for (index, object) in page.items.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        match (form, kind.rules) {
            (Form::Metadata, _) | (Form::Whole, Rules::Custom) => text.extend_from_slice(&form.json(object)),
            // The API server leaves the type out of the items of its own kinds' lists.
            (Form::Whole, _) => text.extend_from_slice(&object.json_without_type()),
        }
    }
    text.extend_from_slice(b"]}");
    text.into()
}

fn metadata_only(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.value()["metadata"],
    })
}

/// One event as a line of a watch.
pub(crate) fn event_frame(event: &Event, form: Form) -> Bytes {
    let event_type = match event.event_type {
        EventType::Added => "ADDED",
        EventType::Modified => "MODIFIED",
        EventType::Deleted => "DELETED",
    };
    frame(event_type, &form.json(&event.object))
}

/// A bookmark as a line of a watch.
pub(crate) fn bookmark_frame(watch: &Watch, ends_initial: bool, form: Form) -> Bytes {
    let mut object = watch.bookmark(ends_initial);
    if form == Form::Metadata {
        object["kind"] = "PartialObjectMetadata".into();
        object["apiVersion"] = "meta.k8s.io/v1".into();
    }
    frame("BOOKMARK", object.to_string().as_bytes())
}

/// An error as the last line of a watch.
pub(crate) fn error_frame(status: &Status) -> Bytes {
    frame("ERROR", &body(status))
}

fn frame(event_type: &str, object: &[u8]) -> Bytes {
    let mut text = format!(r#"{{"type":"{event_type}","object":"#).into_bytes();
    text.extend_from_slice(object);
    text.extend_from_slice(b"}\n");
    text.into()
}
