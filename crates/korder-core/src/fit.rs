//! Does a pod fit into the place of a ticket?
//!
//! A miss destroys a ticket, so a pod with anything that is not judged here yet does not fit.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::node::Node;
use crate::pod::{Pod, PodSpec};
use crate::resources::{Amounts, Shortage};

/// Why a pod does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The ticket reserves too little.
    Resources(Shortage),
    /// The node lacks a label that the pod's node selector names.
    NodeSelector {
        /// The label's key.
        key: String,
        /// The value that the pod wants.
        value: String,
    },
    /// The node has a taint that the pod does not bear.
    Taint {
        /// The taint's key.
        key: String,
        /// The taint's effect.
        effect: String,
    },
    /// The guardian's priority is above the pod's: others could take the place from the pod.
    Priority {
        /// Priority of the guardian.
        guardian: i32,
        /// Priority of the pod.
        pod: i32,
    },
    /// Another scheduler than the guardian's places the pod.
    Scheduler(String),
    /// The pod asks for something that is not judged yet.
    NotSupportedYet(&'static str),
}

impl Misfit {
    /// The reason in one word, as it stands in conditions.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotSupportedYet(_) => "NotSupportedYet",
            _ => "NoTicketFits",
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resources(shortage) => write!(f, "{shortage}"),
            Self::NodeSelector { key, value } => write!(f, "the node has no label `{key}={value}`"),
            Self::Taint { key, effect } => write!(f, "the node has the taint `{key}:{effect}`"),
            Self::Priority { guardian, pod } => write!(f, "reserved for priority {guardian}, the pod has {pod}"),
            Self::Scheduler(name) => write!(f, "the pod's scheduler is `{name}`"),
            Self::NotSupportedYet(what) => write!(f, "pods with {what} can't claim a ticket yet"),
        }
    }
}

/// What a waiting pod needs, worked out once for all tickets.
#[derive(Clone, Debug)]
pub struct Needs<'a> {
    spec: &'a PodSpec,
    requests: Amounts,
}

impl<'a> Needs<'a> {
    /// The needs of a pod.
    pub fn of(pod: &'a Pod) -> Self {
        Self { spec: &pod.spec, requests: Amounts::of_pod(&pod.spec) }
    }

    /// What the pod asks for that is not judged yet; such a pod fits nowhere.
    pub fn not_supported_yet(&self) -> Option<Misfit> {
        beyond(self.spec).map(Misfit::NotSupportedYet)
    }

    /// Why the pod does not fit into a place of these amounts, held by this guardian on this node.
    pub fn misfit(&self, reserved: &Amounts, guardian: &Pod, node: &Node) -> Option<Misfit> {
        if let Some(shortage) = self.requests.shortage(reserved) {
            return Some(Misfit::Resources(shortage));
        }
        let guardian_priority = guardian.spec.priority.unwrap_or(0);
        let pod_priority = self.spec.priority.unwrap_or(0);
        if guardian_priority > pod_priority {
            return Some(Misfit::Priority { guardian: guardian_priority, pod: pod_priority });
        }
        if self.spec.scheduler_name != guardian.spec.scheduler_name {
            return Some(Misfit::Scheduler(self.spec.scheduler_name.clone().unwrap_or_default()));
        }
        missing_label(&self.spec.node_selector, node.labels())
            .or_else(|| unborne_taint(&self.spec.tolerations, &node.spec.taints))
    }

    /// How much of a place the pod would leave unused: thousandths of each resource, summed.
    pub fn waste(&self, reserved: &Amounts) -> i64 {
        self.requests.waste(reserved)
    }
}

fn missing_label(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> Option<Misfit> {
    let missing = selector.iter().find(|(key, value)| labels.get(*key) != Some(*value));
    missing.map(|(key, value)| Misfit::NodeSelector { key: key.clone(), value: value.clone() })
}

/// The first taint that keeps the pod away; `PreferNoSchedule` keeps none.
fn unborne_taint(tolerations: &[Toleration], taints: &[Taint]) -> Option<Misfit> {
    let keeps_away = |taint: &&Taint| taint.effect != "PreferNoSchedule";
    let borne = |taint: &Taint| tolerations.iter().any(|toleration| tolerates(toleration, taint));
    let taint = taints.iter().filter(keeps_away).find(|taint| !borne(taint))?;
    Some(Misfit::Taint { key: taint.key.clone(), effect: taint.effect.clone() })
}

/// `Toleration.ToleratesTaint` of `k8s.io/api/core/v1`; numeric operators bear nothing here, which errs on the safe side.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let matches = |wanted: Option<&str>, is: &str| wanted.is_none_or(|wanted| wanted.is_empty() || wanted == is);
    if !matches(toleration.effect.as_deref(), &taint.effect) || !matches(toleration.key.as_deref(), &taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some("Exists") => true,
        Some(_) => false,
    }
}

/// The first thing in the spec that decides a place and is not judged yet.
fn beyond(spec: &PodSpec) -> Option<&'static str> {
    let affinity = spec.affinity.as_ref();
    let requires = |present: bool, what: &'static str| present.then_some(what);
    let host_port = |port: &crate::pod::Port| port.host_port.is_some_and(|port| port > 0);
    let mut containers = spec.containers.iter().chain(&spec.init_containers);
    requires(
        affinity
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .is_some_and(|rules| rules.required_during_scheduling_ignored_during_execution.is_some()),
        "required node affinity",
    )
    .or_else(|| {
        let pods = affinity.into_iter().flat_map(|affinity| [&affinity.pod_affinity, &affinity.pod_anti_affinity]);
        let any =
            |rules: &crate::pod::RequiredRules| !rules.required_during_scheduling_ignored_during_execution.is_empty();
        requires(pods.flatten().any(any), "required affinity to other pods")
    })
    .or_else(|| {
        let must = |spread: &crate::pod::Spread| spread.when_unsatisfiable == "DoNotSchedule";
        requires(spec.topology_spread_constraints.iter().any(must), "a topology spread constraint")
    })
    .or_else(|| requires(containers.any(|container| container.ports.iter().any(host_port)), "a host port"))
    .or_else(|| {
        let claim =
            |volume: &crate::pod::Volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some();
        requires(spec.volumes.iter().any(claim), "a persistent volume")
    })
    .or_else(|| requires(!spec.resource_claims.is_empty(), "a resource claim"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Affinity, Container, NodeAffinity, Port, Present, RequiredRules, Spread, Volume};

    fn toleration(key: Option<&str>, operator: Option<&str>, value: Option<&str>, effect: Option<&str>) -> Toleration {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Toleration {
            key: own(key),
            operator: own(operator),
            value: own(value),
            effect: own(effect),
            toleration_seconds: None,
        }
    }

    #[test]
    fn taints_are_borne_as_the_scheduler_says() {
        let taint =
            Taint { key: "team".into(), value: Some("a".into()), effect: "NoSchedule".into(), time_added: None };
        let table = [
            (toleration(None, Some("Exists"), None, None), true),
            (toleration(Some("team"), Some("Exists"), None, None), true),
            (toleration(Some("team"), Some("Exists"), None, Some("NoExecute")), false),
            (toleration(Some("team"), None, Some("a"), Some("NoSchedule")), true),
            (toleration(Some("team"), Some("Equal"), Some("b"), None), false),
            (toleration(Some("other"), Some("Exists"), None, None), false),
            (toleration(Some("team"), Some("Lt"), Some("3"), None), false),
        ];
        for (toleration, borne) in table {
            let misfit = unborne_taint(std::slice::from_ref(&toleration), std::slice::from_ref(&taint));
            assert_eq!(misfit.is_none(), borne, "{toleration:?}");
        }
        let soft = Taint { effect: "PreferNoSchedule".into(), ..taint };
        assert_eq!(unborne_taint(&[], &[soft]), None);
    }

    #[test]
    fn what_is_not_judged_yet_is_named() {
        let must = || Present {};
        let required = || RequiredRules { required_during_scheduling_ignored_during_execution: vec![must()] };
        let with_affinity = |affinity| PodSpec { affinity: Some(affinity), ..PodSpec::default() };
        let table = [
            (
                with_affinity(Affinity {
                    node_affinity: Some(NodeAffinity {
                        required_during_scheduling_ignored_during_execution: Some(must()),
                    }),
                    ..Affinity::default()
                }),
                "required node affinity",
            ),
            (
                with_affinity(Affinity { pod_anti_affinity: Some(required()), ..Affinity::default() }),
                "required affinity to other pods",
            ),
            (
                PodSpec {
                    topology_spread_constraints: vec![Spread { when_unsatisfiable: "DoNotSchedule".into() }],
                    ..PodSpec::default()
                },
                "a topology spread constraint",
            ),
            (
                PodSpec {
                    containers: vec![Container { ports: vec![Port { host_port: Some(80) }], ..Container::default() }],
                    ..PodSpec::default()
                },
                "a host port",
            ),
            (
                PodSpec {
                    volumes: vec![Volume { persistent_volume_claim: Some(must()), ephemeral: None }],
                    ..PodSpec::default()
                },
                "a persistent volume",
            ),
            (PodSpec { resource_claims: vec![crate::pod::Named::default()], ..PodSpec::default() }, "a resource claim"),
        ];
        for (spec, what) in table {
            assert_eq!(beyond(&spec), Some(what));
        }
        let soft = with_affinity(Affinity { node_affinity: Some(NodeAffinity::default()), ..Affinity::default() });
        assert_eq!(beyond(&soft), None);
    }

    #[test]
    fn a_node_without_the_label_is_named() {
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(missing_label(&map("a", "1"), &map("a", "1")), None);
        let misfit = missing_label(&map("a", "1"), &map("a", "2")).unwrap();
        assert_eq!(misfit.to_string(), "the node has no label `a=1`");
    }
}
