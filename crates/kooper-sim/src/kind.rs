//! Which kinds of objects a cluster serves, and which rules hold for each.

use kube::Resource;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::Scope;

/// A kind of object that the cluster serves.
///
/// The kinds of [`Kind::builtin`] are there from the start; others are added by [`Sim::register`](crate::Sim::register).
///
/// ```
/// use kooper_sim::Kind;
/// use kube::core::{ApiResource, GroupVersionKind};
///
/// let api = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Shop"), "shops");
/// let shops = Kind::custom(api).with_status().with_selectable_field("spec.town");
/// assert_eq!(shops.to_string(), "shops.example.com");
/// ```
#[derive(Clone, Debug)]
pub struct Kind {
    /// Group, version, kind and plural.
    pub api: ApiResource,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// Whether there is a `status` subresource.
    pub status: bool,
    /// The fields that a field selector may name beside `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<String>,
    /// The API server's rules for its objects.
    pub rules: Rules,
}

/// How the API server treats the objects of a kind, beyond what holds for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// A custom resource: a generation that counts changes of the spec, no unconditional PUT.
    Custom,
    /// A kind of Kubernetes' own with no rules of its own here.
    BuiltIn,
    /// Like [`Rules::BuiltIn`], but a PUT must name the version it replaces.
    Lease,
    /// Pods: defaults, gates, an immutable spec, graceful deletion, the subresources `binding` and `eviction`.
    Pod,
    /// Namespaces: they hold others, and go only when they are empty.
    Namespace,
    /// Definitions of custom resources: the kind that one defines is served from then on.
    Definition,
}

impl Kind {
    /// A namespaced custom kind without status.
    pub fn custom(api: ApiResource) -> Self {
        Self { api, scope: Scope::Namespaced, status: false, selectable_fields: Vec::new(), rules: Rules::Custom }
    }

    /// A namespaced custom kind, from the type that describes it.
    pub fn of<K: Resource<DynamicType = ()>>() -> Self {
        Self::custom(ApiResource::erase::<K>(&()))
    }

    /// The same kind, outside of namespaces.
    #[must_use]
    pub fn cluster_scoped(self) -> Self {
        Self { scope: Scope::Cluster, ..self }
    }

    /// The same kind with the `status` subresource.
    #[must_use]
    pub fn with_status(self) -> Self {
        Self { status: true, ..self }
    }

    /// The same kind with one more field that field selectors may name, as in `spec.nodeName`.
    #[must_use]
    pub fn with_selectable_field(mut self, path: &str) -> Self {
        self.selectable_fields.push(path.to_owned());
        self
    }

    /// Whether its objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The kinds of Kubernetes' own that every cluster here serves. Only those whose effects are simulated, or that
    /// have none: a kind that is served but does nothing would hide what a real cluster does.
    pub fn builtin() -> Vec<Self> {
        vec![
            Self::core("Pod", "pods").with_rules(Rules::Pod).with_status().with_selectable_fields(&[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "status.nominatedNodeName",
                "status.phase",
            ]),
            Self::core("Node", "nodes").cluster_scoped().with_status().with_selectable_field("spec.unschedulable"),
            Self::core("Namespace", "namespaces")
                .with_rules(Rules::Namespace)
                .cluster_scoped()
                .with_status()
                .with_selectable_field("status.phase"),
            Self::core("ConfigMap", "configmaps"),
            // Storage has no effect on pods that don't use it, and those that do are beyond the simulation.
            Self::core("PersistentVolumeClaim", "persistentvolumeclaims").with_status(),
            Self::core("PersistentVolume", "persistentvolumes").cluster_scoped().with_status(),
            Self::native("storage.k8s.io", "StorageClass", "storageclasses").cluster_scoped(),
            Self::core("Secret", "secrets").with_selectable_field("type"),
            Self::core("ServiceAccount", "serviceaccounts"),
            Self::native("batch", "Job", "jobs").with_status(),
            Self::native("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions")
                .with_rules(Rules::Definition)
                .cluster_scoped()
                .with_status(),
            Self::native("coordination.k8s.io", "Lease", "leases").with_rules(Rules::Lease),
            Self::native("events.k8s.io", "Event", "events").with_selectable_fields(&[
                "reason",
                "regarding.kind",
                "regarding.name",
                "regarding.namespace",
                "regarding.uid",
                "reportingController",
                "type",
            ]),
            Self::native("scheduling.k8s.io", "PriorityClass", "priorityclasses").cluster_scoped(),
        ]
    }

    fn core(kind: &str, plural: &str) -> Self {
        Self::native("", kind, plural)
    }

    fn native(group: &str, kind: &str, plural: &str) -> Self {
        let api = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        Self { rules: Rules::BuiltIn, ..Self::custom(api) }
    }

    fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    fn with_selectable_fields(mut self, paths: &[&str]) -> Self {
        self.selectable_fields.extend(paths.iter().map(ToString::to_string));
        self
    }
}

/// Written as the API's own messages write it: `pods`, `shops.example.com`.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.api.plural)?;
        if self.api.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.api.group) }
    }
}
