//! What a request asks for, read from its method and address.

use http::Method;

/// What is done to an object or a collection. The names are those of Kubernetes' RBAC rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read a collection.
    List,
    /// Follow a collection.
    Watch,
    /// POST: make an object, or a subresource such as `binding`.
    Create,
    /// PUT: replace an object.
    Update,
    /// Change an object.
    Patch,
    /// Delete an object.
    Delete,
    /// Delete a collection.
    DeleteCollection,
}

impl Verb {
    /// Whether it may change anything.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// A request to a resource, as far as method and address tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// What is done.
    pub verb: Verb,
    /// The API group; empty for the core group.
    pub group: String,
    /// The version within the group.
    pub version: String,
    /// The plural name.
    pub resource: String,
    /// The namespace, where the address names one.
    pub namespace: Option<String>,
    /// The object, where the address names one.
    pub name: Option<String>,
    /// The subresource, such as `status`.
    pub subresource: Option<String>,
}

impl RequestInfo {
    /// Reads a request's method and address. None where it isn't about a resource, as in `/version`.
    pub fn parse(method: &Method, uri: &http::Uri) -> Option<Self> {
        let mut path = uri.path().trim_matches('/').split('/');
        let group = match path.next()? {
            "api" => "",
            "apis" => path.next()?,
            _ => return None,
        };
        let version = path.next()?;
        let rest: Vec<&str> = path.collect();
        // `namespaces/x/pods/…` is about pods in a namespace, `namespaces/x` and `namespaces/x/status` about itself.
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, inner @ ..] if !matches!(inner, [] | ["status" | "finalize"]) => {
                (Some((*namespace).to_owned()), inner)
            }
            _ => (None, rest.as_slice()),
        };
        let (resource, name, subresource) = match *rest {
            [resource] => (resource, None, None),
            [resource, name] => (resource, Some(name), None),
            [resource, name, subresource] => (resource, Some(name), Some(subresource)),
            _ => return None,
        };
        Some(Self {
            verb: verb(method, uri, name.is_some())?,
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            namespace,
            name: name.map(str::to_owned),
            subresource: subresource.map(str::to_owned),
        })
    }

    /// The resource as RBAC and messages name it: `pods`, `shops.example.com`.
    pub fn qualified_resource(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }
}

fn verb(method: &Method, uri: &http::Uri, named: bool) -> Option<Verb> {
    Some(match (method.as_str(), named) {
        ("GET", true) => Verb::Get,
        ("GET", false) if query(uri).any(|(key, value)| key == "watch" && (value == "true" || value == "1")) => {
            Verb::Watch
        }
        ("GET", false) => Verb::List,
        ("POST", _) => Verb::Create,
        ("PUT", true) => Verb::Update,
        ("PATCH", true) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        _ => return None,
    })
}

/// The decoded pairs of an address's query.
pub(crate) fn query(uri: &http::Uri) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, uri: &str, expected: &str) {
        let seen = RequestInfo::parse(method, &uri.parse().unwrap()).map_or_else(
            || "none".to_owned(),
            |info| {
                format!(
                    "{:?} {} {} {} {} {}",
                    info.verb,
                    info.version,
                    info.qualified_resource(),
                    info.namespace.as_deref().unwrap_or("-"),
                    info.name.as_deref().unwrap_or("-"),
                    info.subresource.as_deref().unwrap_or("-"),
                )
            },
        );
        assert_eq!(seen, expected, "{method} {uri}");
    }

    #[test]
    fn reads_addresses() {
        check(&Method::GET, "/api/v1/pods?limit=500", "List v1 pods - - -");
        check(&Method::GET, "/api/v1/namespaces/a/pods?&watch=true", "Watch v1 pods a - -");
        check(&Method::GET, "/api/v1/namespaces", "List v1 namespaces - - -");
        check(&Method::GET, "/api/v1/namespaces/a", "Get v1 namespaces - a -");
        check(&Method::PATCH, "/api/v1/namespaces/a/status", "Patch v1 namespaces - a status");
        check(&Method::PUT, "/api/v1/namespaces/a/finalize", "Update v1 namespaces - a finalize");
        check(&Method::POST, "/api/v1/namespaces/a/pods/p/binding", "Create v1 pods a p binding");
        check(&Method::PUT, "/apis/e.com/v1/namespaces/a/shops/s", "Update v1 shops.e.com a s -");
        check(&Method::DELETE, "/apis/e.com/v1/shops/s", "Delete v1 shops.e.com - s -");
        check(&Method::DELETE, "/apis/e.com/v1/shops", "DeleteCollection v1 shops.e.com - - -");
        check(&Method::GET, "/apis/e.com/v1", "none");
        check(&Method::GET, "/version", "none");
        check(&Method::PUT, "/api/v1/pods", "none");
    }
}
