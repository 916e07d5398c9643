//! Names of ours that another's kind has too.

use korder_api::names::GROUP;
use kube::Discovery;

/// Our kinds: plural and short name.
const NAMES: [(&str, &str); 5] =
    [("orders", "kord"), ("tickets", "ktk"), ("quotas", "kq"), ("inventories", "kinv"), ("stocks", "kst")];

/// A name that `kubectl` may not take for what its user means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// Who has which name.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) advice: String,
}

/// The resources that the cluster serves: plural and group.
pub(crate) fn served_resources(discovery: &Discovery) -> Vec<(String, String)> {
    let resources = discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources);
    resources.map(|(resource, _)| (resource.plural, resource.group)).collect()
}

/// Names of korder's kinds that others have too, among these resources.
///
/// The singular of `Quota` is what Kubernetes has as a short name, and a singular goes before it.
pub(crate) fn clashes(served: &[(String, String)]) -> Vec<Clash> {
    let mut clashes = vec![Clash {
        message: "where korder is, `kubectl get quota` means its quotas, and not Kubernetes' `ResourceQuota`"
            .to_owned(),
        advice: "write `kubectl get resourcequota` for those".to_owned(),
    }];
    for (plural, short) in NAMES {
        for (_, group) in served.iter().filter(|(other, group)| other == plural && group != GROUP) {
            clashes.push(Clash {
                message: format!("`{group}` has `{plural}` too, and `kubectl get {plural}` may show those"),
                advice: format!("write `kubectl get {plural}.{GROUP}` or `kubectl get {short}` for korder's"),
            });
        }
    }
    clashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_of_our_name_is_told_with_names_that_always_work() {
        let served = [("orders", GROUP), ("orders", "acme.cert-manager.io"), ("challenges", "acme.cert-manager.io")];
        let [quota, orders] = &clashes(&served.map(|(plural, group)| (plural.to_owned(), group.to_owned())))[..] else {
            panic!("there are two")
        };
        assert!(quota.advice.contains("`kubectl get resourcequota`"));
        assert!(orders.message.contains("`acme.cert-manager.io` has `orders` too"), "{}", orders.message);
        assert!(
            orders.advice.contains("`kubectl get orders.core.korder.dev` or `kubectl get kord`"),
            "{}",
            orders.advice
        );
    }
}
