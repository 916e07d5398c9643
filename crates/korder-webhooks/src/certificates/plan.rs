//! When certificates are renewed.
//!
//! Each is renewed at two thirds of its life. A new authority is trusted for a while before anything is signed by it,
//! and the old one as long as it lives, so that no API server meets a certificate whose authority it has not heard of.

use jiff::{SignedDuration, Timestamp};

/// How long an authority lives.
pub(super) const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long a serving certificate lives.
pub(super) const SERVING_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How long a new authority is trusted before it signs, where there is another one.
const SETTLING: SignedDuration = SignedDuration::from_hours(24);

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The older one first.
    pub(super) authorities: Vec<Life>,
    pub(super) serving: Option<SeenServing>,
}

/// The serving certificate that is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenServing {
    pub(super) life: Life,
    /// Which authority signed it; none where that is not there.
    pub(super) authority: Option<usize>,
    /// Whether it has the names of the server.
    pub(super) fits: bool,
}

/// What to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// How many of the oldest authorities have ended and are to be dropped.
    pub(super) expired: usize,
    /// Whether to add an authority.
    pub(super) add: bool,
    /// The authority, of those that are then there, that is to sign a new serving certificate.
    pub(super) serve_by: Option<usize>,
    /// When to plan again.
    pub(super) again: Timestamp,
}

impl Life {
    fn renew_at(self) -> Timestamp {
        self.from + (self.from.duration_until(self.to) * 2) / 3
    }
}

/// What to do about the certificates now.
pub(super) fn plan(seen: &Seen, now: Timestamp) -> Plan {
    let expired = seen.authorities.iter().take_while(|life| life.to <= now).count();
    let living = &seen.authorities[expired..];
    let add = living.last().is_none_or(|newest| newest.renew_at() <= now);
    let added = add.then_some(Life { from: now, to: now + AUTHORITY_LIFE });
    let authorities: Vec<Life> = living.iter().copied().chain(added).collect();

    let settled = authorities.iter().rposition(|life| life.from + SETTLING <= now).unwrap_or(0);
    let kept = seen.serving.filter(|serving| {
        serving.fits && serving.authority.is_some_and(|signed_by| signed_by >= expired) && serving.life.renew_at() > now
    });
    let serving_life = kept.map_or(Life { from: now, to: now + SERVING_LIFE }, |serving| serving.life);

    let changes = authorities.iter().flat_map(|life| [life.renew_at(), life.to]).chain([serving_life.renew_at()]);
    Plan {
        expired,
        add,
        serve_by: if kept.is_some() { None } else { Some(settled) },
        again: changes.filter(|change| *change > now).min().unwrap_or(now + SETTLING),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn day(number: i32) -> Timestamp {
        Timestamp::UNIX_EPOCH + DAY * number
    }

    fn life(from: i32, days: i32) -> Life {
        Life { from: day(from), to: day(from + days) }
    }

    fn seen(authorities: &[Life], serving: Life, authority: usize) -> Seen {
        let serving = SeenServing { life: serving, authority: Some(authority), fits: true };
        Seen { authorities: authorities.to_vec(), serving: Some(serving) }
    }

    #[test]
    fn from_nothing_all_is_made() {
        let plan = plan(&Seen::default(), day(0));
        assert_eq!(plan, Plan { expired: 0, add: true, serve_by: Some(0), again: day(60) });
    }

    #[test]
    fn in_the_first_two_thirds_nothing_is_done() {
        let plan = plan(&seen(&[life(0, 365)], life(0, 90), 0), day(59));
        assert_eq!(plan, Plan { expired: 0, add: false, serve_by: None, again: day(60) });
    }

    #[test]
    fn at_two_thirds_the_serving_certificate_is_renewed() {
        let plan = plan(&seen(&[life(0, 365)], life(0, 90), 0), day(60));
        assert_eq!((plan.add, plan.serve_by), (false, Some(0)));
    }

    #[test]
    fn a_new_authority_signs_only_when_it_has_settled() {
        let young = seen(&[life(0, 365), life(244, 365)], life(184, 90), 0);
        assert_eq!(plan(&young, day(244)).serve_by, Some(0));
        let settled = seen(&[life(0, 365), life(243, 365)], life(184, 90), 0);
        assert_eq!(plan(&settled, day(244)).serve_by, Some(1));
    }

    #[test]
    fn an_authority_that_has_ended_goes_and_what_it_signed_is_replaced() {
        let plan = plan(&seen(&[life(0, 365), life(243, 365)], life(330, 90), 0), day(365));
        assert_eq!((plan.expired, plan.add, plan.serve_by), (1, false, Some(0)));
    }

    #[test]
    fn other_names_or_an_unknown_signer_mean_a_new_serving_certificate() {
        let mut other = seen(&[life(0, 365)], life(0, 90), 0);
        other.serving.as_mut().unwrap().fits = false;
        assert_eq!(plan(&other, day(1)).serve_by, Some(0));
        let mut unknown = seen(&[life(0, 365)], life(0, 90), 0);
        unknown.serving.as_mut().unwrap().authority = None;
        assert_eq!(plan(&unknown, day(1)).serve_by, Some(0));
    }
}
