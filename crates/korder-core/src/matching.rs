//! Which waiting pod gets which ticket.
//!
//! Pods stand in line: higher priority first, then the older, then by uid. Each in turn takes, of the tickets that it
//! may have and that it fits, the one that it wastes least of, then the one that expires first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use korder_api::{Ticket, TicketPhase, names};

use crate::fit::{Misfit, Needs};
use crate::node::Node;
use crate::pod::Pod;
use crate::resources::Amounts;
use crate::ticket::is_guardian_of;

/// A pod that has lost its place waits this long before it gets another: whatever went wrong may go wrong again, and
/// each try takes a guardian's place from the others.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// Until when a pod is given no ticket, if it has just lost a place.
pub fn rests_until(pod: &Pod, now: Timestamp) -> Option<Timestamp> {
    let lost =
        pod.condition(names::CONDITION_TICKET_BOUND).filter(|condition| condition.reason == REASON_PLACE_LOST)?;
    Some(lost.last_transition_time.as_ref()?.0 + REST).filter(|&until| now < until)
}

/// Why a pod has its ticket no more.
pub const REASON_PLACE_LOST: &str = "PlaceLost";

/// A ticket that can be given away now.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    ticket: &'a Ticket,
    guardian: &'a Pod,
    node: &'a Node,
    reserved: Amounts,
}

impl<'a> Candidate<'a> {
    /// The ticket, if it is `Ready`, and the guardian that holds its place runs on this node and is to stay.
    pub fn new(ticket: &'a Ticket, guardian: &'a Pod, node: &'a Node) -> Option<Self> {
        let free = ticket.phase() == TicketPhase::Ready
            && ticket.metadata.deletion_timestamp.is_none()
            && guardian.is_running()
            && is_guardian_of(guardian, ticket)
            && guardian.spec.node_name.as_deref() == Some(node.name());
        free.then(|| Self { ticket, guardian, node, reserved: Amounts::of_ticket(&ticket.spec.resources) })
    }
}

/// What pods can choose from.
#[derive(Clone, Debug, Default)]
pub struct Shelf<'a> {
    /// Namespace and name of every order.
    orders: BTreeSet<(&'a str, &'a str)>,
    /// Tickets by namespace, then by order, those that expire first in front.
    tickets: BTreeMap<&'a str, BTreeMap<&'a str, Vec<Candidate<'a>>>>,
}

/// What becomes of a waiting pod.
#[derive(Clone, Debug)]
pub enum Verdict<'a> {
    /// It gets this ticket.
    Claim(&'a Ticket),
    /// It waits.
    Wait(Wait),
}

/// Why a pod waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// In one CamelCase word.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

impl<'a> Shelf<'a> {
    /// A shelf of these orders and tickets.
    pub fn new(
        orders: impl IntoIterator<Item = (&'a str, &'a str)>,
        candidates: impl IntoIterator<Item = Candidate<'a>>,
    ) -> Self {
        let mut shelf = Self { orders: orders.into_iter().collect(), tickets: BTreeMap::new() };
        for candidate in candidates {
            let namespace = candidate.ticket.metadata.namespace.as_deref().unwrap_or_default();
            let order = candidate.ticket.order().map(|(name, _)| name).unwrap_or_default();
            shelf.tickets.entry(namespace).or_default().entry(order).or_default().push(candidate);
        }
        for tickets in shelf.tickets.values_mut().flat_map(BTreeMap::values_mut) {
            tickets.sort_by_key(|candidate| (expiration(candidate.ticket), candidate.ticket.metadata.name.as_deref()));
        }
        shelf
    }

    /// Gives tickets to the pods in line; each pod's verdict, in the order of the line.
    pub fn assign<'p>(mut self, mut pods: Vec<&'p Pod>) -> Vec<(&'p Pod, Verdict<'a>)> {
        pods.sort_by_key(|pod| place_in_line(pod));
        pods.into_iter().map(|pod| (pod, self.choose(pod))).collect()
    }

    fn choose(&mut self, pod: &Pod) -> Verdict<'a> {
        if let Some(gate) = pod.spec.scheduling_gates.iter().find(|gate| gate.name != names::GATE) {
            return wait("OtherGate", format!("the scheduling gate `{}` holds the pod back too", gate.name));
        }
        let needs = Needs::of(pod);
        if let Some(misfit) = needs.not_supported_yet() {
            return wait(misfit.reason(), misfit.to_string());
        }
        let order = pod.annotation(names::ANNOTATION_ORDER);
        if let Some(name) = order.filter(|name| !self.orders.contains(&(pod.namespace(), *name))) {
            let message = format!("there is no order `{name}` in namespace `{}`", pod.namespace());
            return wait("OrderNotFound", message);
        }
        let Some(by_order) = self.tickets.get_mut(pod.namespace()) else { return no_ticket(order, None) };
        let mut best: Option<Choice<'a>> = None;
        let mut misfit = None;
        for (&name, tickets) in by_order.iter().filter(|(name, _)| order.is_none_or(|order| order == **name)) {
            for (index, candidate) in tickets.iter().enumerate() {
                if let Some(why) = needs.misfit(&candidate.reserved, candidate.guardian, candidate.node) {
                    misfit.get_or_insert((candidate.ticket, why));
                    continue;
                }
                let choice = Choice {
                    waste: needs.waste(&candidate.reserved),
                    expires: expiration(candidate.ticket),
                    name,
                    index,
                };
                // Those that expire first come first, so that within an order the first without waste is the best.
                let perfect = choice.waste == 0;
                best = Some(best.map_or(choice, |best| best.min(choice)));
                if perfect {
                    break;
                }
            }
        }
        match best.and_then(|Choice { name, index, .. }| Some(by_order.get_mut(name)?.remove(index))) {
            Some(candidate) => Verdict::Claim(candidate.ticket),
            None => no_ticket(order, misfit),
        }
    }
}

/// A ticket that could be taken; the least of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Choice<'a> {
    waste: i64,
    expires: Timestamp,
    name: &'a str,
    index: usize,
}

fn expiration(ticket: &Ticket) -> Timestamp {
    let time = ticket.status.as_ref().and_then(|status| status.expiration_time.as_ref());
    time.map_or(Timestamp::MAX, |time| time.0)
}

/// The order of pods in line; the least is first.
fn place_in_line(pod: &Pod) -> (std::cmp::Reverse<i32>, Option<Timestamp>, &str) {
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (std::cmp::Reverse(pod.spec.priority.unwrap_or(0)), created, pod.uid())
}

fn wait<'a>(reason: &'static str, message: String) -> Verdict<'a> {
    Verdict::Wait(Wait { reason, message })
}

fn no_ticket<'a>(order: Option<&str>, misfit: Option<(&Ticket, Misfit)>) -> Verdict<'a> {
    let whose = order.map_or_else(|| "any order".to_owned(), |name| format!("order `{name}`"));
    match misfit {
        None => wait("NoTicketReady", format!("no ticket of {whose} is ready")),
        Some((ticket, misfit)) => {
            let name = ticket.metadata.name.as_deref().unwrap_or_default();
            wait(misfit.reason(), format!("no ready ticket of {whose} fits; `{name}`: {misfit}"))
        }
    }
}

#[cfg(test)]
mod tests;
