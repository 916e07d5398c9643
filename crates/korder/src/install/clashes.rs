//! Names of ours that another's kind has too.

use korder_api::names::GROUP;
use kube::Discovery;

/// Our kinds: plural and short name.
const NAMES: [(&str, &str); 5] =
    [("orders", "kord"), ("tickets", "ktk"), ("quotas", "kq"), ("inventories", "kinv"), ("stocks", "kst")];

/// What the user should know about names on this cluster.
pub(super) fn notes(discovery: &Discovery) -> Vec<String> {
    let mut notes = clashes(&served_resources(discovery));
    notes.push(
        "`kubectl get quota` now means korder's quotas and no longer `ResourceQuota`; write `resourcequota` for those"
            .to_owned(),
    );
    notes
}

/// The resources that the cluster serves: plural and group.
pub(crate) fn served_resources(discovery: &Discovery) -> Vec<(String, String)> {
    let resources = discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources);
    resources.map(|(resource, _)| (resource.plural, resource.group)).collect()
}

/// Kinds of others, among these resources, that have the name of one of korder's.
pub(crate) fn clashes(served: &[(String, String)]) -> Vec<String> {
    let mut notes = Vec::new();
    for (plural, short) in NAMES {
        for (_, group) in served.iter().filter(|(other, group)| other == plural && group != GROUP) {
            notes.push(format!(
                "`{group}` has `{plural}` too, and `kubectl get {plural}` may show those; \
                 `{short}` and `{plural}.{GROUP}` always mean korder's"
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_of_our_name_is_told_with_names_that_always_work() {
        let served = [("orders", GROUP), ("orders", "acme.cert-manager.io"), ("challenges", "acme.cert-manager.io")];
        let notes = clashes(&served.map(|(plural, group)| (plural.to_owned(), group.to_owned())));
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("`acme.cert-manager.io` has `orders` too") && notes[0].contains("`kord`"));
    }
}
