//! What becomes of a place that is given up without a hand-over.

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::neighbours::{self, Waiting};
use crate::objects::{NAMESPACE, Place, eventually, node_of};
use crate::show::Show;
use crate::stage::Cluster;

/// Those who wait would have taken the place: a ticket that is deleted loses its place to one of them.
pub(super) async fn free_a_place(
    show: &mut Show,
    Cluster { client, .. }: &Cluster,
    place: Option<&Place>,
    waiting: &Waiting,
) -> anyhow::Result<()> {
    let Place { ticket, node, .. } = place.context("the order has no second place")?;
    show.step("The counter-proof: a place that is given up goes to those who wait")?;
    show.run(&format!("kubectl delete tickets {ticket}")).await?;
    let names = waiting.get(node).with_context(|| format!("nobody waits on `{node}`"))?;
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let taker = eventually("a neighbour takes the place", async || {
        for name in names {
            if node_of(&pods.get(name).await?) == Some(node) {
                return Ok(name);
            }
        }
        bail!("all of {names:?} wait");
    })
    .await?;
    neighbours::show_waiting(show).await?;
    show.holds(format_args!("`{taker}` has taken the place of `{ticket}` on `{node}`"))?;
    Ok(())
}

/// The same of a whole order: all who wait take its places.
pub(super) async fn free_all_places(
    show: &mut Show,
    Cluster { client, .. }: &Cluster,
    waiting: &Waiting,
) -> anyhow::Result<()> {
    show.step("The counter-proof: places that are given up go to those who wait")?;
    show.run("kubectl delete -f examples/order.yaml").await?;
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    eventually("all neighbours have a place", async || {
        for (node, names) in waiting {
            for name in names {
                ensure!(node_of(&pods.get(name).await?) == Some(node), "`{name}` waits");
            }
        }
        Ok(())
    })
    .await?;
    show.run(&format!("kubectl get pods -l {}", neighbours::LABEL)).await?;
    show.holds("all who waited have a place")?;
    Ok(())
}
