//! How many tickets an order has, by its strategy and refresh policy.
//!
//! Tickets are numbered through the life of an order (`my-order-1`, `my-order-2`, …): their names are known before they
//! are made, so that a creation whose reply was lost is not made twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use korder_api::order::{RefreshPolicy, StrategyType, TicketTemplate};
use korder_api::{Order, OrderStatus, TicketPhase, names};
use kube::Resource;

use crate::conditions::{self, Progress, Say};
use crate::limits::Refusal;
use crate::ordinals::Ordinals;
use crate::reasons;
use crate::ticket::{self, Ticket};

/// How many tickets one plan makes, and how many it removes, at most. The next plan goes on: so the order can say how far
/// it is, and what is on its way has a bound.
pub const BATCH: usize = 500;

/// How long an order that has so many tickets is left alone after a look at it: each look takes all of them in, and the
/// change of any one calls for a look.
pub fn rest(tickets: usize) -> SignedDuration {
    SignedDuration::from_millis(10) * i32::try_from(tickets / 1000).unwrap_or(i32::MAX)
}

/// What to do for an order. All of it may be done at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Tickets to make.
    pub create: Vec<korder_api::Ticket>,
    /// Unclaimed tickets to remove, each only if it has not changed since.
    pub delete: Vec<Ticket>,
    /// The status, where it has changed.
    pub status: Option<OrderStatus>,
}

impl Plan {
    /// Whether it goes only as far as one plan may, so that there may be more to do.
    pub fn is_cut(&self) -> bool {
        self.create.len() == BATCH || self.delete.len() == BATCH
    }
}

/// Counts of an order's tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    pending: i32,
    ready: i32,
    claimed: i32,
    used: i32,
    expired: i32,
}

/// Whether an order has said that all its tickets are used up and that it makes none again.
pub fn is_complete(order: &Order) -> bool {
    let conditions = order.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.type_ == conditions::READY && condition.reason == reasons::COMPLETE)
}

/// The refresh policy in force.
pub fn refresh_policy(order: &Order) -> RefreshPolicy {
    order.spec.strategy.as_ref().and_then(|strategy| strategy.refresh_policy).unwrap_or_default()
}

/// Whether an ended ticket may be forgotten: its order remembers that it was made and, if that matters, how it ended.
pub fn has_counted(order: &Order, ticket: &Ticket) -> bool {
    let recorded = order.status.as_ref().map_or(0, |status| status.issued);
    if ordinal(order, ticket).is_some_and(|number| number > recorded) {
        return false;
    }
    let remembered = match (refresh_policy(order), ticket.phase()) {
        (RefreshPolicy::OnClaim, TicketPhase::Expired) => closed(order),
        (RefreshPolicy::Never, TicketPhase::Lost) => lost(order),
        _ => return true,
    };
    ordinal(order, ticket).is_none_or(|number| remembered.contains(number))
}

/// The number of a ticket of this order.
pub fn ordinal(order: &Order, ticket: &impl Resource) -> Option<i64> {
    let name = ticket.meta().name.as_deref()?;
    name.strip_prefix(order.metadata.name.as_deref()?)?.strip_prefix('-')?.parse().ok().filter(|&number| number > 0)
}

/// What to do for an order, given the tickets that its uid owns.
pub fn plan(order: &Order, tickets: &[&Ticket], now: Timestamp) -> Plan {
    let Some(template) = &order.spec.template else { return Plan::default() };
    if order.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let policy = refresh_policy(order);
    let replicas = order.spec.replicas.unwrap_or(1);
    let there: Vec<&Ticket> =
        tickets.iter().copied().filter(|ticket| ticket.metadata.deletion_timestamp.is_none()).collect();
    let unclaimed: Vec<&Ticket> = there.iter().copied().filter(|ticket| is_unclaimed(ticket)).collect();
    let live = size(unclaimed.len());
    let before = order.status.as_ref();
    // Numbers that the status does not know yet: a crash may have come between the creations of a plan, which are made
    // side by side, so that some below the highest were never made.
    let recorded = before.map_or(0, |status| status.issued);
    let numbers = tickets.iter().filter_map(|ticket| ordinal(order, *ticket));
    let unrecorded: BTreeSet<i64> = numbers.filter(|&number| number > recorded).collect();
    let issued = recorded + i64::from(size(unrecorded.len()));
    let closed = if policy == RefreshPolicy::OnClaim {
        with_those_in(TicketPhase::Expired, closed(order), order, tickets)
    } else {
        Ordinals::default()
    };
    // A lost ticket is made up for under every policy; the others count only what is there.
    let lost = if policy == RefreshPolicy::Never {
        with_those_in(TicketPhase::Lost, lost(order), order, tickets)
    } else {
        Ordinals::default()
    };
    // One that is being handed over may be given back; and a guardian made now would stand in the scheduler's line
    // before the very pod that takes the place.
    let claimed = size(there.iter().filter(|ticket| ticket.phase() == TicketPhase::Claimed).count());
    let wanted = wanted(policy, replicas, live, issued - i64::from(size(lost.len())), closed.len());

    let paused = order.spec.paused == Some(true);
    let missing = match policy {
        _ if paused => 0,
        RefreshPolicy::Never => wanted - live,
        RefreshPolicy::OnClaim | RefreshPolicy::Always => wanted - live - claimed,
    };
    let missing = usize::try_from(missing).unwrap_or(0);
    let surplus = if paused { 0 } else { usize::try_from(live - wanted).unwrap_or(0) };
    let free = (recorded + 1..).filter(|number| !unrecorded.contains(number));
    let created: Vec<i64> = free.take(missing.min(BATCH)).collect();
    let create = created.iter().map(|&number| make(order, template, number)).collect();
    let delete = if surplus > 0 { least_missed(order, unclaimed, surplus.min(BATCH)) } else { vec![] };

    let issued = unrecorded.into_iter().chain(created).max().unwrap_or(recorded);
    let summary = Summary { order, tickets: &there, policy, wanted, issued, closed, lost };
    let status = summary.status(now);
    Plan { create, delete, status: (before != Some(&status)).then_some(status) }
}

/// What the API server has refused to do for an order, in its words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// To make a ticket.
    Creation(String),
    /// To remove one.
    Deletion(String),
}

impl Refused {
    fn reason(&self) -> &'static str {
        match self {
            Self::Creation(why) if Refusal::of(why) == Refusal::ResourceQuotaExceeded => {
                Refusal::ResourceQuotaExceeded.reason()
            }
            Self::Creation(_) => reasons::TICKET_REFUSED,
            Self::Deletion(_) => reasons::TICKET_NOT_REMOVED,
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Creation(why) => write!(f, "a ticket can't be made: {why}"),
            Self::Deletion(why) => write!(f, "a ticket can't be removed: {why}"),
        }
    }
}

/// The status of an order for which not all of a plan could be done; `tickets` are those that the plan was made for.
pub fn refused(
    order: &Order,
    tickets: &[&Ticket],
    planned: Option<OrderStatus>,
    why: &Refused,
    now: Timestamp,
) -> OrderStatus {
    let before = order.status.clone().unwrap_or_default();
    let planned = planned.unwrap_or_else(|| before.clone());
    // The numbers of tickets that were not made are still free, or `Never` would take them for tickets that were.
    let made: BTreeSet<i64> = tickets.iter().filter_map(|ticket| ordinal(order, *ticket)).collect();
    let next = before.issued + 1;
    let without_gap = made.range(next..).zip(next..).take_while(|&(&number, next)| number == next);
    let issued = without_gap.last().map_or(before.issued, |(_, number)| number);
    let mut status = OrderStatus { issued, conditions: before.conditions, ..planned };
    let ready = Say {
        type_: conditions::READY,
        holds: status.ready >= status.wanted,
        reason: why.reason(),
        message: format!("{} of {} tickets are ready; {why}", status.ready, status.wanted),
    };
    conditions::summarize(&mut status.conditions, ready, Progress::Stalled, order.metadata.generation, now);
    status
}

/// How many unclaimed tickets there should be; `issued` without those that were lost.
fn wanted(policy: RefreshPolicy, replicas: i32, live: i32, issued: i64, closed: usize) -> i32 {
    match policy {
        RefreshPolicy::Always => replicas,
        RefreshPolicy::OnClaim => (replicas - size(closed)).max(0),
        // All that were ever issued count, also those that are gone; what is held stays held, up to `replicas`.
        RefreshPolicy::Never => {
            live.min(replicas) + i32::try_from((i64::from(replicas) - issued).max(0)).unwrap_or(i32::MAX)
        }
    }
}

fn size(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn is_unclaimed(ticket: &Ticket) -> bool {
    matches!(ticket.phase(), TicketPhase::Pending | TicketPhase::Ready)
}

/// So many of these tickets that can best be spared: those without a place, then the youngest.
fn least_missed(order: &Order, mut tickets: Vec<&Ticket>, count: usize) -> Vec<Ticket> {
    tickets.sort_by_cached_key(|ticket| (ticket.phase(), std::cmp::Reverse(ordinal(order, *ticket))));
    tickets.into_iter().take(count).cloned().collect()
}

fn closed(order: &Order) -> Ordinals {
    let closed = order.status.as_ref().and_then(|status| status.closed.as_deref()).unwrap_or_default();
    closed.parse().unwrap_or_default()
}

fn lost(order: &Order) -> Ordinals {
    let lost = order.status.as_ref().and_then(|status| status.lost.as_deref()).unwrap_or_default();
    lost.parse().unwrap_or_default()
}

/// The numbers that are remembered, and those of the tickets that are seen in a phase.
fn with_those_in(phase: TicketPhase, mut remembered: Ordinals, order: &Order, tickets: &[&Ticket]) -> Ordinals {
    for ticket in tickets.iter().filter(|ticket| ticket.phase() == phase) {
        if let Some(number) = ordinal(order, *ticket) {
            remembered.insert(number);
        }
    }
    remembered
}

fn make(order: &Order, template: &TicketTemplate, number: i64) -> korder_api::Ticket {
    let meta = &order.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let given = template.metadata.clone().unwrap_or_default();
    let mut labels = given.labels;
    labels.insert(names::LABEL_ORDER.to_owned(), name.clone());
    let mut ticket = korder_api::Ticket::new(&format!("{name}-{number}"), template.spec.clone());
    ticket.metadata = ObjectMeta {
        namespace: meta.namespace.clone(),
        labels: Some(labels),
        annotations: Some(given.annotations).filter(|annotations: &BTreeMap<_, _>| !annotations.is_empty()),
        owner_references: Some(vec![OwnerReference {
            api_version: names::API_VERSION.to_owned(),
            kind: "Order".to_owned(),
            name,
            uid: meta.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(false),
        }]),
        ..ticket.metadata
    };
    ticket
}

/// What the status is made of.
struct Summary<'a> {
    order: &'a Order,
    tickets: &'a [&'a Ticket],
    policy: RefreshPolicy,
    wanted: i32,
    issued: i64,
    closed: Ordinals,
    lost: Ordinals,
}

impl Summary<'_> {
    fn status(&self, now: Timestamp) -> OrderStatus {
        let order = self.order;
        let before = order.status.clone().unwrap_or_default();
        let Counts { pending, ready, claimed, used, expired } = self.counts();
        let type_ = order.spec.strategy.as_ref().and_then(|strategy| strategy.type_).unwrap_or(StrategyType::OneTime);
        let mut status = OrderStatus {
            observed_generation: order.metadata.generation,
            strategy: Some(format!("{}/{}", type_.as_str(), self.policy.as_str())),
            wanted: self.wanted,
            replicas: pending + ready + claimed + used,
            pending,
            ready,
            claimed,
            used,
            expired: match self.policy {
                RefreshPolicy::OnClaim => size(self.closed.len()),
                RefreshPolicy::Never | RefreshPolicy::Always => expired,
            },
            issued: self.issued,
            closed: Some(self.closed.to_string()).filter(|text| !text.is_empty()),
            lost: Some(self.lost.to_string()).filter(|text| !text.is_empty()),
            label_selector: order.metadata.name.as_ref().map(|name| format!("{}={name}", names::LABEL_ORDER)),
            conditions: before.conditions,
            ..OrderStatus::default()
        };
        let (ready, progress) = self.verdict(ready);
        conditions::summarize(&mut status.conditions, ready, progress, order.metadata.generation, now);
        status
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for ticket in self.tickets {
            match ticket.phase() {
                TicketPhase::Pending => counts.pending += 1,
                TicketPhase::Ready => counts.ready += 1,
                TicketPhase::Claimed => counts.claimed += 1,
                TicketPhase::Used if ticket.status.as_ref().is_some_and(|status| status.finish_time.is_none()) => {
                    counts.used += 1;
                }
                TicketPhase::Expired => counts.expired += 1,
                TicketPhase::Used | TicketPhase::Lost => {}
            }
        }
        counts
    }

    fn verdict(&self, ready: i32) -> (Say<'static>, Progress) {
        let wanted = self.wanted;
        let say = |holds: bool, reason: &'static str, message: String| Say {
            type_: conditions::READY,
            holds,
            reason,
            message,
        };
        if self.order.spec.paused == Some(true) {
            let message = format!("paused: no ticket is made or removed; {ready} of {wanted} are ready");
            return (say(ready >= wanted, reasons::PAUSED, message), Progress::Settled);
        }
        if wanted == 0 && self.policy != RefreshPolicy::Always && self.order.spec.replicas != Some(0) {
            let message = "all tickets are claimed or expired, and none is made again".to_owned();
            return (say(true, reasons::COMPLETE, message), Progress::Settled);
        }
        let count = format!("{ready} of {wanted} tickets are ready");
        if ready >= wanted {
            return (say(true, reasons::ALL_READY, count), Progress::Settled);
        }
        let stuck = |reason: &str| {
            let mut waiting = self.tickets.iter().filter(|ticket| ticket.phase() == TicketPhase::Pending);
            waiting.find(|ticket| ticket::reason(ticket) == Some(reason)).copied()
        };
        for reason in Refusal::ALL.map(Refusal::reason) {
            if let Some(ticket) = stuck(reason) {
                return (say(false, reason, format!("{count}; {}", message(ticket))), Progress::Stalled);
            }
        }
        if let Some(ticket) = stuck(reasons::UNSCHEDULABLE) {
            return (
                say(false, reasons::WAITING_FOR_CAPACITY, format!("{count}; {}", message(ticket))),
                Progress::Reconciling,
            );
        }
        (say(false, reasons::FILLING, count), Progress::Reconciling)
    }
}

fn message(ticket: &Ticket) -> String {
    let conditions = ticket.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.into_iter().find(|condition| condition.type_ == conditions::READY);
    let name = ticket.metadata.name.as_deref().unwrap_or_default();
    format!("`{name}`: {}", ready.map(|condition| condition.message.as_str()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
