//! Chapter `order`: an order reserves places, and a pod gets one of them though others wait for it.

mod claim;
mod counter_proof;
mod hand_over;
mod neighbours;
mod shelf;

use crate::show::Show;
use crate::stage::Cluster;

/// Four compute nodes with four places each. The three tickets of the order leave one of them untouched, so that the
/// order finds a place again though every node that it had one on is full.
pub(crate) const NODES: &str = "--nodes 4 --node-label node-type=compute --node-cpu 2 --node-memory 8Gi";

/// The order of `examples/order.yaml`.
const ORDER: &str = "my-order";
/// The pod of `examples/business-pod.yaml`.
const POD: &str = "my-business-pod";

/// Tells it.
pub(crate) async fn tell(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    let places = shelf::fill(show, cluster).await?;
    let neighbours = neighbours::move_in(show, cluster, &places).await?;
    let claimed = claim::claim(show, cluster, &places).await?;
    neighbours::still_wait(show, cluster, &neighbours).await?;
    claim::runs(show).await?;
    if cluster.is_real {
        // On the one node the order waits for room like everybody else.
        claim::read_the_story(show, cluster, &claimed).await?;
        let places = shelf::refill_once_there_is_room(show, cluster).await?;
        let neighbours = neighbours::move_in(show, cluster, &places).await?;
        return counter_proof::free_all_places(show, cluster, &neighbours).await;
    }
    shelf::refill(show, cluster, &places, &claimed).await?;
    claim::read_the_story(show, cluster, &claimed).await?;
    let untouched = places.iter().find(|place| place.ticket != claimed.ticket);
    counter_proof::free_a_place(show, cluster, untouched, &neighbours).await?;
    shelf::make_up(show, cluster).await
}
