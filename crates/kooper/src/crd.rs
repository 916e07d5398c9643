//! Custom resource definitions that must be there before controllers run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep};

use crate::outcome::BoxError;
use crate::report::chain;
use crate::retriever::{Object, Resources, Retriever};

/// A kind that must be registered before it can be used.
pub trait Crd: Send + Sync + 'static {
    /// The name of the definition, `PLURAL.GROUP`.
    fn name(&self) -> &str;

    /// Makes sure that the kind can be used: when this returns, objects of it can be created.
    fn initialize(&self) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// Time that a definition is given to be established.
const DEADLINE: Duration = Duration::from_mins(1);
/// Time between two looks at it.
const POLL: Duration = Duration::from_millis(200);

/// A [`Crd`] that applies its definition (by server-side apply, with force: nobody else is to own it),
/// then waits until it is established and verifies it.
///
/// Needs the rights to `patch` and `get` it.
#[derive(Clone)]
pub struct ApplyCrd {
    verify: VerifyCrd,
    definition: CustomResourceDefinition,
    field_manager: String,
}

/// A [`Crd`] that only verifies: the definition was applied by somebody else. Waits for it, too.
///
/// Needs the right to `get` it.
#[derive(Clone)]
pub struct VerifyCrd {
    api: Api<CustomResourceDefinition>,
    name: String,
    versions: Vec<String>,
    deadline: Duration,
}

impl ApplyCrd {
    /// Applies `definition` as `field_manager`.
    pub fn new(client: Client, definition: CustomResourceDefinition, field_manager: impl Into<String>) -> Self {
        let served = definition.spec.versions.iter().filter(|version| version.served);
        let versions: Vec<String> = served.map(|version| version.name.clone()).collect();
        Self {
            verify: VerifyCrd::new(client, definition.name_any(), versions),
            definition,
            field_manager: field_manager.into(),
        }
    }

    /// How long to try (60 s).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.verify.deadline = deadline;
        self
    }

    async fn apply(&self) -> Result<(), String> {
        let params = PatchParams::apply(&self.field_manager).force();
        let patch = Patch::Apply(&self.definition);
        let applied = self.verify.api.patch(&self.verify.name, &params, &patch).await;
        applied.map(drop).map_err(|error| chain(&error).to_string())
    }
}

impl VerifyCrd {
    /// Verifies that the definition `name` (`PLURAL.GROUP`) serves `versions`.
    pub fn new(client: Client, name: impl Into<String>, versions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            api: Api::all(client),
            name: name.into(),
            versions: versions.into_iter().map(Into::into).collect(),
            deadline: DEADLINE,
        }
    }

    /// How long to wait for it (60 s).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What is wrong with the definition at the moment.
    async fn look(&self) -> Result<(), String> {
        match self.api.get_opt(&self.name).await {
            Ok(Some(definition)) => verify(&definition, &self.versions),
            Ok(None) => Err("it is not installed".into()),
            Err(error) => Err(chain(&error).to_string()),
        }
    }
}

impl Crd for VerifyCrd {
    fn name(&self) -> &str {
        &self.name
    }

    fn initialize(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        async move {
            let limit = Limit::new(&self.name, self.deadline);
            limit.until(|| self.look()).await
        }
        .boxed()
    }
}

impl Crd for ApplyCrd {
    fn name(&self) -> &str {
        self.verify.name()
    }

    fn initialize(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        async move {
            let limit = Limit::new(self.name(), self.verify.deadline);
            limit.until(|| self.apply()).await?;
            limit.until(|| self.verify.look()).await
        }
        .boxed()
    }
}

/// The time that one definition is given.
struct Limit<'a> {
    name: &'a str,
    time: Duration,
    end: Instant,
}

impl<'a> Limit<'a> {
    fn new(name: &'a str, time: Duration) -> Self {
        Self { name, time, end: Instant::now() + time }
    }

    /// Tries `step` until it works, or the time is over.
    async fn until<F>(&self, step: impl Fn() -> F + Send) -> Result<(), BoxError>
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        while let Err(problem) = step().await {
            if Instant::now() + POLL > self.end {
                let Self { name, time, .. } = self;
                return Err(format!("the definition `{name}` can't be used after {time:?}: {problem}").into());
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// Whether a definition is established under its names and serves `versions`.
fn verify(definition: &CustomResourceDefinition, versions: &[String]) -> Result<(), String> {
    if definition.metadata.deletion_timestamp.is_some() {
        return Err("it is being deleted".into());
    }
    let served = |wanted: &str| definition.spec.versions.iter().any(|v| v.served && v.name == wanted);
    if let Some(missing) = versions.iter().find(|version| !served(version)) {
        return Err(format!("it does not serve version `{missing}`: another release of it is installed"));
    }
    let status = definition.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    for wanted in ["NamesAccepted", "Established"] {
        match conditions.iter().find(|condition| condition.type_ == wanted) {
            Some(condition) if condition.status == "True" => {}
            Some(condition) => {
                let message = condition.message.as_deref().unwrap_or("no reason given");
                return Err(format!("`{wanted}` is `{}`: {message}", condition.status));
            }
            None => return Err(format!("`{wanted}` is not known yet")),
        }
    }
    Ok(())
}

/// A custom kind as the kooper document has it: a [`Retriever`] that knows how to initialize.
pub struct CustomResources<K> {
    resources: Resources<K>,
    crd: Arc<dyn Crd>,
}

impl<K> CustomResources<K> {
    /// Retrieves `resources` once `crd` is initialized.
    pub fn new(resources: Resources<K>, crd: impl Crd) -> Self {
        Self { resources, crd: Arc::new(crd) }
    }
}

impl<K: Object> Retriever for CustomResources<K> {
    type Object = K;

    fn api(&self) -> Api<K> {
        self.resources.api()
    }

    fn config(&self) -> watcher::Config {
        self.resources.config()
    }
}

impl<K: Send + Sync + 'static> Crd for CustomResources<K> {
    fn name(&self) -> &str {
        self.crd.name()
    }

    fn initialize(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.crd.initialize()
    }
}

impl<K> fmt::Debug for CustomResources<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomResources").field("crd", &self.crd.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_definition_that_is_being_deleted_is_of_no_use_however_good_it_looks() {
        let mut definition: CustomResourceDefinition = from_value(json!({
            "metadata": {"name": "shelves.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": {"kind": "Shelf", "plural": "shelves"},
                "versions": [{"name": "v1", "served": true, "storage": true}],
            },
            "status": {"conditions": [
                {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"},
            ]},
        }))
        .unwrap();
        let versions = ["v1".to_owned()];
        assert_eq!(verify(&definition, &versions), Ok(()));
        definition.metadata.deletion_timestamp = Some(from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(verify(&definition, &versions), Err("it is being deleted".into()));
    }
}
