//! Pods that claim all or nothing, and the tickets that they have.

use std::sync::Arc;

use korder_api::TicketPhase;
use korder_core::ask::Group;
use korder_core::pod::Pod;
use korder_core::ticket::{self, Ticket};

use crate::caches::{BY_CLAIMANT, BY_GROUP, Caches};
use crate::tickets::claimant;

/// How many pods of a group have tickets, or have had and can't wait for another.
pub(super) fn seated(caches: &Caches, group: Group<'_>) -> usize {
    let pods = caches.pods.by_index(BY_GROUP, &group.key());
    pods.iter().filter(|pod| has_seat(caches, pod)).count()
}

/// Whether all pods of a pod's group have tickets; true of one that is in no group.
pub(super) fn is_seated(caches: &Caches, pod: &Pod) -> bool {
    Group::of(pod).is_none_or(|group| seated(caches, group).is_multiple_of(group.size))
}

/// The tickets in phase `Claimed` of the other pods in the group of this one's pod.
pub(super) fn claims_with(caches: &Caches, ticket: &Ticket) -> Vec<Arc<Ticket>> {
    let Some(pod) = claimant(caches, ticket) else { return vec![] };
    let Some(group) = Group::of(&pod) else { return vec![] };
    let pods = caches.pods.by_index(BY_GROUP, &group.key());
    let mut claims: Vec<_> = pods.iter().flat_map(|pod| caches.tickets.by_index(BY_CLAIMANT, pod.uid())).collect();
    claims.retain(|claim| claim.phase() == TicketPhase::Claimed && claim.metadata.uid != ticket.metadata.uid);
    claims
}

fn has_seat(caches: &Caches, pod: &Pod) -> bool {
    let given = caches.tickets.by_index(BY_CLAIMANT, pod.uid());
    ticket::has_seat(pod, given.iter().map(AsRef::as_ref))
}
