//! What lies on the shelf: the order's tickets and their guardians.

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Event, Node};
use korder_api::names;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use super::claim::Claimed;
use super::{ORDER, POD, neighbours};
use crate::objects::{NAMESPACE, Place, eventually, places};
use crate::show::Show;
use crate::stage::Cluster;

/// The events by which Kubernetes' scheduler tells that it placed a pod.
const SCHEDULED: &str = "reason=Scheduled,reportingComponent=default-scheduler";

/// The order becomes tickets, each with a guardian.
pub(super) async fn fill(show: &mut Show, Cluster { client, .. }: &Cluster) -> anyhow::Result<Vec<Place>> {
    show.step("An order reserves places")?;
    show.run("kubectl apply -f examples/order.yaml").await?;
    let places = eventually("the order is ready", async || places(client, ORDER).await).await?;
    show.holds(format_args!("the order is Ready: {} tickets, each held by a running guardian", places.len()))?;
    show.run("kubectl get orders.core.korder.dev,tickets").await?;
    show.run("kubectl get pods -l korder.dev/role=guardian -o wide").await?;
    ensure_compute(client, &places).await?;
    eventually("the scheduler placed the guardians", async || ensure_scheduled(client, &places).await).await?;
    show.run(&format!("kubectl get events --field-selector {SCHEDULED}")).await?;
    show.holds("Kubernetes' own scheduler placed them, on nodes labelled `node-type: compute`")?;
    Ok(places)
}

/// The order replaces the place that was claimed.
pub(super) async fn refill(
    show: &mut Show,
    Cluster { client, .. }: &Cluster,
    before: &[Place],
    claimed: &Claimed,
) -> anyhow::Result<()> {
    show.step("The order refills")?;
    let after = eventually("the order is ready again", async || {
        let after = places(client, ORDER).await?;
        ensure!(after.iter().all(|place| place.ticket != claimed.ticket), "`{}` still counts", claimed.ticket);
        Ok(after)
    })
    .await?;
    show.run("kubectl get orders.core.korder.dev,tickets").await?;
    let new: Vec<Place> = after.into_iter().filter(|place| !before.contains(place)).collect();
    let [Place { ticket, node, .. }] = &new[..] else { anyhow::bail!("expected one new place, found {new:?}") };
    ensure!(*node != claimed.node, "`{ticket}` is on `{node}`, where the claimed place was");
    ensure_compute(client, &new).await?;
    show.holds(format_args!("`{ticket}` replaces `{}`, on another compute node, `{node}`", claimed.ticket))?;
    Ok(())
}

/// The order makes up for a place that it has lost.
pub(super) async fn make_up(show: &mut Show, Cluster { client, .. }: &Cluster) -> anyhow::Result<()> {
    eventually("the order is ready again", async || places(client, ORDER).await).await?;
    show.run("kubectl get tickets").await?;
    show.holds("the order has made up for it elsewhere")?;
    Ok(())
}

/// Where there is but one node, and it is full, the order has to wait until others have left.
pub(super) async fn refill_once_there_is_room(
    show: &mut Show,
    Cluster { client, .. }: &Cluster,
) -> anyhow::Result<Vec<Place>> {
    show.step("The order refills as soon as there is room")?;
    show.run("kubectl get orders.core.korder.dev,tickets").await?;
    show.run(&format!("kubectl delete deployments -l {}", neighbours::LABEL)).await?;
    show.run(&format!("kubectl delete pods {POD}")).await?;
    let places = eventually("the order is ready again", async || places(client, ORDER).await).await?;
    show.run("kubectl get orders.core.korder.dev,tickets").await?;
    show.holds(format_args!("the order holds {} places again", places.len()))?;
    Ok(places)
}

/// The nodes are of the kind that the order asks for.
async fn ensure_compute(client: &Client, places: &[Place]) -> anyhow::Result<()> {
    for Place { node, .. } in places {
        let there = Api::<Node>::all(client.clone()).get(node).await?;
        let label = there.labels().get("node-type");
        ensure!(label.is_some_and(|value| value == "compute"), "`{node}` is no compute node: {label:?}");
    }
    Ok(())
}

/// There is an event of the scheduler about each guardian.
async fn ensure_scheduled(client: &Client, places: &[Place]) -> anyhow::Result<()> {
    let events = Api::<Event>::namespaced(client.clone(), NAMESPACE);
    let events = events.list(&ListParams::default().fields(SCHEDULED)).await?.items;
    for Place { ticket, .. } in places {
        let guardian = names::guardian_name(ticket);
        let mut about = events.iter().filter_map(|event| event.involved_object.name.as_ref());
        ensure!(about.any(|name| *name == guardian), "no event `Scheduled` about `{guardian}`");
    }
    Ok(())
}
