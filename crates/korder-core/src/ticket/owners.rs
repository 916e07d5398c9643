//! Which pods are whose: guardians of their tickets, and how a pod names the ticket that it has.

use jiff::{SignedDuration, Timestamp};
use korder_api::{TicketPhase, names};

use super::Ticket;
use crate::pod::Pod;

/// A deletion that is done takes the API server milliseconds.
const DELETED_WITHIN: SignedDuration = SignedDuration::from_secs(1);

/// Whether a pod is the guardian that was made for this very ticket.
pub fn is_guardian_of(pod: &Pod, ticket: &Ticket) -> bool {
    let mut controllers = pod.tickets.iter().filter(|owner| owner.is_controller);
    // An owner reference can be written by anybody, the label of a guardian by nobody else.
    pod.is_guardian() && controllers.any(|owner| Some(&owner.uid) == ticket.metadata.uid.as_ref())
}

/// Whether a pod holds a place for nobody: a guardian of which the garbage collector has taken its ticket off, as when the
/// ticket was removed without what belongs to it. (One that still names a ticket that is gone is removed by the collector.)
pub fn is_orphan(pod: &Pod) -> bool {
    pod.is_guardian() && pod.metadata.deletion_timestamp.is_none() && pod.tickets.is_empty()
}

/// When a guardian is to be deleted again whose deletion was written down and not done. The API server makes two writes of a
/// deletion without grace, and leaves out the second where whoever has asked for it dies in between (`BeforeDelete` in its
/// `registry/rest`, which also says that asking again is what helps). A kubelet that is there makes up for it; no other
/// does. None where it has time left, or a finalizer keeps it.
pub fn deleted_again_from(pod: &Pod) -> Option<Timestamp> {
    let meta = &pod.metadata;
    let since = meta.deletion_timestamp.as_ref().filter(|_| pod.is_guardian())?.0;
    let has_time = meta.deletion_grace_period_seconds.is_some_and(|grace| grace > 0);
    let is_kept = meta.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    (!has_time && !is_kept).then_some(since + DELETED_WITHIN)
}

/// Whether a pod is the one guardian that holds this ticket's place, or is to.
pub fn is_the_guardian_of(pod: &Pod, ticket: &Ticket) -> bool {
    is_guardian_of(pod, ticket) && pod.name() == ticket.guardian_name()
}

/// How a ticket is named on a pod: by its name, and its namespace where that is another one.
pub fn name_for(pod: &Pod, ticket: &Ticket) -> String {
    if ticket.namespace() == pod.namespace() {
        ticket.name().to_owned()
    } else {
        format!("{}/{}", ticket.namespace(), ticket.name())
    }
}

/// Namespace and name of the ticket whose place the pod was let go for.
pub fn named_on(pod: &Pod) -> Option<(&str, &str)> {
    Some(named_by(pod, pod.annotation(names::ANNOTATION_BOUND_TICKET)?))
}

/// Namespace and name of the ticket that is named so on a pod, as [`name_for`] does.
pub(crate) fn named_by<'p>(pod: &'p Pod, name: &'p str) -> (&'p str, &'p str) {
    name.split_once('/').unwrap_or((pod.namespace(), name))
}

/// Whether a pod of a group counts as one that has its ticket: it has one of these, all given to it, in phase `Claimed`, or
/// was let go for one, and can't wait for another with its group.
pub fn has_seat<'a>(pod: &Pod, given: impl IntoIterator<Item = &'a Ticket>) -> bool {
    let claimed = |ticket: &Ticket| ticket.phase() == TicketPhase::Claimed;
    !pod.is_ending() && (named_on(pod).is_some() || given.into_iter().any(claimed))
}
