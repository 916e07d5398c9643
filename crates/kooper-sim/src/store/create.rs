//! Creating objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Call, Key, Store, definition, meta, pod};
use crate::admission::AdmissionRequest;
use crate::kind::{Kind, Rules};
use crate::object::Object;
use crate::refusal::{Refusal, already_exists, forbidden, namespace_terminating, not_found};

impl Store {
    /// Creates an object; the namespace is the address's, empty where the kind has none.
    ///
    /// # Errors
    /// The Status that the API server answers with.
    pub(crate) fn create(&mut self, call: &Call, namespace: &str, mut object: Value) -> Result<Arc<Object>, Refusal> {
        let kind = self.collection(&call.resource)?.kind.clone();
        meta::check_identity(&kind, namespace, None, &mut object)?;
        self.check_namespace(&kind, namespace, &object)?;
        self.ask_admission(call, &kind, None, &mut object)?;
        meta::prepare_create(&kind, &mut object, self.seed, self.revision, call.now)?;
        match kind.rules {
            Rules::Pod => pod::prepare_create(&kind, &mut object, call.now, &self.priorities())?,
            Rules::Namespace => {
                object["spec"]["finalizers"] = json!(["kubernetes"]);
                object["status"] = json!({"phase": "Active"});
            }
            Rules::Definition => definition::prepare(&kind, &mut object, call.now)?,
            Rules::Custom if kind.status => meta::remove(&mut object, &["status"]),
            Rules::Custom | Rules::BuiltIn | Rules::Lease => {}
        }
        let key = Key::of(&object);
        if self.get(&call.resource, &key).is_ok() {
            return Err(already_exists(&kind, &key.name));
        }
        let created = self.commit(call, None, Some(object))?;
        self.serve_defined(call, &kind, created.value())?;
        Ok(created)
    }

    /// Asks the rules of the simulation's user.
    pub(super) fn ask_admission(
        &self,
        call: &Call,
        kind: &Kind,
        old: Option<&Value>,
        object: &mut Value,
    ) -> Result<(), Refusal> {
        let request = AdmissionRequest {
            verb: call.verb,
            kind,
            subresource: call.subresource.as_deref(),
            old,
            dry_run: call.dry_run,
            actor: &call.actor,
        };
        self.admission.iter().try_for_each(|rule| rule.ask(&request, object))
    }

    fn check_namespace(&self, kind: &Kind, namespace: &str, object: &Value) -> Result<(), Refusal> {
        if !kind.is_namespaced() {
            return Ok(());
        }
        let found = self.namespace(namespace);
        if found.is_some_and(|namespace| !namespace.is_ending()) {
            return Ok(());
        }
        if found.is_some() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            return Err(forbidden(kind, name, why, vec![namespace_terminating(namespace)]));
        }
        let resource = (String::new(), "namespaces".to_owned());
        Err(not_found(&self.collection(&resource)?.kind, namespace))
    }

    /// The priority classes, from which new pods get their priority.
    fn priorities(&self) -> Vec<Arc<Object>> {
        let resource = ("scheduling.k8s.io".to_owned(), "priorityclasses".to_owned());
        self.collection(&resource).map_or_else(|_| Vec::new(), |classes| classes.objects.values().cloned().collect())
    }
}
