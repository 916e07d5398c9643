//! Names of ours that another's kind has too.

use korder_api::names::GROUP;
use kube::Discovery;

/// What the user should know about names on this cluster.
pub(super) fn notes(discovery: &Discovery) -> Vec<String> {
    let mut notes: Vec<String> = discovery
        .groups()
        .filter(|group| group.name() != GROUP)
        .flat_map(|group| group.recommended_resources().into_iter().map(|(resource, _)| resource))
        .filter(|resource| ["orders", "tickets", "quotas", "inventories", "stocks"].contains(&resource.plural.as_str()))
        .map(|resource| other(&resource.plural, &resource.group))
        .collect();
    notes.sort();
    notes.push(
        "`kubectl get quota` now means korder's quotas and no longer `ResourceQuota`; write `resourcequota` for those"
            .to_owned(),
    );
    notes
}

fn other(plural: &str, group: &str) -> String {
    let short = match plural {
        "orders" => "kord",
        "tickets" => "ktk",
        "quotas" => "kq",
        "inventories" => "kinv",
        _ => "kst",
    };
    format!(
        "`{group}` has `{plural}` too, and `kubectl get {plural}` may show those; \
         `{short}` and `{plural}.{GROUP}` always mean korder's"
    )
}
