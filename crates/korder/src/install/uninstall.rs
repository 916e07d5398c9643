//! Taking korder away: what it installed, what it made, and on request the kinds with all their objects.

use std::time::Duration;

use anyhow::{Context as _, bail};
use cli::Hinted;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use korder_api::names::{GATE, LABEL_ROLE, ROLE_GUARDIAN, SYSTEM_NAMESPACE};
use korder_api::{Order, Ticket};
use korder_manifests::PART_OF;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, ObjectList, Patch, Preconditions,
};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::objects::{INSTALLED, MADE_BY_PROGRAMS, api_of, existing, is_gate, is_grant, labelled, shown};
use super::{apply, discover, gate};
use crate::told::Told as _;

/// How long the namespace and the kinds may take to go.
const GONE_DEADLINE: Duration = Duration::from_mins(1);
/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// What to take away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removal {
    /// The kinds too, and with them all orders, tickets, quotas, inventories and stocks.
    pub(crate) kinds: bool,
    /// Only tell what would go.
    pub(crate) dry_run: bool,
}

/// What was taken away, and what was not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uninstalled {
    /// The objects, as `deployment/korder-webhook`.
    pub(crate) removed: Vec<String>,
    /// How many guardian pods went.
    pub(crate) guardians: usize,
    /// How many pods no longer wait for a ticket.
    pub(crate) released: usize,
    /// What stays, and why.
    pub(crate) kept: Vec<String>,
}

/// Takes korder away; every step that was done already is skipped, so that it can be tried again.
///
/// First the gate, so that no pod begins to wait, and the programs' rights, so that they undo nothing; then what they
/// made; the rest last.
pub(crate) async fn uninstall(client: &Client, removal: Removal) -> anyhow::Result<Uninstalled> {
    let Removal { kinds, dry_run } = removal;
    let discovery = discover(client).await?;
    let ours = existing(client, gate::served(&discovery), &[INSTALLED, MADE_BY_PROGRAMS].concat()).await?;
    let mut done = Uninstalled::default();
    let (first, rest): (Vec<_>, Vec<_>) = ours.into_iter().partition(|object| is_gate(object) || is_grant(object));

    remove(client, &first, dry_run, &mut done).await?;
    done.guardians = remove_guardians(client, dry_run).await?;
    done.released = release(client, dry_run).await?;
    remove(client, &rest, dry_run, &mut done).await?;

    let definitions = labelled(client, "apiextensions.k8s.io/v1", "CustomResourceDefinition").await?;
    if kinds {
        remove(client, &definitions, dry_run, &mut done).await?;
    } else if !definitions.is_empty() {
        done.kept.push(orders_stay(client).await?);
    }
    remove_namespace(client, kinds || definitions.is_empty(), dry_run, &mut done).await?;
    if kinds && !dry_run {
        gone(client, &definitions).await?;
    }
    Ok(done)
}

/// How many objects of each of korder's kinds there are, by the kind's plural name; those without any are left out.
pub(crate) async fn count_objects(client: &Client) -> anyhow::Result<Vec<(String, usize)>> {
    let mut counted = Vec::new();
    for definition in labelled(client, "apiextensions.k8s.io/v1", "CustomResourceDefinition").await? {
        let definition: CustomResourceDefinition = definition.try_parse().context("cannot read a kind")?;
        let Some(version) = definition.spec.versions.iter().find(|version| version.storage) else { continue };
        let names = &definition.spec.names;
        let gvk = GroupVersionKind::gvk(&definition.spec.group, &version.name, &names.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &names.plural);
        let count = count(Api::<DynamicObject>::all_with(client.clone(), &resource)).await?;
        if count > 0 {
            counted.push((names.plural.clone(), count));
        }
    }
    Ok(counted)
}

async fn remove(
    client: &Client,
    objects: &[DynamicObject],
    dry_run: bool,
    done: &mut Uninstalled,
) -> anyhow::Result<()> {
    for object in objects {
        apply::delete(client, object, dry_run).await?;
        done.removed.push(shown(object));
    }
    Ok(())
}

async fn remove_guardians(client: &Client, dry_run: bool) -> anyhow::Result<usize> {
    let guardians = pods(client, ListParams::default().labels(&format!("{LABEL_ROLE}={ROLE_GUARDIAN}"))).await?;
    for guardian in &guardians {
        let params = DeleteParams {
            dry_run,
            // A guardian does nothing: there is nothing to wait for.
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: guardian.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        forgive_gone(pods_of(client, guardian).delete(&guardian.name_any(), &params).await)
            .told(|| format!("delete the guardian pod `{}`", guardian.name_any()))?;
    }
    Ok(guardians.items.len())
}

/// Takes korder's gate off all pods that wait behind it.
async fn release(client: &Client, dry_run: bool) -> anyhow::Result<usize> {
    let waiting = pods(client, ListParams::default().fields("status.phase=Pending")).await?;
    let mut released = 0;
    for pod in &waiting {
        let Some(operations) = ungate(pod) else { continue };
        if !dry_run {
            let patch: Patch<()> = Patch::Json(serde_json::from_value(operations)?);
            forgive_gone(pods_of(client, pod).patch(&pod.name_any(), &super::patch_params(), &patch).await)
                .told(|| format!("take korder's gate off the pod `{}`", pod.name_any()))?;
        }
        released += 1;
    }
    Ok(released)
}

/// The JSON patch that takes our gate off this very pod; none where it has none.
fn ungate(pod: &Pod) -> Option<serde_json::Value> {
    let gates = pod.spec.as_ref()?.scheduling_gates.as_ref()?;
    let index = gates.iter().position(|gate| gate.name == GATE)?;
    let path = format!("/spec/schedulingGates/{index}");
    Some(json!([
        { "op": "test", "path": "/metadata/uid", "value": pod.uid() },
        { "op": "test", "path": format!("{path}/name"), "value": GATE },
        { "op": "remove", "path": path },
    ]))
}

/// Removes the namespace, unless something in it is not ours.
async fn remove_namespace(
    client: &Client,
    without_orders: bool,
    dry_run: bool,
    done: &mut Uninstalled,
) -> anyhow::Result<()> {
    let namespaces = labelled(client, "v1", "Namespace").await?;
    let Some(namespace) = namespaces.iter().find(|namespace| namespace.name_any() == SYSTEM_NAMESPACE) else {
        return Ok(());
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let foreign = api
        .list(&ListParams::default().labels(&format!("{PART_OF}!=korder,{LABEL_ROLE}!={ROLE_GUARDIAN}")))
        .await
        .told(|| "list the pods of korder's namespace".into())?;
    let orders =
        if without_orders { 0 } else { count::<Order>(Api::namespaced(client.clone(), SYSTEM_NAMESPACE)).await? };
    if let Some(what) = match (foreign.items.len(), orders) {
        (0, 0) => None,
        (0, orders) => Some(format!("{orders} orders")),
        (pods, _) => Some(format!("{pods} pods that are not korder's")),
    } {
        done.kept.push(format!("the namespace `{SYSTEM_NAMESPACE}`: it holds {what}"));
        return Ok(());
    }
    remove(client, std::slice::from_ref(namespace), dry_run, done).await?;
    if dry_run { Ok(()) } else { gone(client, std::slice::from_ref(namespace)).await }
}

async fn orders_stay(client: &Client) -> anyhow::Result<String> {
    let orders = count::<Order>(Api::all(client.clone())).await?;
    let tickets = count::<Ticket>(Api::all(client.clone())).await?;
    Ok(format!(
        "the kinds, with {orders} orders and {tickets} tickets, which hold nothing until `korder install` serves them \
         again; `korder uninstall --crds` deletes them"
    ))
}

async fn count<K>(api: Api<K>) -> anyhow::Result<usize>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let list = api.list_metadata(&ListParams::default()).await.told(|| "count what stays".into())?;
    Ok(list.items.len())
}

/// Waits until the objects are gone.
async fn gone(client: &Client, objects: &[DynamicObject]) -> anyhow::Result<()> {
    let end = Instant::now() + GONE_DEADLINE;
    for object in objects {
        while is_there(client, object).await? {
            if Instant::now() > end {
                bail!(Hinted::new(
                    format!("`{}` is still being deleted after {} s", shown(object), GONE_DEADLINE.as_secs()),
                    "see what holds it: its conditions tell, `kubectl get -o yaml`; then run `korder uninstall` again",
                ));
            }
            sleep(INTERVAL).await;
        }
    }
    Ok(())
}

async fn is_there(client: &Client, object: &DynamicObject) -> anyhow::Result<bool> {
    let found = api_of(client, object).get_metadata_opt(&object.name_any()).await;
    let found = found.told(|| format!("see whether `{}` is gone", shown(object)))?;
    Ok(found.is_some_and(|found| found.uid() == object.uid()))
}

async fn pods(client: &Client, params: ListParams) -> anyhow::Result<ObjectList<Pod>> {
    Api::<Pod>::all(client.clone()).list(&params).await.told(|| "list pods".into())
}

fn pods_of(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}

/// Takes an object that is gone, or another one of its name, for success.
fn forgive_gone<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) if kooper::patch::is_stale(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(gates: &[&str]) -> Pod {
        let gates: Vec<_> = gates.iter().map(|gate| json!({ "name": gate })).collect();
        serde_json::from_value(json!({
            "metadata": { "name": "p", "uid": "u" }, "spec": { "containers": [], "schedulingGates": gates },
        }))
        .unwrap()
    }

    #[test]
    fn only_our_gate_is_taken_off() {
        let operations = ungate(&pod(&["example.com/other", GATE])).unwrap();
        assert_eq!(operations[0]["value"], "u");
        assert_eq!(operations[2], json!({ "op": "remove", "path": "/spec/schedulingGates/1" }));
        assert_eq!(ungate(&pod(&["example.com/other"])), None);
    }
}
