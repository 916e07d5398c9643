//! Everything that is audited, over all of a cluster's history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use korder_api::{Order, Ticket, TicketPhase, names};
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use super::{Capacity, Conditions, Ownership};
use crate::Change;

/// Judges a cluster by what its API tells, and by nothing else.
#[derive(Debug, Default)]
pub struct Auditor {
    ownership: Ownership,
    capacity: Capacity,
    conditions: Conditions,
    /// Uids of the orders and tickets that are there.
    there: BTreeMap<String, String>,
    /// Guardians that are there, and the uids of their tickets.
    guardians: BTreeMap<String, Option<String>>,
    /// Name of the ticket and of its node, by the uid of the pod that has used it.
    used: BTreeMap<String, (String, Option<String>)>,
    /// Where each claimant was bound, by uid.
    bound: BTreeMap<String, String>,
    changes: u64,
    /// When, and of what.
    last_change: Option<(Timestamp, String)>,
}

/// What an [`Auditor`] has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Changes of orders, tickets and pods that it saw; those of korder's own programs left out.
    pub changes: u64,
    /// How often a ticket was given to a pod.
    pub claims: usize,
    /// How many pods were bound by a ticket.
    pub handed_over: usize,
    /// Guardians that are there still.
    pub guardians: usize,
    /// Seconds since the last change of an order, a ticket or a pod.
    pub quiet_seconds: i64,
    /// What that was.
    pub last_change: String,
    /// What was wrong.
    pub objections: Vec<String>,
}

impl Auditor {
    /// Takes in the next change of a node.
    pub fn see_node(&mut self, change: Change, node: &Node) {
        self.capacity.see_node(change, node);
    }

    /// Takes in the next change of an order.
    pub fn see_order(&mut self, change: Change, order: &Order, now: Timestamp) {
        self.note(change, order, now);
        self.keep(change, order.uid(), order.name_any());
        self.conditions.see(order);
    }

    /// Takes in the next change of a ticket.
    pub fn see_ticket(&mut self, change: Change, ticket: &Ticket, now: Timestamp) {
        self.note(change, ticket, now);
        self.keep(change, ticket.uid(), ticket.name_any());
        self.conditions.see(ticket);
        self.ownership.see(change, ticket);
        if let Some(claim) = ticket.claim().filter(|_| ticket.phase() == TicketPhase::Used) {
            let node = ticket.status.as_ref().and_then(|status| status.node_name.clone());
            self.used.insert(claim.uid.clone(), (ticket.name_any(), node));
        }
    }

    /// Takes in the next change of a pod.
    pub fn see_pod(&mut self, change: Change, pod: &Pod, now: Timestamp) {
        // The readiness of korder's own programs is no news of tickets.
        if pod.namespace().as_deref() != Some(names::SYSTEM_NAMESPACE) {
            self.note(change, pod, now);
        }
        self.capacity.see(change, pod);
        let uid = pod.uid().unwrap_or_default();
        if pod.labels().get(names::LABEL_ROLE).is_some_and(|role| role == names::ROLE_GUARDIAN) {
            match change {
                Change::Deleted => drop(self.guardians.remove(&uid)),
                Change::Added | Change::Modified => {
                    let ticket = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
                    self.guardians.insert(uid, ticket.map(|owner| owner.uid.clone()));
                }
            }
        } else if pod.annotations().contains_key(names::ANNOTATION_BOUND_TICKET)
            && let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone())
        {
            self.bound.insert(uid, node);
        }
    }

    fn note<K: kube::Resource<DynamicType = ()>>(&mut self, change: Change, object: &K, now: Timestamp) {
        self.changes += 1;
        self.last_change = Some((now, format!("{} `{}` was {change:?}", K::kind(&()), object.name_any())));
    }

    fn keep(&mut self, change: Change, uid: Option<String>, name: String) {
        let uid = uid.unwrap_or_default();
        match change {
            Change::Deleted => drop(self.there.remove(&uid)),
            Change::Added | Change::Modified => drop(self.there.insert(uid, name)),
        }
    }

    /// What was found. To be asked when the cluster has come to rest: what only looks wrong in between counts too.
    pub fn report(&self, now: Timestamp) -> Report {
        let all = [self.ownership.objections(), self.capacity.objections(), self.conditions.objections()];
        let mut objections = all.concat();
        for (pod, (ticket, node)) in &self.used {
            let place = self.bound.get(pod);
            if place.is_some() && place != node.as_ref() {
                objections.push(format!("ticket `{ticket}` is on {node:?}, and its pod {pod} was bound to {place:?}"));
            }
        }
        for (guardian, ticket) in &self.guardians {
            if ticket.as_ref().is_none_or(|ticket| !self.there.contains_key(ticket)) {
                objections.push(format!("guardian {guardian} holds a place for no ticket"));
            }
        }
        Report {
            changes: self.changes,
            claims: self.ownership.claims(),
            handed_over: self.used.len(),
            guardians: self.guardians.len(),
            quiet_seconds: self.last_change.as_ref().map_or(0, |(last, _)| now.duration_since(*last).as_secs()),
            last_change: self.last_change.as_ref().map(|(_, what)| what.clone()).unwrap_or_default(),
            objections,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use korder_api::TicketStatus;
    use korder_api::ticket::ClaimRef;

    use super::*;
    use crate::objects::{self, Size};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn used(pod: &str, node: &str) -> Ticket {
        let mut ticket = objects::ticket("t", Size::SMALL);
        ticket.metadata.uid = Some("t".to_owned());
        ticket.status = Some(TicketStatus {
            phase: Some(TicketPhase::Used),
            claim_ref: Some(Box::new(ClaimRef::new("n", pod, pod, Timestamp::UNIX_EPOCH))),
            node_name: Some(node.to_owned()),
            ..TicketStatus::default()
        });
        ticket
    }

    fn bound(node: &str) -> Pod {
        let mut pod = objects::claimant("p", "o", Size::SMALL);
        pod.metadata.uid = Some("p".to_owned());
        pod.annotations_mut().insert(names::ANNOTATION_BOUND_TICKET.to_owned(), "t".to_owned());
        pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
        pod
    }

    fn misplaced(node: &str) -> usize {
        let mut auditor = Auditor::default();
        auditor.see_pod(Change::Modified, &bound(node), at(1));
        auditor.see_ticket(Change::Modified, &used("p", "node-1"), at(2));
        let report = auditor.report(at(9));
        assert_eq!((report.changes, report.handed_over, report.quiet_seconds), (2, 1, 7));
        report.objections.iter().filter(|objection| objection.contains("was bound to")).count()
    }

    #[test]
    fn a_pod_belongs_where_its_ticket_is() {
        assert_eq!(misplaced("node-1"), 0);
        assert_eq!(misplaced("node-2"), 1);
    }

    #[test]
    fn a_guardian_without_a_ticket_is_an_orphan() {
        let mut guardian = objects::pod("g", Size::SMALL);
        guardian.labels_mut().insert(names::LABEL_ROLE.to_owned(), names::ROLE_GUARDIAN.to_owned());
        let owner = OwnerReference { uid: "t".to_owned(), controller: Some(true), ..OwnerReference::default() };
        guardian.owner_references_mut().push(owner);
        let mut auditor = Auditor::default();
        auditor.see_pod(Change::Added, &guardian, at(1));
        let orphans = |auditor: &Auditor| {
            let objections = auditor.report(at(3)).objections;
            objections.iter().filter(|objection| objection.contains("for no ticket")).count()
        };
        assert_eq!(orphans(&auditor), 1);
        auditor.see_ticket(Change::Added, &used("p", "node-1"), at(1));
        assert_eq!(orphans(&auditor), 0);
    }
}
