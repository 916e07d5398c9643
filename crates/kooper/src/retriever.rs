//! What to list and watch.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// Objects a [`Cache`](crate::Cache) can hold: every type whose kind is known when it is compiled.
///
/// Types of `k8s-openapi`, of `#[derive(CustomResource)]` and slim ones of `#[derive(Resource)]` all
/// qualify.
pub trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K> Object for K where K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// Knows how to list and watch one kind.
pub trait Retriever: Send + Sync + 'static {
    /// The kind: the "void object" of the kooper document, as a type.
    type Object: Object;

    /// Where the objects are: in one namespace, or in all of them.
    fn api(&self) -> Api<Self::Object>;

    /// Which of them, by labels and fields, and how to list them.
    ///
    /// Keep its default list semantic: a [`Cache`](crate::Cache) forgets what it knows of deletions
    /// when it has listed anew, which is right only for a list that is not older than the request.
    fn config(&self) -> watcher::Config;
}

/// The usual [`Retriever`]: all objects of a kind, or those of one namespace.
///
/// ```no_run
/// use k8s_openapi::api::core::v1::Pod;
/// use kooper::Resources;
/// use kube::runtime::watcher;
///
/// # fn with(client: kube::Client) {
/// let pods = Resources::<Pod>::namespaced(client, "shop")
///     .with_config(watcher::Config::default().labels("app=web"));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Resources<K> {
    api: Api<K>,
    config: watcher::Config,
}

impl<K: Object> Resources<K> {
    /// All objects of the kind, in every namespace where it has namespaces.
    pub fn all(client: Client) -> Self {
        Self { api: Api::all(client), config: watcher::Config::default() }
    }

    /// The objects in `namespace`.
    pub fn namespaced(client: Client, namespace: &str) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope>,
    {
        Self { api: Api::namespaced(client, namespace), config: watcher::Config::default() }
    }

    /// Narrows them by labels and fields, or lists them in another way.
    #[must_use]
    pub fn with_config(mut self, config: watcher::Config) -> Self {
        self.config = config;
        self
    }
}

impl<K: Object> Retriever for Resources<K> {
    type Object = K;

    fn api(&self) -> Api<K> {
        self.api.clone()
    }

    fn config(&self) -> watcher::Config {
        self.config.clone()
    }
}
