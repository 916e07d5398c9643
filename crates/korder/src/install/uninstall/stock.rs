//! Inventories and units of stock when their kinds go: without korder nobody takes their finalizers off.

use korder_api::names::{FINALIZER_TEARDOWN, FINALIZER_UNITS};
use korder_api::{Inventory, Stock};
use kube::api::{ListParams, Patch};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::install::patch_params;
use crate::told::Told as _;

/// Takes korder's finalizers off; one pass. What units consist of is left where it is.
pub(super) async fn untie(client: &Client) -> anyhow::Result<()> {
    untie_all::<Stock>(client).await?;
    untie_all::<Inventory>(client).await
}

async fn untie_all<K>(client: &Client) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let listed = match Api::<K>::all(client.clone()).list_metadata(&ListParams::default()).await {
        // The kind is gone, and all of them with it.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        listed => listed.told(|| format!("list the {}", K::plural(&())))?,
    };
    for object in listed.items {
        let Some(left) = without_ours(&object) else { continue };
        let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
        let patch = json!({ "metadata": { "uid": object.uid(), "resourceVersion": object.resource_version(), "finalizers": left } });
        // One that has changed meanwhile, or whose policy still holds, is met by the next pass.
        match api.patch_metadata(&object.name_any(), &patch_params(), &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => {}
            written => drop(written.told(|| format!("take korder's finalizer off `{}`", object.name_any()))?),
        }
    }
    Ok(())
}

/// The finalizers of others; none where it has none of ours.
fn without_ours<K>(object: &PartialObjectMeta<K>) -> Option<Vec<&String>> {
    let all = object.metadata.finalizers.as_deref().unwrap_or_default();
    let is_ours = |finalizer: &&String| [FINALIZER_TEARDOWN, FINALIZER_UNITS].contains(&finalizer.as_str());
    all.iter()
        .any(|finalizer| is_ours(&finalizer))
        .then(|| all.iter().filter(|finalizer| !is_ours(finalizer)).collect())
}
