//! What tests wait for most often.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use korder_api::{Order, OrderStatus, Ticket, TicketPhase};
use kube::ResourceExt as _;

use crate::pods::{node_of, waits_for};

/// An order has exactly so many tickets ready and says that it is ready, about its present spec.
pub(crate) async fn order_is_ready(case: &Case, order: &str, ready: i32) -> Result<Arc<Order>> {
    let is_ready =
        |status: &OrderStatus| status.ready == ready && reason(&status.conditions) == Some(("True", "Ready"));
    order_says(case, order, &format!("order `{order}` has {ready} tickets ready"), is_ready).await
}

/// An order's status, about its present spec, is as asked.
pub(crate) async fn order_says(
    case: &Case,
    order: &str,
    what: &str,
    says: impl Fn(&OrderStatus) -> bool,
) -> Result<Arc<Order>> {
    let found = |log: &Log<Order>| {
        let order = log.get(order)?;
        let status = order.status.as_ref()?;
        (status.observed_generation == order.metadata.generation && says(status)).then(|| Arc::clone(order))
    };
    case.orders.until(what, found).await
}

/// Status and reason of the condition `Ready`.
pub(crate) fn reason(conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]) -> Option<(&str, &str)> {
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((&ready.status, &ready.reason))
}

/// A ticket is in a phase.
pub(crate) async fn ticket_is(case: &Case, ticket: &str, phase: TicketPhase) -> Result<Arc<Ticket>> {
    ticket_is_within(e2e::DEADLINE, case, ticket, phase).await
}

/// The same with a deadline of its own.
pub(crate) async fn ticket_is_within(
    deadline: Duration,
    case: &Case,
    ticket: &str,
    phase: TicketPhase,
) -> Result<Arc<Ticket>> {
    let found = |log: &Log<Ticket>| log.get(ticket).filter(|ticket| ticket.phase() == phase).cloned();
    case.tickets.until_within(deadline, format!("ticket `{ticket}` is {}", phase.as_str()), found).await
}

/// A pod is bound to a node.
pub(crate) async fn pod_is_bound(case: &Case, pod: &str) -> Result<Arc<Pod>> {
    pod_is_bound_within(e2e::DEADLINE, case, pod).await
}

/// The same with a deadline of its own.
pub(crate) async fn pod_is_bound_within(deadline: Duration, case: &Case, pod: &str) -> Result<Arc<Pod>> {
    let found = |log: &Log<Pod>| log.get(pod).filter(|pod| node_of(pod).is_some()).cloned();
    case.pods.until_within(deadline, format!("pod `{pod}` is bound to a node"), found).await
}

/// A pod waits for a ticket for a reason; the message.
pub(crate) async fn pod_waits(case: &Case, pod: &str, reason: &str) -> Result<String> {
    let found = |log: &Log<Pod>| {
        let (is, message) = waits_for(log.get(pod)?)?;
        (is == reason).then(|| message.to_owned())
    };
    case.pods.until(format!("pod `{pod}` waits with the reason `{reason}`"), found).await
}

/// Something is told of an object.
pub(crate) async fn event_tells(case: &Case, kind: &str, name: &str, reason: &str) -> Result<Arc<Event>> {
    let found = |log: &Log<Event>| {
        let tells = |event: &&Arc<Event>| {
            let about = |regarding: &k8s_openapi::api::core::v1::ObjectReference| {
                regarding.kind.as_deref() == Some(kind) && regarding.name.as_deref() == Some(name)
            };
            event.reason.as_deref() == Some(reason) && event.regarding.as_ref().is_some_and(about)
        };
        log.objects().find(tells).cloned()
    };
    case.events.until(format!("an event `{reason}` tells of {kind} `{name}`"), found).await
}

/// The names of all tickets in a phase.
pub(crate) fn tickets_in(case: &Case, phase: TicketPhase) -> Vec<String> {
    let log = case.tickets.log();
    log.objects().filter(|ticket| ticket.phase() == phase).map(|ticket| ticket.name_any()).collect()
}
