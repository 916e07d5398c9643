//! Reading collections.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Collection, Key, Resource, Store};
use crate::object::Object;
use crate::refusal::{FieldError, Refusal, bad_request, expired, invalid_as, version_too_large};
use crate::selector::Selector;

/// The options of lists and watches, as the query states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListOptions {
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    /// The most items of a page; 0 for all.
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) allow_watch_bookmarks: bool,
    pub(crate) timeout_seconds: Option<u64>,
}

/// Part of a collection at one version.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Object>>,
    pub(crate) revision: u64,
    /// Where the next page begins; None on the last.
    pub(crate) continue_token: Option<String>,
    /// How many items follow, where that is known.
    pub(crate) remaining: Option<usize>,
}

/// At which version a list is read.
enum At {
    Latest,
    Exactly(u64),
}

impl Store {
    /// A page of a kind's objects; without a namespace, of all namespaces.
    ///
    /// # Errors
    /// 400 for bad selectors, versions and tokens, 410 for versions forgotten, 422 for options that don't go together,
    /// 504 for versions to come.
    pub(crate) fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Page, Refusal> {
        check_options(options)?;
        let collection = self.collection(resource)?;
        let selector = Selector::parse(&collection.kind, &options.label_selector, &options.field_selector)?;
        let (at, start) = self.place(collection, options)?;
        let (past, revision);
        let objects = match at {
            At::Latest => {
                revision = self.revision;
                &collection.objects
            }
            At::Exactly(version) => {
                revision = version;
                past = collection.objects_at(version);
                &past
            }
        };
        let start =
            start.unwrap_or_else(|| Key { namespace: namespace.unwrap_or_default().to_owned(), ..Key::default() });
        let mut matching = objects
            .range(start..)
            .take_while(|(key, _)| namespace.is_none_or(|namespace| key.namespace == namespace))
            .filter(|(_, object)| selector.matches(object.value()));
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let items: Vec<Arc<Object>> = matching.by_ref().take(limit).map(|(_, object)| object.clone()).collect();
        let next = matching.next().map(|(key, _)| token(revision, key));
        let remaining = (next.is_some() && selector.is_empty()).then(|| 1 + matching.count());
        Ok(Page { items, revision, continue_token: next, remaining })
    }

    /// A single object is read at the latest version: that must not be older than the one asked for.
    ///
    /// # Errors
    /// 400 for a bad version, 504 for one to come.
    pub(crate) fn check_not_future(&self, options: &ListOptions) -> Result<(), Refusal> {
        match parse_version(&options.resource_version)? {
            Some(version) if version > self.revision => Err(version_too_large(version, self.revision)),
            _ => Ok(()),
        }
    }

    fn place(&self, collection: &Collection, options: &ListOptions) -> Result<(At, Option<Key>), Refusal> {
        let version = parse_version(&options.resource_version)?;
        if !options.continue_token.is_empty() {
            if version.is_some_and(|version| version > 0) {
                return Err(bad_request("specifying resource version is not allowed when using continue"));
            }
            let (revision, start) = parse_token(&options.continue_token)?;
            return match revision {
                None => Ok((At::Latest, Some(start))),
                Some(revision) if revision < collection.forgotten => Err(token_expired(&start)),
                Some(revision) => Ok((At::Exactly(revision), Some(start))),
            };
        }
        let Some(version) = version.filter(|version| *version > 0) else { return Ok((At::Latest, None)) };
        if version > self.revision {
            return Err(version_too_large(version, self.revision));
        }
        // A version with a limit and no match is read exactly, as it was before there was a match.
        let exactly = match options.resource_version_match.as_str() {
            "Exact" => true,
            "" => options.limit > 0,
            _ => false,
        };
        if exactly && version < collection.forgotten {
            return Err(expired(format!("The resourceVersion for the provided list is too old: {version}")));
        }
        Ok((if exactly { At::Exactly(version) } else { At::Latest }, None))
    }
}

impl Collection {
    /// The objects as they were at a version, which the log must still reach.
    fn objects_at(&self, revision: u64) -> BTreeMap<Key, Arc<Object>> {
        let mut objects = self.objects.clone();
        for write in self.log.iter().rev().take_while(|write| write.revision > revision) {
            let key = Key { namespace: write.namespace.clone().unwrap_or_default(), name: write.name.clone() };
            match &write.before {
                Some(before) => drop(objects.insert(key, before.clone())),
                None => drop(objects.remove(&key)),
            }
        }
        objects
    }
}

/// The rules of `k8s.io/apimachinery/pkg/apis/meta/internalversion/validation` for lists.
fn check_options(options: &ListOptions) -> Result<(), Refusal> {
    let forbidden = |field: &str, why: &str| invalid_options(FieldError::forbidden(field, why));
    if options.send_initial_events.is_some() {
        return Err(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    match options.resource_version_match.as_str() {
        "" => Ok(()),
        _ if options.resource_version.is_empty() => {
            Err(forbidden("resourceVersionMatch", "forbidden unless resourceVersion is provided"))
        }
        _ if !options.continue_token.is_empty() => {
            Err(forbidden("resourceVersionMatch", "forbidden when continue is provided"))
        }
        "Exact" if options.resource_version == "0" => {
            Err(forbidden("resourceVersionMatch", "\"Exact\" is forbidden for resourceVersion \"0\""))
        }
        "Exact" | "NotOlderThan" => Ok(()),
        other => {
            Err(invalid_options(FieldError::not_supported("resourceVersionMatch", other, &["Exact", "NotOlderThan"])))
        }
    }
}

pub(super) fn invalid_options(error: FieldError) -> Refusal {
    invalid_as("meta.k8s.io", "ListOptions", "", vec![error])
}

/// Reads a resourceVersion; empty is None.
pub(super) fn parse_version(text: &str) -> Result<Option<u64>, Refusal> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| bad_request(format!("invalid resource version `{text}`"))),
    }
}

/// Where a page begins, and at which version: opaque to clients. None of its parts can hold a slash.
fn token(revision: u64, start: &Key) -> String {
    format!("{revision}/{}/{}", start.namespace, start.name)
}

/// The same for the latest version, which a client gets along with a 410.
fn token_at_latest(start: &Key) -> String {
    format!("latest/{}/{}", start.namespace, start.name)
}

fn parse_token(token: &str) -> Result<(Option<u64>, Key), Refusal> {
    let bad = || bad_request("continue key is not valid");
    let [revision, namespace, name] = token.split('/').collect::<Vec<_>>()[..] else { return Err(bad()) };
    let revision = match revision {
        "latest" => None,
        number => Some(number.parse().map_err(|_| bad())?),
    };
    Ok((revision, Key { namespace: namespace.to_owned(), name: name.to_owned() }))
}

fn token_expired(start: &Key) -> Refusal {
    let why = "The provided continue parameter is too old to display a consistent list result. Start anew without it, or \
               go on with the token of this Status, which reads what is there now.";
    let mut refusal = expired(why);
    refusal.metadata =
        Some(serde_json::from_value(serde_json::json!({"continue": token_at_latest(start)})).unwrap_or_default());
    refusal
}
