//! A pod as it is written, and what of it decides where it fits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use korder_api::Quantity;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Constraints, HostPort, Named, PodStatus, PodTerm, Spread, StorageClaim, Toleration};
use crate::resources::Amounts;
use crate::selector::Selector;
use crate::ticket::Owner;

/// A pod as it is written.
#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: super::PodSpec,
    #[serde(default)]
    status: PodStatus,
}

impl From<Pod> for super::Pod {
    fn from(Pod { mut metadata, spec, status }: Pod) -> Self {
        let labels = metadata.labels.take().into_iter().flatten().collect();
        let owners = metadata.owner_references.take().into_iter().flatten();
        let tickets: Box<[Owner]> = owners.filter(|owner| owner.kind == "Ticket").map(Owner::from).collect();
        Self { metadata, labels, tickets: tickets.into(), spec, status }
    }
}

impl From<OwnerReference> for Owner {
    fn from(OwnerReference { name, uid, controller, .. }: OwnerReference) -> Self {
        Self { name, uid, is_controller: controller == Some(true) }
    }
}

/// The fields of a pod's spec that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    node_name: Option<String>,
    scheduling_gates: Vec<Named>,
    scheduler_name: Option<String>,
    priority: Option<i32>,
    pub(crate) containers: Vec<Container>,
    pub(crate) init_containers: Vec<Container>,
    pub(crate) resources: Option<Requests>,
    pub(crate) overhead: BTreeMap<String, Quantity>,
    node_selector: BTreeMap<String, String>,
    tolerations: Vec<core::Toleration>,
    affinity: Option<core::Affinity>,
    topology_spread_constraints: Vec<core::TopologySpreadConstraint>,
    volumes: Vec<Volume>,
    resource_claims: Vec<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) resources: Requests,
    ports: Vec<Port>,
    restart_policy: Option<String>,
}

impl Container {
    /// Whether it is an init container that goes on beside the others.
    pub(crate) fn is_side_car(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// Amounts by resource; the API server has filled in those that only have a limit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Requests {
    pub(crate) requests: BTreeMap<String, Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    host_port: Option<u16>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: String,
    persistent_volume_claim: Option<ClaimSource>,
    ephemeral: Option<IgnoredAny>,
    // Disks without a claim, of which two pods must not have the same.
    gce_persistent_disk: Option<IgnoredAny>,
    aws_elastic_block_store: Option<IgnoredAny>,
    iscsi: Option<IgnoredAny>,
    rbd: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSource {
    claim_name: String,
}

impl From<PodSpec> for super::PodSpec {
    fn from(spec: PodSpec) -> Self {
        let requests = Amounts::of_pod(&spec);
        let host_ports = host_ports(&spec);
        let has_inline_disk = spec.volumes.iter().any(Volume::is_inline_disk);
        let claims = spec.volumes.into_iter().filter_map(Volume::claim).collect();
        let affinity = spec.affinity.unwrap_or_default();
        let required = |terms: Option<Vec<core::PodAffinityTerm>>| -> Vec<PodTerm> {
            terms.unwrap_or_default().into_iter().map(PodTerm::from).collect()
        };
        let node_affinity = affinity.node_affinity.unwrap_or_default();
        let pod_affinity = affinity.pod_affinity.unwrap_or_default();
        let pod_anti_affinity = affinity.pod_anti_affinity.unwrap_or_default();
        let must = |spread: &core::TopologySpreadConstraint| spread.when_unsatisfiable == "DoNotSchedule";
        let constraints = Constraints {
            node_selector: spec.node_selector,
            node_affinity: node_affinity.required_during_scheduling_ignored_during_execution.map(Into::into),
            tolerations: spec.tolerations.into_iter().map(Toleration::from).collect(),
            affinity: required(pod_affinity.required_during_scheduling_ignored_during_execution),
            spread: spec.topology_spread_constraints.into_iter().filter(must).map(Spread::from).collect(),
            has_resource_claims: !spec.resource_claims.is_empty(),
            has_inline_disk,
        };
        Self {
            node_name: spec.node_name,
            scheduling_gates: spec.scheduling_gates,
            scheduler_name: spec.scheduler_name,
            priority: spec.priority,
            requests,
            host_ports,
            claims,
            anti_affinity: required(pod_anti_affinity.required_during_scheduling_ignored_during_execution),
            constraints: Some(Box::new(constraints)).filter(|constraints| **constraints != Constraints::default()),
        }
    }
}

impl Volume {
    fn is_inline_disk(&self) -> bool {
        let Self { gce_persistent_disk, aws_elastic_block_store, iscsi, rbd, .. } = self;
        [gce_persistent_disk, aws_elastic_block_store, iscsi, rbd].iter().any(|disk| disk.is_some())
    }

    fn claim(self) -> Option<StorageClaim> {
        let ephemeral = self.ephemeral.map(|_| StorageClaim::Ephemeral(self.name));
        self.persistent_volume_claim.map(|claim| StorageClaim::Named(claim.claim_name)).or(ephemeral)
    }
}

/// Ports of what runs as long as the pod does (`GetHostPorts` in the scheduler's `util`).
fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let side_cars = spec.init_containers.iter().filter(|container| container.is_side_car());
    let ports = side_cars.chain(&spec.containers).flat_map(|container| &container.ports);
    let taken = |port: &Port| {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Some(HostPort {
            port: port.host_port.filter(|port| *port > 0)?,
            ip: given(&port.host_ip).filter(|ip| ip != HostPort::ALL),
            protocol: given(&port.protocol).unwrap_or_else(|| "TCP".to_owned()),
        })
    };
    ports.filter_map(taken).collect()
}

impl From<core::Toleration> for Toleration {
    fn from(toleration: core::Toleration) -> Self {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            key: given(toleration.key),
            operator: given(toleration.operator),
            value: toleration.value.unwrap_or_default(),
            effect: given(toleration.effect),
        }
    }
}

impl From<core::PodAffinityTerm> for PodTerm {
    // The API server has put `matchLabelKeys` and `mismatchLabelKeys` into the selector.
    fn from(term: core::PodAffinityTerm) -> Self {
        Self {
            topology_key: term.topology_key,
            selector: term.label_selector.map(Selector::from),
            namespaces: term.namespaces.unwrap_or_default(),
            namespace_selector: term.namespace_selector.map(Selector::from),
        }
    }
}

impl From<core::TopologySpreadConstraint> for Spread {
    fn from(spread: core::TopologySpreadConstraint) -> Self {
        let honors = |policy: Option<String>, default: bool| policy.map_or(default, |policy| policy == "Honor");
        Self {
            topology_key: spread.topology_key,
            max_skew: spread.max_skew.into(),
            min_domains: spread.min_domains.unwrap_or(1).into(),
            selector: spread.label_selector.map(Selector::from),
            match_label_keys: spread.match_label_keys.unwrap_or_default(),
            honors_node_affinity: honors(spread.node_affinity_policy, true),
            honors_taints: honors(spread.node_taints_policy, false),
        }
    }
}
