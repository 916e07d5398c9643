//! What `korder install` puts on a cluster, as values: kinds, accounts, rights, policies, programs and the gate.
//!
//! [`manifests`] gives all of it in the order in which it is to be applied. Two profiles differ only in the programs:
//! [`Profile::InCluster`] is what users run; [`Profile::Host`] is the same with the programs running as processes on
//! the host of an embedded cluster. This crate must not know a cluster: it neither reads nor writes one.

mod accounts;
mod availability;
mod controllers_own;
mod crds;
mod gate;
mod grants;
mod guardians;
mod helm_hook;
mod labels;
mod leader;
mod misplaced;
mod network;
mod not_built_yet;
mod pod_annotations;
mod policy;
mod programs;
mod roles;
mod stock_rights;
mod ticket_spec;

pub use accounts::CERTIFICATES_SECRET;
pub use crds::crds;
pub use gate::{Gate, MIRROR_POD, PolicyApi, gate_conditions};
pub use grants::{GRANT_NAME, granted_accounts, namespace_grant};
pub use helm_hook::helm_hook;
pub use labels::{MANAGED_BY, OURS, PART_OF};
pub use programs::{HOST_NODE, Profile, WEBHOOK_PORT};

use kube::core::DynamicObject;
use serde_json::Value;

/// Name of the gate's admission objects.
pub const GATE_NAME: &str = "gate.korder.dev";
/// Path of the gate on the webhook's server.
pub const GATE_PATH: &str = "/gate";

/// What to install and how it is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the programs run.
    pub profile: Profile,
    /// Which form the gate takes.
    pub gate: Gate,
}

/// Everything of an installation, in the order in which it is to be applied.
///
/// The gate comes last: from then on pods that ask for a ticket wait for the programs.
pub fn manifests(options: &Options) -> Vec<DynamicObject> {
    // What is about pods of the programs, where they are pods.
    let only_pods = |objects| match options.profile {
        Profile::InCluster { .. } => objects,
        Profile::Host { .. } => vec![],
    };
    [
        vec![accounts::namespace()],
        only_pods(vec![availability::priority_class()]),
        crds(),
        accounts::service_accounts(),
        accounts::rights(),
        roles::aggregated(),
        vec![roles::metrics_reader()],
        not_built_yet::policies(),
        pod_annotations::policies(),
        misplaced::policies(),
        controllers_own::policies(),
        guardians::policies(),
        ticket_spec::policies(),
        stock_rights::policies(),
        leader::policies(),
        only_pods(network::policies()),
        only_pods(availability::budgets()),
        programs::programs(&options.profile),
        gate::gate(options),
    ]
    .concat()
}

/// An object written as JSON in this crate.
fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("manifests of this crate have a kind and metadata; a test builds each of them")
}

#[cfg(test)]
mod tests;
