//! How many units are made, and which are thrown away.
//!
//! What counts is what is outstanding: units ready and in the making, less those that orders in line wait for. It is
//! brought to the level (a base-stock policy). What is being made is never cancelled: it may be wanted by the time it is
//! ready, and it is paid for.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use korder_api::inventory::UpdatePolicy;
use korder_api::item::ItemType;
use korder_api::{Inventory, Stock, StockPhase};

use super::checks::Checks;
use super::unit;

/// Before the first attempt after a failure; doubled with each further one.
const BACKOFF: SignedDuration = SignedDuration::from_secs(10);
/// The longest time between two attempts.
const MAX_BACKOFF: SignedDuration = SignedDuration::from_mins(10);
/// How many failures in a row are no accident any more.
pub(super) const STALLED_FROM: i32 = 3;

/// What is there, by what can become of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf<'a> {
    /// Ready, of the item as it is now, first to expire first.
    pub(super) current: Vec<&'a Arc<Stock>>,
    /// Ready, of the item as it was before, first to expire first; those may be given to who asks for the inventory.
    pub(super) former: Vec<&'a Arc<Stock>>,
    /// Ready no more: expired, found bad, or of an item that is not to be given out.
    pub(super) spoilt: Vec<(&'a Arc<Stock>, Spoilt)>,
    /// Being made, of the item as it is now.
    pub(super) coming: usize,
    /// Places that those in the making take.
    pub(super) in_work: usize,
    /// Held by orders.
    pub(super) claimed: Vec<&'a Arc<Stock>>,
    /// Could not be made.
    pub(super) failed: Vec<&'a Arc<Stock>>,
    /// Copies that nobody else gets, and that stay for who has them.
    pub(super) outgoing: Vec<&'a Arc<Stock>>,
    /// Being made like new.
    pub(super) resetting: usize,
    /// All, but for those on their way out.
    pub(super) total: usize,
}

/// Why a unit on the shelf goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoilt {
    /// It is too old.
    Expired,
    /// The item has changed.
    Obsolete,
    /// There are more than are wanted.
    Surplus,
    /// It failed to be made.
    Failed,
    /// It failed its checks.
    ProbeFailed,
    /// It is not any more what was made.
    Drifted,
}

impl Spoilt {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Expired, Self::Obsolete, Self::Surplus, Self::Failed, Self::ProbeFailed, Self::Drifted];

    /// As it stands in metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Obsolete => "obsolete",
            Self::Surplus => "surplus",
            Self::Failed => "failed",
            Self::ProbeFailed => "probe-failed",
            Self::Drifted => "drifted",
        }
    }
}

impl<'a> Shelf<'a> {
    pub(super) fn of(
        inventory: &Inventory,
        sku: &str,
        units: &'a [Arc<Stock>],
        checks: Checks<'_>,
        now: Timestamp,
    ) -> Self {
        let mut shelf = Self::default();
        for one in units {
            let is_current = one.spec.sku == sku;
            shelf.in_work += usize::from(unit::is_in_work(one));
            // Of one that failed and is torn down there is only the record.
            shelf.total += usize::from(one.metadata.deletion_timestamp.is_none() && !unit::is_torn_down(one));
            match unit::phase(one) {
                StockPhase::Producing => shelf.coming += usize::from(is_current),
                StockPhase::Resetting => {
                    shelf.resetting += 1;
                    shelf.coming += usize::from(is_current);
                }
                StockPhase::Ready if unit::expires(one, &inventory.spec).is_some_and(|end| end <= now) => {
                    shelf.spoilt.push((one, Spoilt::Expired));
                }
                StockPhase::Ready if checks.fault(one).is_some() => {
                    shelf.spoilt.extend(checks.fault(one).map(|fault| (one, fault)));
                }
                StockPhase::Ready if is_current => shelf.current.push(one),
                StockPhase::Ready if inventory.spec.update_policy == Some(UpdatePolicy::Immediate) => {
                    shelf.spoilt.push((one, Spoilt::Obsolete));
                }
                StockPhase::Ready => shelf.former.push(one),
                StockPhase::Claimed => shelf.claimed.push(one),
                StockPhase::Failed => shelf.failed.push(one),
                StockPhase::Retiring if one.metadata.deletion_timestamp.is_none() => shelf.outgoing.push(one),
                StockPhase::Retiring => {}
            }
        }
        let age = |one: &&Arc<Stock>| (unit::made_in(one).map(|(_, ready)| ready), unit::number(inventory, one));
        shelf.current.sort_by_key(age);
        shelf.former.sort_by_key(age);
        shelf
    }
}

/// How many units are wanted, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// How many are to be ready.
    pub(super) level: usize,
    /// How many orders in line wait for.
    pub(super) backlog: usize,
    /// Whether none is made or thrown away.
    pub(super) paused: bool,
    /// How many in a row could not be made, and when the last of them failed.
    pub(super) failures: (i32, Option<Timestamp>),
}

impl Wanted {
    /// What would have to be outstanding.
    fn outstanding(self, inventory: &Inventory) -> usize {
        match inventory.spec.item.type_.unwrap_or_default() {
            ItemType::Fungible => self.level + self.backlog,
            ItemType::Copy => (self.level + self.backlog).min(1),
        }
    }

    /// How many units are to be made now, when so many are ready after what is given out.
    pub(super) fn to_make(self, inventory: &Inventory, shelf: &Shelf<'_>, ready: usize, now: Timestamp) -> usize {
        if self.paused || self.next_attempt().is_some_and(|next| now < next) {
            return 0;
        }
        let spec = &inventory.spec;
        let count =
            |number: Option<i32>, default| number.map_or(default, |number| usize::try_from(number).unwrap_or(0));
        // After a failure one is tried, not a shelf full.
        let places = if self.failures.0 > 0 { 1 } else { count(spec.parallelism, 1) };
        let missing = self.outstanding(inventory).saturating_sub(ready + shelf.coming);
        let room = count(spec.max_units, usize::MAX).saturating_sub(shelf.total);
        missing.min(places.saturating_sub(shelf.in_work)).min(room)
    }

    /// How many units there are more than wanted, when so many are ready after what is given out.
    pub(super) fn surplus(self, inventory: &Inventory, shelf: &Shelf<'_>, ready: usize) -> usize {
        // One that is made like new may fail: what is ready goes when that is back.
        let coming = shelf.coming.saturating_sub(shelf.resetting);
        (ready + coming).saturating_sub(self.outstanding(inventory)).min(ready)
    }

    /// How many of the former item are not needed any more, when so many of each are ready after what is given out.
    pub(super) fn superseded(self, inventory: &Inventory, ready: usize, former: usize) -> usize {
        former.saturating_sub(self.outstanding(inventory).saturating_sub(ready))
    }

    /// When the next attempt is due after failures.
    pub(super) fn next_attempt(self) -> Option<Timestamp> {
        let (failures, last) = self.failures;
        let doubled = u32::try_from(failures.checked_sub(1)?).ok()?.min(10);
        last?.checked_add((BACKOFF * (1 << doubled)).min(MAX_BACKOFF)).ok()
    }
}
