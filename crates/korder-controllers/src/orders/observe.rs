//! What is there of an order.

use std::sync::Arc;

use kooper::Key;
use korder_api::Order;

use korder_core::ticket::Ticket;

use crate::caches::{BY_ORDER, Caches, order_value};

/// The order, and the tickets that its uid owns.
pub(super) fn observe(caches: &Caches, key: &Key) -> Option<(Arc<Order>, Vec<Arc<Ticket>>)> {
    let order = caches.orders.get(key)?;
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let tickets = caches.tickets.by_index(BY_ORDER, &order_value(namespace, order.metadata.uid.as_deref()?));
    Some((order, tickets))
}
