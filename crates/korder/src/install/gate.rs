//! Which form the gate takes.

use anyhow::bail;
use cli::Hinted;
use korder_manifests::{Gate, PolicyApi};
use kube::Discovery;

/// A form of the gate, as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GateForm {
    /// A mutating admission policy: no program stands in a pod's way
    Policy,
    /// A webhook, where the cluster has no such policies
    Webhook,
}

/// The version in which the cluster serves mutating admission policies, if it does.
pub(crate) fn served(discovery: &Discovery) -> Option<PolicyApi> {
    let group = discovery.get("admissionregistration.k8s.io")?;
    [PolicyApi::V1, PolicyApi::V1beta1].into_iter().find(|api| {
        let version = api.as_str().rsplit('/').next().unwrap_or_default();
        group.versioned_resources(version).iter().any(|(resource, _)| resource.kind == "MutatingAdmissionPolicy")
    })
}

/// The form to install.
pub(super) fn choose(wish: Option<GateForm>, served: Option<PolicyApi>) -> anyhow::Result<Gate> {
    match (wish, served) {
        (Some(GateForm::Webhook), _) | (None, None) => Ok(Gate::Webhook),
        (Some(GateForm::Policy) | None, Some(api)) => Ok(Gate::Policy(api)),
        (Some(GateForm::Policy), None) => bail!(Hinted::new(
            "the gate can't be a policy: the cluster serves no `MutatingAdmissionPolicy`",
            "leave `--gate` out, or use `--gate webhook`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_where_the_cluster_can_and_a_webhook_elsewhere() {
        assert_eq!(choose(None, Some(PolicyApi::V1)).unwrap(), Gate::Policy(PolicyApi::V1));
        assert_eq!(choose(None, Some(PolicyApi::V1beta1)).unwrap(), Gate::Policy(PolicyApi::V1beta1));
        assert_eq!(choose(None, None).unwrap(), Gate::Webhook);
    }

    #[test]
    fn the_users_wish_counts_where_it_can_be_met() {
        assert_eq!(choose(Some(GateForm::Webhook), Some(PolicyApi::V1)).unwrap(), Gate::Webhook);
        assert_eq!(choose(Some(GateForm::Policy), Some(PolicyApi::V1)).unwrap(), Gate::Policy(PolicyApi::V1));
        assert!(choose(Some(GateForm::Policy), None).is_err());
    }
}
