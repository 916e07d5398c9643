//! Whose pods an order admits, and whose orders an inventory, as `allowedNamespaces` says; read as in the Gateway API.

use std::collections::BTreeMap;

use korder_api::Order;
use korder_api::order::{AllowedNamespaces, FromNamespaces};
use kube::core::{Selector, SelectorExt};

/// The set of namespaces that are admitted.
#[derive(Clone, Debug)]
pub enum Admits {
    /// One's own.
    Same,
    /// All.
    All,
    /// Those whose labels match, one's own only if its do.
    Labelled(Selector),
    /// None: the selector makes no sense, and whom it was to admit can't be known.
    Nobody,
}

impl Admits {
    /// What an order says.
    pub fn of(order: &Order) -> Self {
        Self::by(order.spec.allowed_namespaces.as_ref())
    }

    /// What an `allowedNamespaces` says.
    pub fn by(allowed: Option<&AllowedNamespaces>) -> Self {
        match allowed.and_then(|allowed| allowed.from).unwrap_or_default() {
            FromNamespaces::Same => Self::Same,
            FromNamespaces::All => Self::All,
            FromNamespaces::Selector => {
                let selector = allowed.and_then(|allowed| allowed.selector.clone()).unwrap_or_default();
                selector.try_into().map_or(Self::Nobody, Self::Labelled)
            }
        }
    }

    /// Whether one in this namespace admits those of another (or the same), which has these labels if it is known.
    pub fn admits(&self, own: &str, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        match self {
            Self::Same => own == namespace,
            Self::All => true,
            Self::Labelled(selector) => labels.is_some_and(|labels| selector.matches(labels)),
            Self::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
    use korder_api::order::RefreshPolicy;

    use super::*;
    use crate::fixtures::order;

    fn admits(
        from: Option<FromNamespaces>,
        selector: Option<LabelSelector>,
        namespace: &str,
        team: Option<&str>,
    ) -> bool {
        let mut order = order(1, RefreshPolicy::Never);
        order.spec.allowed_namespaces = Some(AllowedNamespaces { from, selector });
        let labels = team.map(|team| [("team".to_owned(), team.to_owned())].into());
        Admits::of(&order).admits("default", namespace, labels.as_ref())
    }

    #[test]
    fn its_own_namespace_where_nothing_is_said() {
        assert!(admits(None, None, "default", None));
        assert!(!admits(None, None, "other", Some("a")));
        assert!(admits(Some(FromNamespaces::Same), None, "default", None));
        assert!(admits(Some(FromNamespaces::All), None, "other", None));
    }

    #[test]
    fn a_selector_is_about_labels_alone() {
        let of_team_a = || {
            let match_labels = Some([("team".to_owned(), "a".to_owned())].into());
            Some(LabelSelector { match_labels, match_expressions: None })
        };
        let from = Some(FromNamespaces::Selector);
        assert!(admits(from, of_team_a(), "other", Some("a")));
        assert!(!admits(from, of_team_a(), "other", Some("b")));
        assert!(!admits(from, of_team_a(), "other", None), "a namespace that is not known");
        assert!(!admits(from, of_team_a(), "default", Some("b")), "its own is no exception");
        let nonsense = LabelSelectorRequirement { key: "team".into(), operator: "Near".into(), values: None };
        let nonsense = LabelSelector { match_labels: None, match_expressions: Some(vec![nonsense]) };
        assert!(!admits(from, Some(nonsense), "default", Some("a")));
    }
}
