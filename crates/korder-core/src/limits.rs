//! What a namespace's own limits do to guardians: `ResourceQuota` counts them, `LimitRange` may enlarge or refuse them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec, ScopeSelector, ScopedResourceSelectorRequirement};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use korder_api::names::TWIN_PREFIX;

use crate::reasons;

/// Why there is no guardian of a ticket, as it stands in conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A `ResourceQuota` of the namespace is used up.
    ResourceQuotaExceeded,
    /// A `LimitRange` of the namespace does not allow the ticket's amounts.
    LimitRangeViolated,
    /// Anything else, such as a policy or a webhook.
    GuardianRefused,
    /// It is let in with less than the ticket reserves, or was made smaller since.
    GuardianTooSmall,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::ResourceQuotaExceeded, Self::LimitRangeViolated, Self::GuardianRefused, Self::GuardianTooSmall];

    /// What the API server's message tells of (`admission/plugin/resourcequota/controller.go` and
    /// `plugin/pkg/admission/limitranger/admission.go` in Kubernetes).
    pub fn of(message: &str) -> Self {
        let says = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
        if says(&["exceeded quota: ", "failed quota: "]) {
            Self::ResourceQuotaExceeded
        } else if says(&[" usage per Container is ", " usage per Pod is ", " max limit to request ratio per "]) {
            Self::LimitRangeViolated
        } else {
            Self::GuardianRefused
        }
    }

    /// In one word.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ResourceQuotaExceeded => reasons::RESOURCE_QUOTA_EXCEEDED,
            Self::LimitRangeViolated => reasons::LIMIT_RANGE_VIOLATED,
            Self::GuardianRefused => reasons::GUARDIAN_REFUSED,
            Self::GuardianTooSmall => reasons::GUARDIAN_TOO_SMALL,
        }
    }

    /// What is told of it, with what to do about it, where that can be said.
    pub(crate) fn advise(self, message: &str) -> String {
        self.advice().map_or_else(|| message.to_owned(), |advice| format!("{message}; {advice}"))
    }

    /// What to do about it, where that can be said.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::ResourceQuotaExceeded => Some("`korder resource-quota` prints the quota without guardians"),
            Self::LimitRangeViolated => Some("ask for amounts that the namespace's LimitRange allows"),
            Self::GuardianRefused => None,
            Self::GuardianTooSmall => {
                Some("see which webhook makes it smaller, or who resizes it; it is replaced every 30 s")
            }
        }
    }
}

/// What a quota can limit for some pods only (`IsResourceQuotaScopeValidForResource` of Kubernetes).
const SCOPED: [&str; 7] = ["pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Scope of a quota: the priority classes of pods; and its operator.
const PRIORITY_CLASS: &str = "PriorityClass";
const NOT_IN: &str = "NotIn";

/// The same quota for all pods but guardians.
///
/// `twins` are the priority classes of guardians. A quota with a scope may only limit pods and amounts of CPU and memory:
/// what else it limits goes into a second one, named `NAME-unscoped`. One that leaves guardians out already leaves out those of
/// these classes; one that has a scope on other priority classes is left alone.
pub fn without_guardians(quota: &ResourceQuota, twins: Vec<String>) -> Vec<ResourceQuota> {
    let spec = quota.spec.clone().unwrap_or_default();
    let mut expressions =
        spec.scope_selector.clone().and_then(|selector| selector.match_expressions).unwrap_or_default();
    expressions.retain(|scope| !leaves_guardians_out(scope));
    if expressions.iter().any(is_on_classes) {
        return vec![named(quota, "", spec)];
    }
    let (scoped, rest): (BTreeMap<String, Quantity>, BTreeMap<_, _>) = spec
        .hard
        .clone()
        .unwrap_or_default()
        .into_iter()
        .partition(|(resource, _)| SCOPED.contains(&resource.as_str()));
    expressions.push(ScopedResourceSelectorRequirement {
        scope_name: PRIORITY_CLASS.to_owned(),
        operator: NOT_IN.to_owned(),
        values: Some(twins),
    });
    let mut quotas = vec![];
    if !scoped.is_empty() {
        let scope_selector = Some(ScopeSelector { match_expressions: Some(expressions) });
        quotas.push(named(quota, "", ResourceQuotaSpec { hard: Some(scoped), scope_selector, ..spec.clone() }));
    }
    if !rest.is_empty() {
        let suffix = if quotas.is_empty() { "" } else { "-unscoped" };
        quotas.push(named(quota, suffix, ResourceQuotaSpec { hard: Some(rest), ..spec }));
    }
    quotas
}

/// Whether a quota limits pods in a way that guardians count for.
pub fn counts_guardians(quota: &ResourceQuota) -> bool {
    let Some(spec) = &quota.spec else { return false };
    spec.hard.iter().flatten().any(|(resource, _)| SCOPED.contains(&resource.as_str()))
        && !spec
            .scope_selector
            .iter()
            .flat_map(|selector| selector.match_expressions.iter().flatten())
            .any(is_on_classes)
}

fn is_on_classes(scope: &ScopedResourceSelectorRequirement) -> bool {
    scope.scope_name == PRIORITY_CLASS
}

/// Whether a scope is on all priority classes but some of guardians.
fn leaves_guardians_out(scope: &ScopedResourceSelectorRequirement) -> bool {
    let are_twins = |classes: &Vec<String>| classes.iter().all(|class| class.starts_with(TWIN_PREFIX));
    is_on_classes(scope) && scope.operator == NOT_IN && scope.values.as_ref().is_some_and(are_twins)
}

fn named(quota: &ResourceQuota, suffix: &str, spec: ResourceQuotaSpec) -> ResourceQuota {
    let meta = &quota.metadata;
    ResourceQuota {
        metadata: ObjectMeta {
            name: meta.name.as_ref().map(|name| format!("{name}{suffix}")),
            namespace: meta.namespace.clone(),
            labels: meta.labels.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_servers_words_are_understood() {
        let table = [
            (
                "pods \"a-1-guardian\" is forbidden: exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2",
                Refusal::ResourceQuotaExceeded,
            ),
            (
                "pods \"a-1-guardian\" is forbidden: failed quota: team: must specify limits.cpu for: guardian",
                Refusal::ResourceQuotaExceeded,
            ),
            (
                "pods \"a-1-guardian\" is forbidden: maximum cpu usage per Container is 1, but request is 2",
                Refusal::LimitRangeViolated,
            ),
            (
                "pods \"a-1-guardian\" is forbidden: memory max limit to request ratio per Pod is 1, but provided ratio is 2",
                Refusal::LimitRangeViolated,
            ),
            ("admission webhook \"x\" denied the request: no", Refusal::GuardianRefused),
        ];
        for (message, refusal) in table {
            assert_eq!(Refusal::of(message), refusal, "{message}");
        }
    }

    fn quota(hard: &[&str]) -> ResourceQuota {
        ResourceQuota {
            metadata: ObjectMeta { name: Some("team".to_owned()), ..ObjectMeta::default() },
            spec: Some(ResourceQuotaSpec {
                hard: Some(hard.iter().map(|name| ((*name).to_owned(), Quantity("2".to_owned()))).collect()),
                ..ResourceQuotaSpec::default()
            }),
            status: None,
        }
    }

    fn parts(quota: &ResourceQuota) -> Vec<(String, Vec<String>, bool)> {
        let twins = vec!["korder-guardian-0".to_owned()];
        let quotas = without_guardians(quota, twins);
        let part = |quota: ResourceQuota| {
            let spec = quota.spec.unwrap();
            let hard = spec.hard.unwrap().into_keys().collect();
            (quota.metadata.name.unwrap(), hard, spec.scope_selector.is_some())
        };
        quotas.into_iter().map(part).collect()
    }

    #[test]
    fn what_takes_no_scope_goes_into_a_second_quota() {
        let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(parts(&quota(&["cpu", "pods"])), [("team".to_owned(), text(&["cpu", "pods"]), true)]);
        assert_eq!(
            parts(&quota(&["pods", "services"])),
            [("team".to_owned(), text(&["pods"]), true), ("team-unscoped".to_owned(), text(&["services"]), false)]
        );
        assert_eq!(parts(&quota(&["services"])), [("team".to_owned(), text(&["services"]), false)]);
    }

    #[test]
    fn what_it_has_made_gets_new_classes_and_no_more() {
        let twins =
            |numbers: &[u8]| numbers.iter().map(|number| format!("korder-guardian-{number}")).collect::<Vec<_>>();
        let once = without_guardians(&quota(&["pods"]), twins(&[0]));
        assert_eq!(without_guardians(&once[0], twins(&[0])), once);
        assert_eq!(without_guardians(&once[0], twins(&[0, 9])), without_guardians(&quota(&["pods"]), twins(&[0, 9])));
    }

    #[test]
    fn a_scope_of_somebodys_on_classes_is_left_alone() {
        let mut quota = quota(&["pods"]);
        quota.spec.as_mut().unwrap().scope_selector = Some(ScopeSelector {
            match_expressions: Some(vec![ScopedResourceSelectorRequirement {
                scope_name: "PriorityClass".to_owned(),
                operator: "In".to_owned(),
                values: Some(vec!["high".to_owned()]),
            }]),
        });
        assert_eq!(without_guardians(&quota, vec!["korder-guardian-0".to_owned()]), [quota.clone()]);
        assert!(!counts_guardians(&quota));
    }
}
