//! What is ready is given to those in line.

use std::collections::BTreeMap;
use std::sync::Arc;

use korder_api::{Order, Stock};

use super::request;
use super::supply::Shelf;
use super::{BATCH, Keeping, Memory, Serve, full_name};
use crate::stock::line::{self, Waiting};
use crate::stock::probe;

/// What is left when all in line are served.
#[derive(Default)]
pub(super) struct Left<'a> {
    pub(super) current: Vec<&'a Arc<Stock>>,
    pub(super) former: Vec<&'a Arc<Stock>>,
    /// How many units those in line still want.
    pub(super) backlog: usize,
    /// How many orders are in line.
    pub(super) waiting: usize,
}

impl<'a> Keeping<'a> {
    /// Gives what is ready to those in line.
    pub(super) fn serve(
        &mut self,
        orders: &[&'a Arc<Order>],
        shelf: &Shelf<'a>,
        held: &BTreeMap<&'a str, Vec<&'a Arc<Stock>>>,
        memory: &mut Memory,
    ) -> Left<'a> {
        let by_uid: BTreeMap<&str, &Arc<Order>> =
            orders.iter().map(|&order| (order.metadata.uid.as_deref().unwrap_or_default(), order)).collect();
        let holds = |uid: &str| held.get(uid).map_or(0, Vec::len);
        let line = line::in_line(orders.iter().map(|order| waiting(order, holds, self.is_copy())).collect());
        let mut left = Left { current: shelf.current.clone(), former: shelf.former.clone(), backlog: 0, waiting: 0 };
        // First to expire goes first, and the ends are cheaper to take from than the beginnings.
        left.current.reverse();
        left.former.reverse();
        let here = full_name(self.inventory());
        let mut came = Vec::new();
        let mut blocked = false;
        for place in line {
            let order = by_uid[place.uid];
            let mut has: Vec<Arc<Stock>> =
                held.get(place.uid).into_iter().flatten().map(|&one| Arc::clone(one)).collect();
            let mut claim = Vec::new();
            let mut missing = place.needs;
            if self.is_copy() {
                let fresh =
                    |units: &[&'a Arc<Stock>]| units.iter().rev().copied().find(|one| self.checks.is_fresh(one));
                let copy = fresh(&left.current).or_else(|| fresh(&left.former).filter(|_| takes_former(order)));
                if let Some(copy) = copy.filter(|_| !blocked && missing > 0) {
                    has.push(Arc::clone(copy));
                    missing = 0;
                }
            } else {
                while !blocked && missing > 0 {
                    let next = self.take(&mut left.current);
                    let next = next.or_else(|| takes_former(order).then(|| self.take(&mut left.former)).flatten());
                    let Some(next) = next else { break };
                    claim.push(Arc::clone(next));
                    missing -= 1;
                }
            }
            // Nobody is passed: who comes after one that still needs something gets nothing.
            blocked |= missing > 0;
            let is_new = order.status.as_ref().is_none_or(|status| status.queue_sequence.is_none());
            if is_new {
                came.push((order.as_ref(), missing == 0));
            }
            left.backlog += missing;
            left.waiting += usize::from(missing > 0);
            let is_told = has.len() == told(order) && request::waits_at(order, &here);
            if missing == 0 || !claim.is_empty() || is_new || !is_told {
                let sequence = if is_new { memory.next_in_line() } else { 0 };
                self.plan.serve.push(Serve { order: Arc::clone(order), claim, has, completes: missing == 0, sequence });
            }
        }
        memory.take_in(self.inventory(), &came, self.observed.requests, self.now);
        let any_takes_former = by_uid.values().any(|order| takes_former(order));
        let former = left.former.iter().rev().filter(|_| any_takes_former);
        self.ask(left.current.iter().rev().chain(former).copied().collect(), left.backlog);
        left
    }

    /// The next unit that may be given out as it is.
    fn take(&self, units: &mut Vec<&'a Arc<Stock>>) -> Option<&'a Arc<Stock>> {
        let next = units.iter().rposition(|one| self.checks.is_fresh(one))?;
        Some(units.remove(next))
    }

    /// Asks for checks of units that are left while orders wait: of as many as these want.
    fn ask(&mut self, left: Vec<&'a Arc<Stock>>, wanted: usize) {
        let stale = left.into_iter().filter(|one| !self.checks.is_fresh(one));
        let from = stale.filter_map(|one| Some((one, self.checks.may_be_asked_from(one)?)));
        let (now, later): (Vec<_>, Vec<_>) = from.partition(|(_, from)| *from <= self.now);
        let asked = now.iter().take(wanted.min(BATCH)).filter(|(one, _)| !probe::is_requested(one));
        self.plan.ask.extend(asked.map(|(one, _)| Arc::clone(one)));
        if wanted > now.len() {
            for (_, from) in &later {
                self.again.add(Some(*from));
            }
        }
    }
}

/// Whether an order may have a unit of the item as it was before: it asks for the inventory, not for an item.
fn takes_former(order: &Order) -> bool {
    order.spec.inventory_ref.is_some()
}

/// How many units an order says that it has.
fn told(order: &Order) -> usize {
    let filled = order.status.as_ref().and_then(|status| status.filled.as_deref());
    filled.and_then(|filled| filled.split('/').next()?.parse().ok()).unwrap_or(0)
}

pub(super) fn waiting(order: &Order, holds: impl Fn(&str) -> usize, is_copy: bool) -> Waiting<'_> {
    let uid = order.metadata.uid.as_deref().unwrap_or_default();
    let holds = holds(uid);
    let wants = request::wants(order);
    Waiting {
        namespace: order.metadata.namespace.as_deref().unwrap_or_default(),
        uid,
        priority: order.spec.queue_priority.unwrap_or(0),
        sequence: order.status.as_ref().and_then(|status| status.queue_sequence),
        created: request::created(order),
        version: order.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()),
        needs: if is_copy { wants.min(1) } else { wants.saturating_sub(holds) },
        holds_some: holds > 0,
    }
}
