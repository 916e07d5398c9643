//! One ticket, one pod.

use std::collections::BTreeMap;

use korder_api::{Ticket, TicketPhase};
use kube::ResourceExt as _;

use crate::Change;

/// Watches that no ticket goes from one pod to another without having been free between, and that no pod has two
/// tickets at a time.
#[derive(Debug, Default)]
pub struct Ownership {
    /// Uid of the holder, by uid of the ticket.
    holders: BTreeMap<String, String>,
    /// How often a ticket was given away.
    claims: usize,
    objections: Vec<String>,
}

impl Ownership {
    /// Takes in the next change.
    pub fn see(&mut self, change: Change, ticket: &Ticket) {
        let uid = ticket.uid().unwrap_or_default();
        let holder = Self::holder(ticket).filter(|_| change != Change::Deleted);
        let before = self.holders.get(&uid).cloned();
        if before == holder {
            return;
        }
        let name = ticket.name_any();
        let version = ticket.resource_version().unwrap_or_default();
        self.holders.remove(&uid);
        let Some(holder) = holder else { return };
        self.claims += 1;
        if let Some(before) = before {
            self.objections.push(format!(
                "at version {version} ticket `{name}` went from pod {before} to pod {holder} without having been free"
            ));
        }
        if self.holders.values().any(|other| *other == holder) {
            self.objections.push(format!("at version {version} pod {holder} got ticket `{name}` and has another one"));
        }
        self.holders.insert(uid, holder);
    }

    fn holder(ticket: &Ticket) -> Option<String> {
        let held = matches!(ticket.phase(), TicketPhase::Claimed | TicketPhase::Used);
        ticket.claim().filter(|_| held).map(|claim| claim.uid.clone())
    }

    /// How often a ticket was given to a pod.
    pub fn claims(&self) -> usize {
        self.claims
    }

    /// What was wrong, in the order in which it happened.
    pub fn objections(&self) -> &[String] {
        &self.objections
    }
}

#[cfg(test)]
mod tests {
    use korder_api::TicketStatus;
    use korder_api::ticket::ClaimRef;

    use super::*;
    use crate::objects::{self, Size};

    fn ticket(uid: &str, phase: TicketPhase, holder: Option<&str>) -> Ticket {
        let mut ticket = objects::ticket(uid, Size::SMALL);
        ticket.metadata.uid = Some(uid.to_owned());
        let claim = |holder: &str| ClaimRef::new("n", holder, holder, jiff::Timestamp::UNIX_EPOCH);
        ticket.status = Some(TicketStatus {
            phase: Some(phase),
            claim_ref: holder.map(claim).map(Box::new),
            ..TicketStatus::default()
        });
        ticket
    }

    fn objections(history: &[Ticket]) -> usize {
        let mut ownership = Ownership::default();
        for ticket in history {
            ownership.see(Change::Modified, ticket);
        }
        ownership.objections().len()
    }

    #[test]
    fn a_ticket_that_was_free_between_may_change_hands() {
        let history = [
            ticket("t", TicketPhase::Claimed, Some("a")),
            ticket("t", TicketPhase::Used, Some("a")),
            ticket("t", TicketPhase::Pending, None),
            ticket("t", TicketPhase::Claimed, Some("b")),
            ticket("u", TicketPhase::Claimed, Some("a")),
        ];
        assert_eq!(objections(&history), 0);
    }

    #[test]
    fn two_owners_of_a_ticket_are_seen() {
        let history = [ticket("t", TicketPhase::Claimed, Some("a")), ticket("t", TicketPhase::Claimed, Some("b"))];
        assert_eq!(objections(&history), 1);
    }

    #[test]
    fn two_tickets_of_a_pod_are_seen_unless_one_is_gone() {
        let (t, u) = (ticket("t", TicketPhase::Used, Some("a")), ticket("u", TicketPhase::Claimed, Some("a")));
        assert_eq!(objections(&[t.clone(), u.clone()]), 1);
        let mut ownership = Ownership::default();
        ownership.see(Change::Added, &t);
        ownership.see(Change::Deleted, &t);
        ownership.see(Change::Added, &u);
        assert_eq!((ownership.objections().len(), ownership.claims()), (0, 2));
    }
}
