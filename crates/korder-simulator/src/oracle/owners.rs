//! Whose the tickets are.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use korder_api::TicketPhase;
use korder_core::ticket::Ticket;

use super::record::{Change, Record};
use crate::world::is_controllers;

/// How long two leaders at once may have given one pod two tickets, before one of them gives its own back.
const OVERLAP: SignedDuration = SignedDuration::from_secs(90);

/// No ticket ever has two owners, no pod two tickets, and no ticket is taken from the pod that has it.
#[derive(Default)]
struct Owners {
    /// By ticket uid: its pod's uid, and whether the pod has the place.
    owner: BTreeMap<String, (String, bool)>,
    /// The pods that have two tickets, and since when.
    doubled: BTreeMap<String, Timestamp>,
    violations: Vec<String>,
}

/// Judges a history; where there were two leaders, a pod may have two tickets for a while, though never two places.
pub(super) fn judge(history: &[Record], two_leaders: bool) -> Vec<String> {
    let mut owners = Owners::default();
    for record in history {
        if let Change::Ticket(before, after) = &record.change {
            owners.observe(record, before.as_deref(), after.as_deref(), two_leaders);
        }
    }
    owners.violations
}

impl Owners {
    fn observe(&mut self, record: &Record, before: Option<&Ticket>, after: Option<&Ticket>, two_leaders: bool) {
        let (write, ticket) = (&record.write, record.write.uid().to_owned());
        let (revision, name) = (write.revision, &write.name);
        let has_place = |ticket: &Ticket| ticket.phase() == TicketPhase::Used;
        if after.is_none() && is_controllers(&write.actor) && before.is_some_and(is_somebodys) {
            self.violations.push(format!("write {revision}: ticket `{name}` was removed while a pod had it"));
        }
        let owner = after.and_then(|ticket| Some((ticket.claim()?.uid.clone(), has_place(ticket))));
        let had = match owner.clone() {
            Some(owner) => self.owner.insert(ticket, owner),
            None => self.owner.remove(&ticket),
        };
        self.settle(write.time);
        let Some((pod, _)) = owner else { return };
        if had.is_some_and(|(before, _)| before != pod) {
            self.violations.push(format!("write {revision}: ticket `{name}` passed from one pod to another"));
        }
        let others = self.owner.values().filter(|(owner, _)| *owner == pod);
        let (count, places) = (others.clone().count(), others.filter(|(_, has_place)| *has_place).count());
        if count > 1 && (!two_leaders || places > 1) {
            self.violations.push(format!("write {revision}: the pod of ticket `{name}` has another ticket too"));
        }
        if count > 1 {
            self.doubled.entry(pod).or_insert(write.time);
        }
    }

    /// Who has but one ticket again.
    fn settle(&mut self, now: Timestamp) {
        let Self { owner, doubled, violations } = self;
        doubled.retain(|pod, since| {
            let late = now.duration_since(*since) > OVERLAP;
            if late {
                violations.push(format!("pod {pod} had two tickets from {since} on, and still at {now}"));
            }
            !late && owner.values().filter(|(owner, _)| owner == pod).count() > 1
        });
    }
}

/// Whether a pod is on its way to the ticket's place, or has it.
fn is_somebodys(ticket: &Ticket) -> bool {
    let status = ticket.status.as_ref();
    match ticket.phase() {
        TicketPhase::Claimed => true,
        TicketPhase::Used => status.is_some_and(|status| status.finish_time.is_none()),
        TicketPhase::Pending | TicketPhase::Ready | TicketPhase::Expired | TicketPhase::Lost => false,
    }
}
