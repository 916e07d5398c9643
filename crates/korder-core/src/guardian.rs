//! The guardian: the pod that holds a ticket's place on a node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use korder_api::{Quantity, TicketSpec, names};

use crate::ticket::Ticket;

/// Annotations that keep side cars out of the guardian, whatever the namespace's defaults: its requests must be exactly
/// the ticket's.
const ANNOTATIONS: [(&str, &str); 2] = [("sidecar.istio.io/inject", "false"), ("linkerd.io/inject", "disabled")];
/// Annotations by which Cluster autoscaler may remove the guardian's node; Karpenter may unless told otherwise.
const MOVABLE: &[(&str, &str)] = &[(SAFE_TO_EVICT, "true")];
/// Annotations by which Cluster autoscaler and Karpenter leave the guardian's node alone.
const PINNED: &[(&str, &str)] = &[(SAFE_TO_EVICT, "false"), ("karpenter.sh/do-not-disrupt", "true")];
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// A guardian of a ticket by its name, at the priority class of its claimants' twin.
///
/// It requests exactly what the ticket says, does nothing, and goes without a grace period. Its labels are korder's only:
/// with those of the application it would get the application's traffic.
pub fn pod(ticket: &Ticket, guardian: &str, priority_class: &str, image: &str) -> core::Pod {
    let meta = &ticket.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let disruption = if ticket.is_movable() { MOVABLE } else { PINNED };
    let annotations = ANNOTATIONS.iter().chain(disruption).map(|&(key, value)| (key.to_owned(), value.to_owned()));
    let mut labels = BTreeMap::from([
        (names::LABEL_ROLE.to_owned(), names::ROLE_GUARDIAN.to_owned()),
        (names::LABEL_TICKET.to_owned(), name.clone()),
    ]);
    if let Some((order, _)) = ticket.order() {
        labels.insert(names::LABEL_ORDER.to_owned(), order.to_owned());
    }
    core::Pod {
        metadata: ObjectMeta {
            name: Some(guardian.to_owned()),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations.collect()),
            owner_references: Some(vec![OwnerReference {
                api_version: names::API_VERSION.to_owned(),
                kind: "Ticket".to_owned(),
                name,
                uid: meta.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(spec(ticket.spec(), priority_class, image)),
        status: None,
    }
}

fn spec(ticket: &TicketSpec, priority_class: &str, image: &str) -> core::PodSpec {
    core::PodSpec {
        containers: vec![core::Container {
            name: "guardian".to_owned(),
            image: Some(image.to_owned()),
            resources: Some(core::ResourceRequirements {
                requests: Some(amounts(&ticket.resources.requests)).filter(|map| !map.is_empty()),
                limits: Some(amounts(&ticket.resources.limits)).filter(|map| !map.is_empty()),
                claims: None,
            }),
            security_context: Some(core::SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(core::Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                ..core::SecurityContext::default()
            }),
            ..core::Container::default()
        }],
        security_context: Some(core::PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(65_535),
            run_as_group: Some(65_535),
            seccomp_profile: Some(core::SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..core::PodSecurityContext::default()
        }),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(0),
        priority_class_name: Some(priority_class.to_owned()),
        scheduler_name: ticket.scheduler_name.clone(),
        node_selector: Some(ticket.node_selector.clone()).filter(|selector| !selector.is_empty()),
        affinity: affinity(ticket),
        tolerations: Some(ticket.tolerations.clone()).filter(|list| !list.is_empty()),
        topology_spread_constraints: Some(ticket.topology_spread_constraints.clone()).filter(|list| !list.is_empty()),
        ..core::PodSpec::default()
    }
}

fn amounts(quantities: &BTreeMap<String, Quantity>) -> BTreeMap<String, resource::Quantity> {
    quantities.iter().map(|(name, amount)| (name.clone(), resource::Quantity(amount.as_str().to_owned()))).collect()
}

/// The ticket's affinity, narrowed to its one node where it names one: by affinity and not by `spec.nodeName`, which
/// would pass by the scheduler and be refused by a node that is full.
fn affinity(ticket: &TicketSpec) -> Option<core::Affinity> {
    let Some(node) = &ticket.node_name else { return ticket.affinity.clone() };
    let by_name = core::NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.clone()]),
    };
    let mut affinity = ticket.affinity.clone().unwrap_or_default();
    let node_affinity = affinity.node_affinity.get_or_insert_default();
    let required = node_affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(core::NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields.get_or_insert_default().push(by_name.clone());
    }
    Some(affinity)
}

#[cfg(test)]
mod tests {
    use korder_api::ticket::{Disruption, Resources};

    use super::*;

    fn ticket(spec: TicketSpec) -> Ticket {
        let mut ticket = korder_api::Ticket::new("my-order-1", spec);
        ticket.metadata.namespace = Some("default".to_owned());
        ticket.metadata.uid = Some("t1".to_owned());
        ticket.metadata.owner_references = Some(vec![OwnerReference {
            api_version: names::API_VERSION.to_owned(),
            kind: "Order".to_owned(),
            name: "my-order".to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        }]);
        ticket.into()
    }

    fn spec_of_the_first_example() -> TicketSpec {
        let amount = |cpu: &str, memory: &str| {
            BTreeMap::from([("cpu".to_owned(), cpu.parse().unwrap()), ("memory".to_owned(), memory.parse().unwrap())])
        };
        TicketSpec {
            duration: Some("24h".parse().unwrap()),
            resources: Resources { requests: amount("500m", "1Gi"), limits: amount("1000m", "2Gi") },
            node_selector: BTreeMap::from([("node-type".to_owned(), "compute".to_owned())]),
            ..TicketSpec::default()
        }
    }

    #[test]
    fn the_guardian_of_the_first_example() {
        let ticket = ticket(spec_of_the_first_example());
        insta::assert_json_snapshot!(pod(&ticket, &ticket.guardian_name(), "korder-guardian-0", "pause:1"));
    }

    #[test]
    fn autoscalers_leave_the_node_of_a_pinned_ticket() {
        let told = |disruption| {
            let ticket = ticket(TicketSpec { disruption, ..spec_of_the_first_example() });
            let annotations = pod(&ticket, "g", "c", "i").metadata.annotations.unwrap();
            let of = |key: &str| annotations.get(key).cloned();
            (of("cluster-autoscaler.kubernetes.io/safe-to-evict"), of("karpenter.sh/do-not-disrupt"))
        };
        for movable in [None, Some(Disruption::Movable)] {
            assert_eq!(told(movable), (Some("true".into()), None));
        }
        assert_eq!(told(Some(Disruption::Pinned)), (Some("false".into()), Some("true".into())));
    }

    #[test]
    fn a_named_node_narrows_each_term_of_the_affinity() {
        let term = |key: &str| core::NodeSelectorTerm {
            match_expressions: Some(vec![core::NodeSelectorRequirement {
                key: key.to_owned(),
                operator: "Exists".to_owned(),
                values: None,
            }]),
            match_fields: None,
        };
        let mut spec = TicketSpec { node_name: Some("n1".to_owned()), ..spec_of_the_first_example() };
        let terms = |spec: &TicketSpec| {
            let node_affinity = affinity(spec).unwrap().node_affinity.unwrap();
            node_affinity.required_during_scheduling_ignored_during_execution.unwrap().node_selector_terms
        };
        let named = |term: &core::NodeSelectorTerm| {
            term.match_fields.as_ref().is_some_and(|fields| fields[0].values == Some(vec!["n1".to_owned()]))
        };
        assert!(terms(&spec).iter().all(named));
        spec.affinity = Some(core::Affinity {
            node_affinity: Some(core::NodeAffinity {
                required_during_scheduling_ignored_during_execution: Some(core::NodeSelector {
                    node_selector_terms: vec![term("a"), term("b")],
                }),
                ..core::NodeAffinity::default()
            }),
            ..core::Affinity::default()
        });
        assert_eq!(terms(&spec).len(), 2);
        assert!(terms(&spec).iter().all(named));
    }
}
