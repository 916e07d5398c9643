//! Batches of two leaders at once that overlap on one node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kooper_sim::Write;
use korder_api::names;
use korder_core::handover::promised_ticket;
use korder_core::pod::Pod;

use super::record::Change;
use crate::world::is_controllers;

/// Pods that were let go by one leader while a pod that another leader had nominated to the same node had its guardian
/// there still: neither knew of the other's batch, and the scheduler counts that pod and its guardian both.
///
/// Leaders can't shut each other out of a node without a lock; a single leader never overlaps with itself.
#[derive(Default)]
pub(super) struct Overlaps {
    /// By pod uid.
    nominated: BTreeMap<String, Promise>,
    /// By pod uid, those that are let go and not placed.
    let_go: BTreeMap<String, Promise>,
    /// By uid of a guardian that holds its place, the name of its ticket.
    guarded: BTreeMap<String, String>,
    /// The pods, by uid, and the names of the tickets whose places this may have cost them.
    cost: BTreeSet<(String, String)>,
}

/// What a leader has done for a pod.
struct Promise {
    node: String,
    ticket: String,
    by: Arc<str>,
}

impl Overlaps {
    /// Whether this may have cost the pod the place that it was let go for.
    pub(super) fn cost(&self, pod: &Pod) -> bool {
        let ticket = pod.annotation(names::ANNOTATION_BOUND_TICKET);
        ticket.is_some_and(|ticket| self.cost.contains(&(pod.uid().to_owned(), ticket.to_owned())))
    }

    pub(super) fn observe(&mut self, write: &Write, change: &Change) {
        let Change::Pod(before, after) = change else { return };
        let uid = write.uid();
        match after.as_deref() {
            Some(pod) if pod.is_guardian() => {
                let ticket = pod.label(names::LABEL_TICKET).filter(|_| !pod.has_ended());
                self.guarded.remove(uid);
                self.guarded.extend(ticket.map(|ticket| (uid.to_owned(), ticket.to_owned())));
            }
            Some(pod) if pod.spec.node_name.is_none() => self.observe_waiting(write, before.as_deref(), pod),
            _ => {
                self.guarded.remove(uid);
                self.nominated.remove(uid);
                self.let_go.remove(uid);
            }
        }
        let counted = |pod: &str, one: &Promise| {
            let mut others = self.nominated.iter().filter(|(other, there)| *other != pod && there.node == one.node);
            others.any(|(_, there)| there.by != one.by && self.guarded.values().any(|ticket| *ticket == there.ticket))
        };
        let overlapping = self.let_go.iter().filter(|(pod, one)| counted(pod, one));
        self.cost.extend(overlapping.map(|(pod, one)| (pod.clone(), one.ticket.clone())));
    }

    fn observe_waiting(&mut self, write: &Write, before: Option<&Pod>, pod: &Pod) {
        let (uid, by) = (pod.uid(), &write.actor);
        let place = |pod: &Pod| Some((pod.status.nominated_node_name.clone()?, promised_ticket(pod)?.1.to_owned()));
        match place(pod) {
            None => drop(self.nominated.remove(uid)),
            promised if before.and_then(place) == promised => {}
            Some((node, ticket)) => {
                self.nominated.insert(uid.to_owned(), Promise { node, ticket, by: Arc::clone(by) });
            }
        }
        let let_go = |pod: &Pod| pod.annotation(names::ANNOTATION_BOUND_TICKET).map(str::to_owned);
        match (let_go(pod), &pod.status.nominated_node_name) {
            (None, _) => drop(self.let_go.remove(uid)),
            (ticket, _) if before.and_then(let_go) == ticket => {}
            (Some(ticket), Some(node)) if is_controllers(by) => {
                self.let_go.insert(uid.to_owned(), Promise { node: node.clone(), ticket, by: Arc::clone(by) });
            }
            _ => {}
        }
    }
}
