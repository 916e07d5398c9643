//! What an inventory says of itself.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use korder_api::item::ItemType;
use korder_api::{Inventory, InventoryStatus, Stock, StockPhase};

use super::request::in_words;
use super::serving::Left;
use super::supply::{STALLED_FROM, Shelf, Spoilt};
use super::{Memory, Plan, unit};
use crate::conditions::{self, Progress, Say};
use crate::level::{Level, Limit};
use crate::reasons;

/// Attempts in a row that failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    pub(super) count: i32,
    pub(super) last: Option<Timestamp>,
    /// Why the last one did, where that is still to be seen.
    message: Option<String>,
}

/// The attempts in a row at this item that failed: those that the status tells and those since.
///
/// Times have seconds only: of several that fail in one second, in two looks, one may be missed, which makes the next attempt
/// come a little sooner.
pub(super) fn failures(inventory: &Inventory, shelf: &Shelf<'_>, sku: &str, now: Timestamp) -> Failures {
    // An item that was changed may be mended: it is tried at once.
    let before = inventory.status.as_ref().filter(|status| status.sku.as_deref() == Some(sku));
    // By a clock that was set back since, nothing has happened later than now.
    let told = before.and_then(|status| status.last_failure_time.as_ref()).map(|time| time.0.min(now));
    let succeeded =
        shelf.current.iter().chain(&shelf.claimed).filter_map(|one| unit::made_in(one).map(|(_, ready)| ready)).max();
    let mut count = before.and_then(|status| status.failures).unwrap_or(0);
    let (mut last, mut message) = (told, None);
    for one in shelf.failed.iter().filter(|one| one.spec.sku == sku && !unit::was_made(one)) {
        let Some((failed, why)) = unit::failure(one) else { continue };
        if told.is_none_or(|told| failed > told) {
            count = count.saturating_add(1);
        }
        if last.is_none_or(|last| failed >= last) {
            last = Some(failed.min(now));
            message = Some(format!("`{}`: {why}", unit::name(one)));
        }
    }
    if succeeded.is_some_and(|succeeded| last.is_none_or(|last| succeeded >= last)) {
        return Failures { count: 0, last, message: None };
    }
    Failures { count, last, message }
}

/// What the status of an inventory is made of.
pub(super) struct Summary<'s, 'a> {
    pub(super) inventory: &'s Inventory,
    pub(super) shelf: &'s Shelf<'a>,
    pub(super) left: &'s Left<'a>,
    pub(super) level: Option<Level>,
    /// All units, whatever becomes of them.
    pub(super) units: &'s [Arc<Stock>],
    /// How many are to be ready.
    pub(super) wanted: u32,
    pub(super) failures: Failures,
    pub(super) deleted: bool,
    pub(super) sku: &'s str,
    /// How many units fail their checks, and of how many, where the probe is not believed.
    pub(super) suspect: Option<(usize, usize)>,
}

impl Summary<'_, '_> {
    pub(super) fn status(&self, memory: &mut Memory, now: Timestamp) -> InventoryStatus {
        let before = self.inventory.status.clone().unwrap_or_default();
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let served =
            self.shelf.current.len() - self.left.current.len() + self.shelf.former.len() - self.left.former.len();
        let ready = count(self.left.current.len() + self.left.former.len());
        let mut status = InventoryStatus {
            observed_generation: self.inventory.metadata.generation,
            sku: Some(self.sku.to_owned()),
            ready,
            producing: count(self.shelf.coming - self.shelf.resetting.min(self.shelf.coming)),
            claimed: count(self.shelf.claimed.len() + served),
            resetting: count(self.shelf.resetting),
            waiting: count(self.left.waiting),
            level: Some(i32::try_from(self.wanted).unwrap_or(i32::MAX)),
            fill: memory.fill().map(|percent| format!("{percent}%")),
            lead_time_p95: memory.lead_p95().map(|lead| in_words(lead.try_into().unwrap_or_default())),
            reason: Some(self.reason()),
            issued: before.issued.max(memory.issued()),
            failures: Some(self.failures.count).filter(|count| *count > 0),
            last_failure_time: self.failures.last.map(Time),
            level_state: memory.due_to_save(now).or(before.level_state),
            conditions: before.conditions,
        };
        self.beside(&mut status.conditions, now);
        let (say, progress) = self.verdict(ready);
        conditions::summarize(&mut status.conditions, say, progress, self.inventory.metadata.generation, now);
        status
    }

    /// Whether no more than one unit is ever wanted, whatever demand would ask for.
    fn is_copy(&self) -> bool {
        self.inventory.spec.item.type_ == Some(ItemType::Copy)
    }

    fn suspect(&self) -> Option<Say<'static>> {
        let (failing, checked) = self.suspect?;
        let message = format!(
            "{failing} of {checked} units fail their checks, which is more than half: rather the probe is broken, and none goes for \
             that; mend the probe, or delete the units that are bad"
        );
        Some(Say { type_: conditions::PROBE_SUSPECT, holds: true, reason: reasons::PROBE_SUSPECT, message })
    }

    fn reason(&self) -> String {
        match (&self.level, self.inventory.spec.replicas) {
            (Some(level), _) if self.is_copy() && level.units > 0 => "one copy serves all orders".to_owned(),
            (Some(level), _) => level.reason.clone(),
            (None, Some(fixed)) => format!("replicas: {fixed}"),
            (None, None) => String::new(),
        }
    }

    fn verdict(&self, ready: i32) -> (Say<'static>, Progress) {
        let level = i32::try_from(self.wanted).unwrap_or(i32::MAX);
        let full = ready >= level && self.left.waiting == 0;
        let mut message = format!("{ready} of {level} are ready");
        if self.left.waiting > 0 {
            message = format!("{message}, {} in line", orders(self.left.waiting));
        }
        let say = |holds: bool, reason: &'static str, message: String| Say {
            type_: conditions::READY,
            holds,
            reason,
            message,
        };
        if self.deleted {
            let (held, left) = (self.shelf.claimed.len(), self.units.len());
            let message = format!("being deleted; {left} units are left, {held} of them held by orders");
            return (say(false, reasons::DELETING, message), Progress::Reconciling);
        }
        if self.inventory.spec.paused == Some(true) {
            return (say(full, reasons::PAUSED, format!("paused; {message}")), Progress::Settled);
        }
        if self.failures.count > 0 {
            let times = if self.failures.count == 1 {
                "once".to_owned()
            } else {
                format!("{} times in a row", self.failures.count)
            };
            let why = self.failures.message.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
            let message = format!("{message}; production failed {times}{why}");
            let progress = if self.failures.count >= STALLED_FROM { Progress::Stalled } else { Progress::Reconciling };
            return (say(full, reasons::PRODUCTION_FAILED, message), progress);
        }
        if full {
            return (say(true, reasons::STOCKED, message), Progress::Settled);
        }
        if let Some((since, oldest)) = self.oldest_in_the_making() {
            message = format!("{message}; `{oldest}` is in the making since {since}");
        }
        if self.shelf.resetting > 0 {
            message = format!("{message}; {} made like new", are(self.shelf.resetting));
        }
        let most = self.inventory.spec.max_units.and_then(|most| usize::try_from(most).ok());
        if let Some(most) = most.filter(|most| self.shelf.total >= *most) {
            message = format!("{message}; there may be no more (maxUnits is {most})");
        }
        (say(false, reasons::REPLENISHING, message), Progress::Reconciling)
    }

    /// What holds beside the summary, for as long as it does.
    fn beside(&self, conditions: &mut Vec<Condition>, now: Timestamp) {
        let limit = self.level.as_ref().and_then(|level| Some((level.limit?, &level.reason)));
        let limited = limit.filter(|_| !self.deleted && !self.is_copy()).map(|(limit, why)| {
            let reason = match limit {
                Limit::ProductionBound => reasons::PRODUCTION_BOUND,
                Limit::AtMax => reasons::AT_MAX,
            };
            Say { type_: conditions::LIMITED, holds: true, reason, message: why.clone() }
        });
        let obsolete = self.shelf.spoilt.iter().filter(|(_, why)| *why == Spoilt::Obsolete).count();
        let former = self.left.former.len() + obsolete;
        let rolling = (former > 0 && !self.deleted).then(|| Say {
            type_: conditions::ROLLING_OVER,
            holds: true,
            reason: reasons::ITEM_CHANGED,
            message: format!("{former} on the shelf are of the item as it was before"),
        });
        let beside = [
            (conditions::LIMITED, limited),
            (conditions::ROLLING_OVER, rolling),
            (conditions::PROBE_SUSPECT, self.suspect()),
        ];
        for (type_, say) in beside {
            match say {
                Some(say) => conditions::set(conditions, say, self.inventory.metadata.generation, now),
                None => conditions.retain(|condition| condition.type_ != type_),
            }
        }
    }

    /// The unit that was begun first of those that are being made, and when that was.
    fn oldest_in_the_making(&self) -> Option<(Timestamp, &str)> {
        let making = self.units.iter().filter(|one| unit::phase(one) == StockPhase::Producing);
        making.filter_map(|one| Some((one.metadata.creation_timestamp.as_ref()?.0, unit::name(one)))).min()
    }
}

fn orders(count: usize) -> String {
    if count == 1 { "1 order waits".to_owned() } else { format!("{count} orders wait") }
}

fn are(count: usize) -> String {
    if count == 1 { "1 is being".to_owned() } else { format!("{count} are being") }
}

/// Nothing can be kept of an item without identity.
pub(super) fn unusable(inventory: &Inventory, why: &str, now: Timestamp) -> Plan {
    let mut status = InventoryStatus {
        observed_generation: inventory.metadata.generation,
        ..inventory.status.clone().unwrap_or_default()
    };
    let say = Say {
        type_: conditions::READY,
        holds: false,
        reason: reasons::INVALID_ITEM,
        message: format!("the item has no canonical form: {why}"),
    };
    conditions::summarize(&mut status.conditions, say, Progress::Stalled, inventory.metadata.generation, now);
    Plan { status: (inventory.status.as_ref() != Some(&status)).then_some(status), ..Plan::default() }
}
