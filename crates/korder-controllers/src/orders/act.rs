//! The writes for an order.

use kooper::{Context, Failure};
use korder_api::{Order, OrderStatus, Ticket};
use korder_core::order::Plan;

use super::Orders;
use crate::news;
use crate::write::{self, Created};

/// Makes and removes tickets. True if the name of one was taken by somebody else's, so that its number must be skipped.
pub(super) async fn tickets(orders: &Orders, cx: &Context, order: &Order, plan: &Plan) -> Result<bool, Failure> {
    let Orders { client, caches, .. } = orders;
    let mut deletions = Vec::with_capacity(plan.delete.len());
    for ticket in &plan.delete {
        deletions.push(write::delete(client, &caches.tickets, ticket, true));
    }
    all_done(write::all(deletions).await)?;
    let mut creations = Vec::with_capacity(plan.create.len());
    for ticket in &plan.create {
        creations.push(write::create(client, &caches.tickets, ticket));
    }
    let made: Vec<Created<Ticket>> = all_done(write::all(creations).await)?;
    tell(cx, order, plan);
    let ours = |ticket: &Ticket| ticket.order().map(|(_, uid)| uid) == order.metadata.uid.as_deref();
    Ok(made.iter().any(|created| matches!(created, Created::Exists(ticket) if !ours(ticket))))
}

fn all_done<T>(results: Vec<Result<T, kube::Error>>) -> Result<Vec<T>, Failure> {
    results.into_iter().collect::<Result<_, _>>().map_err(write::failure)
}

fn tell(cx: &Context, order: &Order, plan: &Plan) {
    let names = |tickets: &[Ticket]| match tickets {
        [] => None,
        [one] => Some(format!("ticket `{}`", one.metadata.name.as_deref().unwrap_or_default())),
        many => Some(format!("{} tickets", many.len())),
    };
    if let Some(made) = names(&plan.create) {
        news::tell(&cx.recorder, order, "Issue", "TicketsIssued", &format!("made {made}"));
    }
    if let Some(removed) = names(&plan.delete) {
        news::tell(
            &cx.recorder,
            order,
            "Withdraw",
            "TicketsWithdrawn",
            &format!("removed {removed} not wanted any more"),
        );
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
