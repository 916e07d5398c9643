//! A pod claims one of the places.

use anyhow::{Context as _, bail, ensure};
use e2e::History;
use k8s_openapi::api::core::v1::{Event, Pod};
use korder_api::{Ticket, TicketPhase};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use super::POD;
use super::hand_over::{Moment, moments};
use crate::objects::{NAMESPACE, Place, eventually, node_of};
use crate::show::Show;
use crate::stage::Cluster;

/// The ticket that the pod got.
pub(super) struct Claimed {
    /// Its name.
    pub(super) ticket: String,
    /// Its node.
    pub(super) node: String,
}

/// The pod is admitted, claims a ticket and is bound to the ticket's node.
pub(super) async fn claim(
    show: &mut Show,
    Cluster { client, .. }: &Cluster,
    places: &[Place],
) -> anyhow::Result<Claimed> {
    show.step("A business pod takes one of the places, past all who wait")?;
    let pods = History::start(Api::<Pod>::namespaced(client.clone(), NAMESPACE)).await?;
    show.run("kubectl apply -f examples/business-pod.yaml").await?;
    pods.until("the pod is bound", |log| log.get(POD).and_then(|pod| node_of(pod)).map(drop)).await?;
    let seen = moments(pods.log().events(), POD);
    for (after, moment) in &seen {
        show.aside(format_args!("{:>5} ms  {moment}", after.as_millis()))?;
    }
    let path: Vec<&Moment> = seen.iter().map(|(_, moment)| moment).collect();
    let [
        Moment::Gated,
        Moment::Nominated { node: nominated },
        Moment::Freed { ticket },
        Moment::Ungated,
        Moment::Bound { node },
    ] = path[..]
    else {
        bail!("the hand-over did not go as it should: {path:?}");
    };
    ensure!(nominated == node, "`{POD}` was nominated to `{nominated}` and bound to `{node}`");
    let place = places.iter().find(|place| place.ticket == *ticket);
    let place = place.with_context(|| format!("`{ticket}` is no ticket of the order"))?;
    ensure!(place.node == *node, "`{POD}` is on `{node}`, the place of `{ticket}` was on `{}`", place.node);
    let took = seen.last().map(|(after, _)| after.as_millis()).unwrap_or_default();
    show.holds(format_args!("bound to `{node}`, to the place of `{ticket}`, {took} ms after its creation"))?;

    eventually("the ticket is used", async || ensure_used(client, ticket).await).await?;
    show.run(&format!("kubectl get pods {POD} -o wide")).await?;
    show.run(&format!("kubectl get pods {POD} -o yaml | grep korder.dev/")).await?;
    show.run("kubectl get tickets -o wide").await?;
    show.holds(format_args!("`{ticket}` is Used, and says by whom"))?;
    Ok(Claimed { ticket: ticket.clone(), node: node.clone() })
}

/// The ticket, and no other, belongs to the pod.
async fn ensure_used(client: &Client, ticket: &str) -> anyhow::Result<()> {
    let pod = Api::<Pod>::namespaced(client.clone(), NAMESPACE).get(POD).await?;
    let tickets = Api::<Ticket>::namespaced(client.clone(), NAMESPACE).list(&ListParams::default()).await?.items;
    let of_pod = |one: &&Ticket| one.claim().map(|claim| &claim.uid) == pod.metadata.uid.as_ref();
    let claimed: Vec<_> = tickets.iter().filter(of_pod).map(|one| (one.name_any(), one.phase())).collect();
    ensure!(claimed == [(ticket.to_owned(), TicketPhase::Used)], "tickets of `{POD}`: {claimed:?}");
    Ok(())
}

/// The pod's container runs and is ready.
pub(super) async fn runs(show: &mut Show) -> anyhow::Result<()> {
    show.step("The pod runs")?;
    show.run(&format!("kubectl wait --for=condition=Ready --timeout=60s pods {POD}")).await?;
    show.holds("it is ready in its place")?;
    Ok(())
}

/// What happened can be read from the events of the pod and of its ticket.
pub(super) async fn read_the_story(
    show: &mut Show,
    Cluster { client, .. }: &Cluster,
    claimed: &Claimed,
) -> anyhow::Result<()> {
    let ticket = &claimed.ticket;
    show.step("Events and conditions tell the story")?;
    eventually("the events of the claim", async || {
        ensure_told(client, POD, &["TicketClaimed", "Scheduled"]).await?;
        ensure_told(client, ticket, &["Held", "HandingOver", "InUse"]).await
    })
    .await?;
    show.run(&format!("kubectl describe pod {POD} | sed -n '/^Conditions:/,/^Volumes:/p; /^Events:/,$p'")).await?;
    show.run(&format!("kubectl describe ticket {ticket} | sed -n '/^Status:/,$p'")).await?;
    show.holds(format_args!("pod and ticket say who got what, where and when"))?;
    Ok(())
}

/// There are events about an object for all of these reasons.
async fn ensure_told(client: &Client, name: &str, reasons: &[&str]) -> anyhow::Result<()> {
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let events = Api::<Event>::namespaced(client.clone(), NAMESPACE).list(&about).await?.items;
    for reason in reasons {
        let told = events.iter().any(|event| event.reason.as_deref() == Some(reason));
        ensure!(told, "no event `{reason}` about `{name}`");
    }
    Ok(())
}
