//! The writes for an order.

use std::sync::atomic::{AtomicBool, Ordering};

use kooper::{Context, Failure};
use korder_api::{Order, OrderStatus};
use korder_core::order::{Plan, Refused};
use korder_core::ticket::Ticket;

use kube::Resource;

use super::Orders;
use crate::news;
use crate::write::{self, Created};

/// What came of the writes of a plan.
pub(super) struct Done {
    /// The name of a ticket was taken by somebody else's, so that its number must be skipped.
    pub(super) names_taken: bool,
    /// The API server has refused a write for what it says.
    pub(super) refused: Option<Refused>,
    /// A write has failed otherwise.
    pub(super) failure: Option<Failure>,
}

/// Makes and removes tickets, as many as can be: what one write meets does not hold up the others. After a creation was
/// refused no more are sent, since they would be refused for the same reason.
pub(super) async fn tickets(orders: &Orders, cx: &Context, order: &Order, plan: &Plan) -> Done {
    let Orders { client, caches, .. } = orders;
    let mut done = Done { names_taken: false, refused: None, failure: None };
    let mut deletions = Vec::with_capacity(plan.delete.len());
    for ticket in &plan.delete {
        deletions.push(write::delete(client, &caches.tickets, ticket, true));
    }
    let removed = done.succeeded(Refused::Deletion, write::all(deletions).await).len();
    let full = AtomicBool::new(false);
    let mut creations = Vec::with_capacity(plan.create.len());
    for ticket in &plan.create {
        creations.push(create(orders, ticket, &full));
    }
    let created = write::all(creations).await.into_iter().flatten().collect();
    let made = done.succeeded(Refused::Creation, created);
    tell(cx, order, made.len(), removed, plan);
    let ours = |ticket: &Ticket| ticket.order().map(|(_, uid)| uid) == order.metadata.uid.as_deref();
    done.names_taken = made.iter().any(|created| matches!(created, Created::Exists(ticket) if !ours(ticket)));
    done
}

/// Makes a ticket, unless a creation was refused before it.
async fn create(
    orders: &Orders,
    ticket: &korder_api::Ticket,
    full: &AtomicBool,
) -> Option<Result<Created<Ticket>, kube::Error>> {
    if full.load(Ordering::Relaxed) {
        return None;
    }
    let created = write::create(&orders.client, &orders.caches.tickets, ticket).await;
    if matches!(&created, Err(kube::Error::Api(status)) if write::is_refused(status)) {
        full.store(true, Ordering::Relaxed);
    }
    Some(created)
}

impl Done {
    /// Takes note of the writes that did not succeed; what the others gave.
    fn succeeded<T>(&mut self, refused: fn(String) -> Refused, results: Vec<Result<T, kube::Error>>) -> Vec<T> {
        let mut succeeded = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Ok(value) => succeeded.push(value),
                Err(kube::Error::Api(status)) if write::is_refused(&status) => {
                    let refused = refused(status.message.clone());
                    // The same one every time, in whichever order the answers come.
                    self.refused = self.refused.take().into_iter().chain([refused]).min();
                }
                Err(error) => {
                    self.failure.get_or_insert_with(|| write::failure(error));
                }
            }
        }
        succeeded
    }
}

fn tell(cx: &Context, order: &Order, made: usize, removed: usize, plan: &Plan) {
    if let Some(made) = names(made, &plan.create) {
        news::tell(&cx.recorder, order, "Issue", "TicketsIssued", &format!("made {made}"));
    }
    if let Some(removed) = names(removed, &plan.delete) {
        news::tell(
            &cx.recorder,
            order,
            "Withdraw",
            "TicketsWithdrawn",
            &format!("removed {removed} not wanted any more"),
        );
    }
}

fn names<K: Resource>(count: usize, tickets: &[K]) -> Option<String> {
    match (count, tickets) {
        (0, _) => None,
        (_, [one]) => Some(format!("ticket `{}`", one.meta().name.as_deref().unwrap_or_default())),
        (1, _) => Some("1 ticket".to_owned()),
        _ => Some(format!("{count} tickets")),
    }
}

/// Writes the status.
pub(super) async fn status(orders: &Orders, cx: &Context, order: &Order, status: OrderStatus) -> Result<(), Failure> {
    let before = order.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let after = status.conditions.clone();
    let written = Order { status: Some(status), ..order.clone() };
    write::status(&orders.client, &orders.caches.orders, &written).await.map_err(write::failure)?;
    news::of_transition(&cx.recorder, order, "Reconcile", &before, &after);
    Ok(())
}
