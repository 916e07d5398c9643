//! Whether a guardian holds all that its ticket reserves.
//!
//! korder makes guardians that request just that. On the way into the cluster a mutating webhook can make one smaller, and
//! later whoever may resize it in place: then it holds too little, its ticket is not ready, and it is replaced. A `LimitRange`
//! with defaults, or a webhook, can make one larger: that is told, since it takes capacity that no pod can use.

use jiff::{SignedDuration, Timestamp};

use super::Ticket;
use crate::pod::Pod;

/// A guardian that is too small is replaced this long after it was made: what has changed it may do so again, at once.
const REPLACED_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Whether a pod runs, is to stay, and requests no less than its ticket reserves.
pub(crate) fn holds(guardian: &Pod, ticket: &Ticket) -> bool {
    guardian.is_running() && ticket.reserved().shortage(&guardian.spec.requests).is_none()
}

/// What a guardian requests too little of, in words.
pub(crate) fn too_small(guardian: &Pod, ticket: &Ticket) -> Option<String> {
    let short = ticket.reserved().shortage(&guardian.spec.requests)?;
    let short = short.told("reserved", "requested");
    Some(format!("guardian `{}` requests less than its ticket reserves ({short})", guardian.name()))
}

/// What a guardian requests too much of, in words.
pub(super) fn too_large(guardian: &Pod, ticket: &Ticket) -> Option<String> {
    let over = guardian.spec.requests.shortage(ticket.reserved())?;
    let over = over.told("requested", "reserved");
    Some(format!("guardian `{}` requests more than its ticket reserves ({over})", guardian.name()))
}

/// From when on a guardian that is too small is replaced.
pub(super) fn replaced_from(guardian: &Pod) -> Timestamp {
    guardian.created().map_or(Timestamp::MIN, |made| made + REPLACED_AFTER)
}

#[cfg(test)]
mod tests;
