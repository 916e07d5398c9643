//! Keeps variants as their inventories are: whom they serve, how their units are checked, how long these are kept.

use kooper::{Change, Context, ControllerBuilder, Failure, Key, Outcome, Reconciler};
use korder_api::Inventory;
use korder_core::inventory::variant;
use kube::Client;
use serde_json::json;

use super::REFUSED_RETRY;
use crate::caches::Caches;
use crate::write::{self, Part};

/// The controller of variants.
pub fn controller(client: &Client, caches: &Caches) -> ControllerBuilder<Key, impl Reconciler<Key> + use<>> {
    let variants = Variants { client: client.clone(), caches: caches.clone() };
    let all = caches.clone();
    ControllerBuilder::new("variants", variants).watches(&caches.inventories, move |change: &Change<Inventory>| match (
        &change.old,
        &change.new,
    ) {
        (Some(old), Some(new)) if old.spec == new.spec && old.metadata.uid == new.metadata.uid => vec![],
        (_, Some(new)) => {
            let itself = variant::base_of(new).map(|_| Key::of(new.as_ref()));
            all.variants(new).into_iter().map(|one| Key::of(one.as_ref())).chain(itself).collect()
        }
        (_, None) => vec![],
    })
}

/// The reconciler of variants.
struct Variants {
    client: Client,
    caches: Caches,
}

impl Reconciler<Key> for Variants {
    async fn reconcile(&self, _cx: Context, key: Key) -> Result<Outcome, Failure> {
        let inventories = &self.caches.inventories;
        let there = inventories.get(&key).filter(|there| there.metadata.deletion_timestamp.is_none());
        let Some(there) = there else { return Ok(Outcome::Done) };
        let base = variant::base_of(&there).map(|base| Key { namespace: key.namespace.clone(), name: base.to_owned() });
        let base = base.and_then(|base| inventories.get(&base));
        let Some(spec) = base.and_then(|base| variant::followed(&base, &there)) else { return Ok(Outcome::Done) };
        let operations = json!([{"op": "replace", "path": "/spec", "value": spec}]);
        match write::patch(&self.client, inventories, there.as_ref(), Part::Main, operations).await {
            Ok(()) => Ok(Outcome::Done),
            Err(error) if write::is_refused_for_good(&error) => Ok(Outcome::After(REFUSED_RETRY)),
            Err(error) => Err(write::failure(error)),
        }
    }
}
