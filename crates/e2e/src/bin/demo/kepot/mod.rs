//! Chapter `kepot`: what takes long to make lies on the shelf when it is ordered.

mod demand;
mod look;
mod retire;

use crate::show::Show;
use crate::stage::Cluster;

/// Where the jobs run.
pub(crate) const NODES: &str = "--nodes 1 --node-label node-type=compute --node-cpu 8 --node-memory 16Gi";

/// The file of the inventory that the story is about, and its name.
const FILE: &str = "examples/kepot/cakes.yaml";
const INVENTORY: &str = "cakes";

/// Tells it.
pub(crate) async fn tell(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    demand::first_order_waits(show, cluster).await?;
    demand::next_orders_do_not(show, cluster).await?;
    demand::level_rises(show, cluster).await?;
    retire::obsolete(show, cluster).await?;
    retire::expired(show, cluster).await?;
    retire::failed(show, cluster).await?;
    demand::level_falls(show, cluster).await
}
