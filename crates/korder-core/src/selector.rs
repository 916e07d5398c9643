//! Selectors of labels and of nodes, as the scheduler reads them.
//!
//! Parsed once, where an object is decoded. One type for both, since those of nodes also compare numbers, which
//! `kube::core::Selector` can't.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::pod::Pod;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Requirements on labels, all of which must hold; without any it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector(Vec<Requirement>);

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// One that is not known: it never holds.
    Unknown,
}

impl Operator {
    fn parse(text: &str) -> Self {
        match text {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => Self::Unknown,
        }
    }
}

impl Requirement {
    fn new(key: String, operator: &str, values: Option<Vec<String>>) -> Self {
        Self { key, operator: Operator::parse(operator), values: values.unwrap_or_default() }
    }

    /// That a label has this value.
    pub(crate) fn equals(key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), operator: Operator::In, values: vec![value.to_owned()] }
    }

    /// Whether a value, or that there is none, meets it (`labels.Requirement.Matches`).
    fn is_met_by(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.iter().any(|listed| listed == value));
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
        let compared = |holds: fn(&i64, &i64) -> bool| match (number(value), self.values.as_slice()) {
            (Some(value), [bound]) => number(Some(bound)).is_some_and(|bound| holds(&value, &bound)),
            _ => false,
        };
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compared(i64::gt),
            Operator::Lt => compared(i64::lt),
            Operator::Unknown => false,
        }
    }
}

impl Selector {
    /// Whether these labels meet all requirements.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.holds(|key| labels.get(key).map(String::as_str))
    }

    /// Whether a pod's labels meet all requirements.
    pub fn selects(&self, pod: &Pod) -> bool {
        self.holds(|key| pod.label(key))
    }

    fn holds<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.is_met_by(value(&requirement.key)))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with one more requirement.
    #[must_use]
    pub(crate) fn and(mut self, requirement: Requirement) -> Self {
        self.0.push(requirement);
        self
    }
}

impl From<LabelSelector> for Selector {
    fn from(selector: LabelSelector) -> Self {
        let labels = selector.match_labels.unwrap_or_default().into_iter();
        let labels = labels.map(|(key, value)| Requirement { key, operator: Operator::In, values: vec![value] });
        let expressions = selector.match_expressions.unwrap_or_default().into_iter();
        let expressions = expressions.map(|one| Requirement::new(one.key, &one.operator, one.values));
        Self(labels.chain(expressions).collect())
    }
}

impl From<&Labels> for Selector {
    fn from(labels: &Labels) -> Self {
        Self(labels.iter().map(|(key, value)| Requirement::equals(key, value)).collect())
    }
}

/// A selector of nodes: one of its terms must hold, and one without requirements never does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeSelector(Vec<NodeTerm>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NodeTerm {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

/// The one field of a node that a selector can name.
const NODE_NAME: &str = "metadata.name";

impl NodeSelector {
    /// Whether a node of these labels and this name is selected; without a name, what is asked of it holds
    /// (`component-helpers/scheduling/corev1/nodeaffinity`, which volumes are matched by without names).
    pub fn matches(&self, labels: &Labels, name: Option<&str>) -> bool {
        self.0.iter().any(|term| {
            let empty = term.labels.is_empty() && term.fields.is_empty();
            let label = |key: &str| labels.get(key).map(String::as_str);
            !empty
                && term.labels.iter().all(|requirement| requirement.is_met_by(label(&requirement.key)))
                && name.is_none_or(|name| term.fields.iter().all(|field| field.is_met_by(Some(name))))
        })
    }
}

impl From<core::NodeSelector> for NodeSelector {
    fn from(selector: core::NodeSelector) -> Self {
        let requirement = |one: core::NodeSelectorRequirement| Requirement::new(one.key, &one.operator, one.values);
        // Fields know two operators, and one value.
        let field = |one: core::NodeSelectorRequirement| {
            let mut field = requirement(one);
            let known = matches!(field.operator, Operator::In | Operator::NotIn);
            if !known || field.values.len() != 1 || field.key != NODE_NAME {
                field.operator = Operator::Unknown;
            }
            field
        };
        let term = |term: core::NodeSelectorTerm| NodeTerm {
            labels: term.match_expressions.unwrap_or_default().into_iter().map(requirement).collect(),
            fields: term.match_fields.unwrap_or_default().into_iter().map(field).collect(),
        };
        Self(selector.node_selector_terms.into_iter().map(term).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn requirement(key: &str, operator: &str, values: &[&str]) -> core::NodeSelectorRequirement {
        let values = Some(values.iter().map(ToString::to_string).collect());
        core::NodeSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values }
    }

    fn selector(
        expressions: &[core::NodeSelectorRequirement],
        fields: &[core::NodeSelectorRequirement],
    ) -> NodeSelector {
        let term = core::NodeSelectorTerm {
            match_expressions: Some(expressions.to_vec()),
            match_fields: Some(fields.to_vec()),
        };
        core::NodeSelector { node_selector_terms: vec![term] }.into()
    }

    #[test]
    fn each_operator_holds_as_the_scheduler_says() {
        let node = labels(&[("zone", "a"), ("cores", "8"), ("word", "eight")]);
        let table = [
            ("zone", "In", &["a", "b"][..], true),
            ("zone", "In", &["b"], false),
            ("none", "In", &["a"], false),
            ("zone", "NotIn", &["b"], true),
            ("zone", "NotIn", &["a"], false),
            ("none", "NotIn", &["a"], true),
            ("zone", "Exists", &[], true),
            ("none", "Exists", &[], false),
            ("none", "DoesNotExist", &[], true),
            ("zone", "DoesNotExist", &[], false),
            ("cores", "Gt", &["7"], true),
            ("cores", "Gt", &["8"], false),
            ("cores", "Lt", &["9"], true),
            ("cores", "Lt", &["8"], false),
            ("word", "Gt", &["1"], false),
            ("none", "Lt", &["1"], false),
            ("zone", "Unheard", &["a"], false),
        ];
        for (key, operator, values, holds) in table {
            let selector = selector(&[requirement(key, operator, values)], &[]);
            assert_eq!(selector.matches(&node, Some("n")), holds, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn a_node_is_selected_by_its_name() {
        let none = labels(&[]);
        let named = |operator: &str, names: &[&str]| selector(&[], &[requirement(NODE_NAME, operator, names)]);
        assert!(named("In", &["n"]).matches(&none, Some("n")));
        assert!(!named("In", &["m"]).matches(&none, Some("n")));
        assert!(named("NotIn", &["m"]).matches(&none, Some("n")));
        assert!(!named("In", &["n", "m"]).matches(&none, Some("n")), "one value only");
        assert!(!named("Exists", &[]).matches(&none, Some("n")));
        // A volume's affinity is matched without a name.
        assert!(named("In", &["m"]).matches(&none, None));
    }

    #[test]
    fn one_term_suffices_and_an_empty_one_selects_nothing() {
        let zone = |zone: &str| core::NodeSelectorTerm {
            match_expressions: Some(vec![requirement("zone", "In", &[zone])]),
            match_fields: None,
        };
        let of =
            |terms: Vec<core::NodeSelectorTerm>| NodeSelector::from(core::NodeSelector { node_selector_terms: terms });
        let node = labels(&[("zone", "a")]);
        assert!(of(vec![zone("b"), zone("a")]).matches(&node, None));
        assert!(!of(vec![zone("b"), core::NodeSelectorTerm::default()]).matches(&node, None));
        assert!(!of(vec![]).matches(&node, None));
    }

    #[test]
    fn a_label_selector_without_requirements_selects_everything() {
        assert!(Selector::default().matches(&labels(&[])));
        let both = LabelSelector {
            match_labels: Some(labels(&[("app", "db")])),
            match_expressions: Some(vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
                key: "tier".to_owned(),
                operator: "DoesNotExist".to_owned(),
                values: None,
            }]),
        };
        let both = Selector::from(both);
        assert!(both.matches(&labels(&[("app", "db")])));
        assert!(!both.matches(&labels(&[("app", "db"), ("tier", "x")])));
        assert!(!both.matches(&labels(&[("tier", "x")])));
    }
}
