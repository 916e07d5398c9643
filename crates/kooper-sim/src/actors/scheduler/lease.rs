//! The Lease by which a scheduler shows that it leads.

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;

/// Takes a Lease in `kube-system` from whoever has it. Each leadership has a holder of its own.
pub(super) async fn take(client: Client, name: &str, scheduler: &str) -> kube::Result<()> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease"));
    let leases: Api<DynamicObject> = Api::namespaced_with(client, "kube-system", &kind);
    let holder = |transitions: i64| json!({"holderIdentity": format!("{scheduler}_{transitions}"), "leaseTransitions": transitions});
    let Some(lease) = leases.get_opt(name).await? else {
        let lease = DynamicObject::new(name, &kind).data(json!({"spec": holder(0)}));
        return leases.create(&PostParams::default(), &lease).await.map(drop);
    };
    let transitions = lease.data["spec"]["leaseTransitions"].as_i64().unwrap_or_default() + 1;
    let patch = Patch::Merge(json!({"spec": holder(transitions)}));
    leases.patch(name, &PatchParams::default(), &patch).await.map(drop)
}
