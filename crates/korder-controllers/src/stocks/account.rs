//! Acting as the service account that a unit is made as, never with the controller's own rights.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use korder_api::Stock;
use korder_api::names::CONTROLLER_FIELD_MANAGER;
use korder_api::stock::StockObject;
use korder_core::reasons;
use korder_core::stock::{self, sku};
use kube::api::{DeleteParams, DynamicObject, GetParams, PostParams, Preconditions};
use kube::core::{ApiResource, GroupVersion, Request, Status};
use kube::discovery::Scope;
use kube::{Client, Resource as _};
use serde_json::{Map, Value};

use crate::write;

/// The header by which a request is made as somebody else.
const IMPERSONATE: &str = "impersonate-user";

/// Where kinds are served. Asked once a process and kind; what is not served yet is asked for again.
#[derive(Debug, Default)]
pub(super) struct Kinds(Mutex<Known>);

/// By version and kind.
type Known = BTreeMap<(String, String), (ApiResource, Scope)>;

impl Kinds {
    /// How many are remembered; users name them, so that there must be an end.
    const KNOWN: usize = 500;

    async fn find(&self, client: &Client, object: &StockObject) -> Result<(ApiResource, Scope), Trouble> {
        let key = (object.api_version.clone(), object.kind.clone());
        if let Some(known) = self.known().get(&key) {
            return Ok(known.clone());
        }
        let version: GroupVersion = object.api_version.parse().map_err(|_| Trouble::NotServed)?;
        let found = match kube::discovery::pinned_kind(client, &version.with_kind(&object.kind)).await {
            Ok((resource, capabilities)) => (resource, capabilities.scope),
            Err(kube::Error::Discovery(_)) => return Err(Trouble::NotServed),
            Err(error) if write::is_not_found(&error) => return Err(Trouble::NotServed),
            Err(error) => return Err(Trouble::Passing(error)),
        };
        let mut known = self.known();
        if known.len() >= Self::KNOWN {
            known.clear();
        }
        known.insert(key, found.clone());
        Ok(found)
    }

    fn forget(&self, object: &StockObject) {
        self.known().remove(&(object.api_version.clone(), object.kind.clone()));
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Trying the same again is no use.
    Lasting(stock::Failure),
    /// The kind is not served, or not in this version; this tells nothing of the object.
    NotServed,
    /// An object of the name is there.
    Exists,
    /// It may succeed when it is tried again.
    Passing(kube::Error),
}

impl Trouble {
    /// What it means for a unit; what may pass by itself stays an error.
    pub(super) fn lasting(self, object: &StockObject) -> Result<stock::Failure, kube::Error> {
        match self {
            Self::Lasting(failure) => Ok(failure),
            Self::NotServed => {
                let name = stock::manifests::in_words(object);
                let what = format!("{name}: the cluster serves no kind `{}` of `{}`", object.kind, object.api_version);
                Ok(stock::Failure::new(reasons::REFUSED, what))
            }
            Self::Exists => Ok(stock::manifests::exists(object)),
            Self::Passing(error) => Err(error),
        }
    }
}

fn invalid(object: &StockObject, why: &str) -> Trouble {
    let message = format!("{}: {why}", stock::manifests::in_words(object));
    Trouble::Lasting(stock::Failure::new(reasons::INVALID_ITEM, message))
}

/// A service account, acted as.
pub(super) struct Account<'a> {
    client: &'a Client,
    kinds: &'a Kinds,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Account<'a> {
    /// The account that a unit is made as.
    pub(super) fn of(client: &'a Client, kinds: &'a Kinds, stock: &'a Stock) -> Self {
        let namespace = stock.metadata.namespace.as_deref().unwrap_or_default();
        Self { client, kinds, namespace, name: sku::account(&stock.spec.item) }
    }

    /// Reads an object.
    pub(super) async fn get(&self, object: &StockObject) -> Result<Option<Value>, Trouble> {
        let request = self.resource(object).await?.get(&object.name, &GetParams::default());
        match self.send(object, request).await {
            Err(Trouble::Passing(error)) if write::is_not_found(&error) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Makes an object.
    pub(super) async fn create(&self, object: &StockObject, body: &Map<String, Value>) -> Result<Value, Trouble> {
        let params = PostParams { field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let bytes = serde_json::to_vec(body).map_err(|error| Trouble::Passing(kube::Error::SerdeError(error)))?;
        let request = self.resource(object).await?.create(&params, bytes);
        self.send(object, request).await
    }

    /// Removes the object of this uid; it may be there for a while yet, until all that it owns is gone.
    pub(super) async fn delete(&self, object: &StockObject, uid: &str) -> Result<(), Trouble> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::foreground() };
        let request = self.resource(object).await?.delete(&object.name, &params);
        match self.send(object, request).await {
            // Another one has its name by now, or nothing has.
            Err(Trouble::Passing(error)) if write::is_not_found(&error) || kooper::patch::is_stale(&error) => Ok(()),
            removed => removed.map(drop),
        }
    }

    /// Requests about an object, in the unit's namespace.
    async fn resource(&self, object: &StockObject) -> Result<Request, Trouble> {
        let (resource, scope) = self.kinds.find(self.client, object).await?;
        if scope == Scope::Cluster {
            return Err(invalid(object, "it would be outside of namespaces; a unit's objects are in its own"));
        }
        Ok(Request::new(DynamicObject::url_path(&resource, Some(self.namespace))))
    }

    async fn send(
        &self,
        object: &StockObject,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, Trouble> {
        let mut request = request.map_err(|error| Trouble::Passing(kube::Error::BuildRequest(error)))?;
        let user = format!("system:serviceaccount:{}:{}", self.namespace, self.name);
        let user =
            user.parse().map_err(|_| invalid(object, &format!("there can be no service account `{}`", self.name)))?;
        request.headers_mut().insert(IMPERSONATE, user);
        let answer = self.client.request(request).await;
        answer.map_err(|error| match error {
            kube::Error::Api(status) if status.reason == "AlreadyExists" => Trouble::Exists,
            kube::Error::Api(status) if write::is_refused(&status) || status.code == 413 => {
                Trouble::Lasting(self.refused(object, &status))
            }
            kube::Error::Api(status) if status.code == 404 && !names(&status, object) => {
                self.kinds.forget(object);
                Trouble::NotServed
            }
            error => Trouble::Passing(error),
        })
    }

    fn refused(&self, object: &StockObject, status: &Status) -> stock::Failure {
        // "cannot impersonate resource", and from 1.36 on "cannot impersonate-on:serviceaccount:create resource".
        if status.message.contains("cannot impersonate") {
            return grant_missing(self.namespace, self.name, "may not act as the account");
        }
        let message = format!("{}: {}", stock::manifests::in_words(object), status.message);
        stock::Failure::new(reasons::REFUSED, message)
    }
}

/// Whether an answer says of this very object that it is not there. Where its kind or version is not served, the answer
/// is 404 too, and names none.
fn names(status: &Status, object: &StockObject) -> bool {
    status.reason == "NotFound" && status.details.as_ref().is_some_and(|details| details.name == object.name)
}

/// What makes a unit fail for which korder has not the rights that it is given by namespace.
pub(super) fn grant_missing(namespace: &str, account: &str, what: &str) -> stock::Failure {
    let message = format!(
        "korder {what} `{account}` of namespace `{namespace}`: let an administrator run \
         `korder install --namespace-grant {namespace}/{account}`"
    );
    stock::Failure::new(reasons::GRANT_MISSING, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_served_any_more_is_not_gone() {
        let object = json!({"apiVersion": "example.org/v1", "kind": "Bucket", "name": "inv-1-bucket"});
        let object: StockObject = serde_json::from_value(object).unwrap();
        let is_gone = |answer: Value| names(&serde_json::from_value(answer).unwrap(), &object);
        let details = json!({"name": "inv-1-bucket", "group": "example.org", "kind": "buckets"});
        assert!(is_gone(json!({"code": 404, "reason": "NotFound", "details": details})));
        // Of a kind that is not served, then of a version, as kube tells of an answer that is no Status.
        assert!(!is_gone(json!({"code": 404, "reason": "NotFound", "details": {}})));
        assert!(!is_gone(
            json!({"code": 404, "reason": "Failed to parse error data", "message": "404 page not found"})
        ));
        let other = json!({"name": "shop", "kind": "namespaces"});
        assert!(!is_gone(json!({"code": 404, "reason": "NotFound", "details": other})));
    }
}
