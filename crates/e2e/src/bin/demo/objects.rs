//! What the checks ask of the cluster.

use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use korder_api::{Order, Quantity, Ticket, TicketPhase, names};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use tokio::time::{Instant, sleep, timeout_at};

/// Where the story takes place.
pub(crate) const NAMESPACE: &str = "default";

/// How long anything may take to be seen, and how often to look.
const DEADLINE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `look` has seen what it looks for. After the deadline its last error tells what is there instead.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    eventually_within(DEADLINE, what, look).await
}

/// The same for what may take longer.
pub(crate) async fn eventually_within<T>(
    time: Duration,
    what: &str,
    look: impl AsyncFn() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + time;
    let mut last = anyhow!("the cluster does not answer");
    while let Ok(looked) = timeout_at(deadline, look()).await {
        match looked {
            Ok(seen) => return Ok(seen),
            Err(error) => last = error,
        }
        sleep(INTERVAL).await;
    }
    Err(last.context(format!("not seen within {} s: {what}", time.as_secs())))
}

/// The place that a ready ticket has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the ticket.
    pub(crate) ticket: String,
    /// Name of the node.
    pub(crate) node: String,
    /// Priority of the guardian that holds it.
    pub(crate) priority: i32,
}

/// The places that an order holds, once it says that it holds all.
pub(crate) async fn places(client: &Client, order: &str) -> anyhow::Result<Vec<Place>> {
    let order = Api::<Order>::namespaced(client.clone(), NAMESPACE).get(order).await?;
    let status = order.status.clone().unwrap_or_default();
    let ready =
        status.conditions.iter().find(|condition| condition.type_ == "Ready").context("the order has no status")?;
    ensure!(ready.status == "True" && status.observed_generation == order.metadata.generation, "{}", ready.message);
    let selector = format!("{}={}", names::LABEL_ORDER, order.name_any());
    let tickets = Api::<Ticket>::namespaced(client.clone(), NAMESPACE);
    let tickets = tickets.list(&ListParams::default().labels(&selector)).await?.items;
    let mut places = Vec::new();
    for ticket in tickets.iter().filter(|ticket| ticket.phase() == TicketPhase::Ready) {
        places.push(place(client, ticket).await?);
    }
    let wanted = usize::try_from(order.spec.replicas.unwrap_or(1))?;
    ensure!(places.len() == wanted, "{} of {wanted} tickets are ready", places.len());
    Ok(places)
}

/// The place of a ready ticket, if its guardian runs there.
async fn place(client: &Client, ticket: &Ticket) -> anyhow::Result<Place> {
    let ticket_name = ticket.name_any();
    let guardian = names::guardian_name(&ticket_name);
    let guardian = Api::<Pod>::namespaced(client.clone(), NAMESPACE).get(&guardian).await?;
    let node = node_of(&guardian).context("the guardian has no node")?.to_owned();
    ensure!(phase(&guardian) == "Running", "the guardian of `{ticket_name}` is {}", phase(&guardian));
    let said = ticket.status.as_ref().and_then(|status| status.node_name.as_ref());
    ensure!(said == Some(&node), "`{ticket_name}` says {said:?}, its guardian is on `{node}`");
    let priority = guardian.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default();
    Ok(Place { ticket: ticket_name, node, priority })
}

/// The node that a pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// `Pending`, `Running` and so on.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Why the scheduler found no node for a pod that is still without one.
pub(crate) fn unschedulable(pod: &Pod) -> Option<&str> {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let condition = conditions.find(|condition| condition.type_ == "PodScheduled")?;
    (node_of(pod).is_none() && condition.reason.as_deref() == Some("Unschedulable")).then_some(())?;
    condition.message.as_deref()
}

/// Whether korder's gate holds a pod back.
pub(crate) fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.into_iter().any(|gate| gate.name == names::GATE)
}

/// The thousandths of a core of a node that no pod has requested.
pub(crate) async fn free_millicores(client: &Client, node: &str) -> anyhow::Result<i64> {
    let there = Api::<Node>::all(client.clone()).get(node).await?;
    let allocatable =
        there.status.and_then(|status| status.allocatable?.remove("cpu")).context("no allocatable CPU")?;
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let mut free = allocatable.0.parse::<Quantity>()?.millis();
    for pod in Api::<Pod>::all(client.clone()).list(&on_node).await?.items {
        let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
        for resources in containers.into_iter().filter_map(|container| container.resources) {
            if let Some(cpu) = resources.requests.unwrap_or_default().get("cpu") {
                free -= cpu.0.parse::<Quantity>()?.millis();
            }
        }
    }
    Ok(free)
}
