//! The API server: what each request does to the store, and what it is answered.

mod discovery;
mod query;
mod render;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, header};
use jiff::Timestamp;
use kube::core::Status;
use serde_json::Value;

pub(crate) use render::{Form, Reply, bookmark_frame, error_frame, event_frame};

use crate::kind::{Kind, Rules};
use crate::object::Object;
use crate::refusal::{self, Refusal, bad_request, method_not_allowed, not_simulated, too_large};
use crate::request::{RequestInfo, Verb};
use crate::store::{Call, Change, DeleteOptions, Deleted, Key, ListOptions, Opened, Page, PatchType, Resource, Store};

/// The most bytes that a body may have.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// A request as it arrives.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) actor: Arc<str>,
    pub(crate) now: Timestamp,
    pub(crate) parts: &'a Parts,
    pub(crate) body: &'a [u8],
}

/// What a request is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One object.
    Object(u16, Arc<Object>),
    /// A page of a kind's objects.
    List(Arc<Kind>, Page),
    /// A Status that isn't a refusal.
    Status(u16, Status),
    /// A stream of events.
    Watch(Box<Opened>, ListOptions),
    /// A stream of one event, which tells that the version asked for is forgotten.
    Expired(Refusal),
    /// JSON of no kind that is stored.
    Plain(Value),
    /// There is nothing at this address.
    NoSuchPath,
}

/// Answers a request.
///
/// # Errors
/// The Status of a refusal.
pub(crate) fn answer(store: &mut Store, request: &Arrived<'_>) -> Result<Answer, Refusal> {
    let Parts { method, uri, headers, .. } = request.parts;
    if request.body.len() > MAX_BODY {
        return Err(too_large(MAX_BODY));
    }
    let Some(info) = RequestInfo::parse(method, uri) else {
        return Ok(discovery::answer(store, uri.path()).map_or(Answer::NoSuchPath, Answer::Plain));
    };
    let resource = (info.group.clone(), info.resource.clone());
    let kind = store.kind(&resource).filter(|kind| kind.api.version == info.version).cloned();
    let Some(kind) = kind else { return Ok(Answer::NoSuchPath) };
    if !is_placed(&kind, &info) {
        return Ok(Answer::NoSuchPath);
    }
    check_subresource(&kind, &info)?;
    if info.verb.is_write() {
        write(store, request, &kind, info, resource, headers)
    } else {
        read(store, request, &kind, &info, &resource)
    }
}

/// Whether the address has a namespace where the kind needs one, and none elsewhere.
fn is_placed(kind: &Kind, info: &RequestInfo) -> bool {
    match (kind.is_namespaced(), info.namespace.is_some()) {
        // Across all namespaces one can only read.
        (true, false) => info.name.is_none() && matches!(info.verb, Verb::List | Verb::Watch),
        (namespaced, given) => namespaced == given,
    }
}

/// Refuses a subresource that the kind hasn't. Of those unknown here, some exist on a real API server: they are not
/// for us to deny, and are refused as not simulated.
fn check_subresource(kind: &Kind, info: &RequestInfo) -> Result<(), Refusal> {
    let exists = match info.subresource.as_deref() {
        Some("status") => kind.status,
        Some("binding" | "eviction") => kind.rules == Rules::Pod,
        None | Some(_) => true,
    };
    match (exists, kind.rules) {
        (true, _) => Ok(()),
        (false, Rules::Custom) => Err(refusal::not_found(kind, info.name.as_deref().unwrap_or_default())),
        (false, _) => Err(refusal::no_such_subresource()),
    }
}

fn read(
    store: &Store,
    request: &Arrived<'_>,
    kind: &Arc<Kind>,
    info: &RequestInfo,
    resource: &Resource,
) -> Result<Answer, Refusal> {
    let uri = &request.parts.uri;
    if let Some(subresource) = info.subresource.as_deref().filter(|subresource| *subresource != "status") {
        return Err(not_simulated(format!("reading the subresource `{subresource}` of {kind}")));
    }
    let options = query::list_options(uri)?;
    match info.verb {
        Verb::Watch => match store.watch(resource, info.namespace.as_deref(), &options) {
            Ok(opened) => Ok(Answer::Watch(Box::new(opened), options)),
            Err(refusal) if refusal.code == 410 => Ok(Answer::Expired(refusal)),
            Err(refusal) => Err(refusal),
        },
        Verb::List => {
            let page = store.list(resource, info.namespace.as_deref(), &options)?;
            Ok(Answer::List(kind.clone(), page))
        }
        _ => {
            store.check_not_future(&options)?;
            store.get(resource, &key(info)).cloned().map(|object| Answer::Object(200, object))
        }
    }
}

fn write(
    store: &mut Store,
    request: &Arrived<'_>,
    kind: &Kind,
    info: RequestInfo,
    resource: Resource,
    headers: &HeaderMap,
) -> Result<Answer, Refusal> {
    let dry_run = query::is_dry_run(&request.parts.uri)?;
    let key = key(&info);
    let call = Call {
        actor: request.actor.clone(),
        now: request.now,
        verb: info.verb,
        resource,
        subresource: info.subresource,
        dry_run,
    };
    match (info.verb, call.subresource.as_deref()) {
        (Verb::Create, None) => {
            let object = store.create(&call, &key.namespace, decode(request.body)?)?;
            Ok(Answer::Object(201, object))
        }
        (Verb::Create, Some("binding")) => {
            store.bind(&call, &key, &decode(request.body)?)?;
            Ok(Answer::Status(201, Status::success().with_code(201)))
        }
        (Verb::Create, Some("eviction")) => {
            let mut body = decode(request.body)?;
            let options = serde_json::from_value(body["deleteOptions"].take()).ok().unwrap_or_default();
            store.delete(&call, &key, &options)?;
            Ok(Answer::Status(201, Status::success().with_code(201)))
        }
        (Verb::Update, _) => {
            let change = Change::Replace(decode(request.body)?);
            store.update(&call, &key, change).map(|object| Answer::Object(200, object))
        }
        (Verb::Patch, _) => {
            let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let patch_type = PatchType::parse(content_type.unwrap_or_default())?;
            let change = Change::Patch(patch_type, request.body.to_vec());
            store.update(&call, &key, change).map(|object| Answer::Object(200, object))
        }
        (Verb::Delete, None) => delete(store, call, &key, kind, request.body),
        (Verb::DeleteCollection, None) => delete_collection(store, call, kind, info.namespace.as_deref(), request),
        (_, subresource) => Err(match subresource {
            Some(subresource) => not_simulated(format!("the subresource `{subresource}` of {kind}")),
            None => method_not_allowed(request.parts.method.as_str()),
        }),
    }
}

fn delete(store: &mut Store, mut call: Call, key: &Key, kind: &Kind, body: &[u8]) -> Result<Answer, Refusal> {
    let options = delete_options(body)?;
    call.dry_run |= !options.dry_run.is_empty();
    Ok(match store.delete(&call, key, &options)? {
        Deleted::Ending(object) => Answer::Object(200, object),
        // Pods are the kind that shows what was deleted.
        Deleted::Gone(object) if kind.rules == Rules::Pod => Answer::Object(200, object),
        Deleted::Gone(object) => Answer::Status(200, refusal::deleted(kind, &key.name, object.uid())),
    })
}

fn delete_collection(
    store: &mut Store,
    mut call: Call,
    kind: &Kind,
    namespace: Option<&str>,
    request: &Arrived<'_>,
) -> Result<Answer, Refusal> {
    let options = delete_options(request.body)?;
    call.dry_run |= !options.dry_run.is_empty();
    let mut page = store.list(&call.resource, namespace, &query::list_options(&request.parts.uri)?)?;
    for object in &mut page.items {
        *object = match store.delete(&call, &Key::of(object.value()), &options)? {
            Deleted::Ending(object) | Deleted::Gone(object) => object,
        };
    }
    Ok(Answer::List(Arc::new(kind.clone()), page))
}

fn key(info: &RequestInfo) -> Key {
    Key { namespace: info.namespace.clone().unwrap_or_default(), name: info.name.clone().unwrap_or_default() }
}

fn decode(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| bad_request(format!("the body is not JSON: {error}")))
}

fn delete_options(body: &[u8]) -> Result<DeleteOptions, Refusal> {
    if body.is_empty() {
        return Ok(DeleteOptions::default());
    }
    serde_json::from_slice(body).map_err(|error| bad_request(format!("the body is no DeleteOptions: {error}")))
}

/// Whether a request is one of those that a simulated cluster counts as a failure of the simulation.
pub(crate) fn is_not_simulated(refusal: &Status) -> bool {
    refusal.code == 501
}

/// Names a request in messages.
pub(crate) fn describe(method: &Method, uri: &http::Uri) -> String {
    format!("{method} {uri}")
}
