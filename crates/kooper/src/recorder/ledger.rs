//! What is to be told, how often it happened, and what was told already. Pure.
//!
//! The budget of an object is that of client-go (`tools/record/events_cache.go`): 25 at once, then one
//! every five minutes. A series is continued as there (`tools/events`) while it recurs within six
//! minutes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as KubeEvent, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::time::Instant;

use crate::recorder::{Event, EventType, Reporter};

/// How many series are known at a time, and the budgets of how many objects (as in client-go). Where there are more, the
/// oldest that were told already are forgotten: what happens now matters more than how often something did.
const CAPACITY: usize = 4096;
/// How many different events of one object are sent at once.
const BURST: u32 = 25;
/// How long it takes until one more may be sent.
const REFILL: Duration = Duration::from_mins(5);
/// A repetition within this time continues the series.
const SERIES: Duration = Duration::from_mins(6);
/// Repetitions are written no more often than this.
const REPEAT: Duration = Duration::from_secs(30);
/// Limits of the API (`pkg/apis/core/validation/events.go`).
const MAX_WORD: usize = 128;
const MAX_NOTE: usize = 1024;
/// 253 for the whole name, less the dot and 16 digits.
const MAX_STEM: usize = 236;

/// What makes events the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeriesKey(Arc<Identity>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Identity {
    object: ObjectKey,
    type_: EventType,
    reason: String,
    action: String,
    note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ObjectKey {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    uid: Option<String>,
}

impl ObjectKey {
    fn of(regarding: &ObjectReference) -> Self {
        Self {
            api_version: regarding.api_version.clone().unwrap_or_default(),
            kind: regarding.kind.clone().unwrap_or_default(),
            namespace: regarding.namespace.clone(),
            name: regarding.name.clone().unwrap_or_default(),
            uid: regarding.uid.clone(),
        }
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version.clone()),
            kind: Some(self.kind.clone()),
            namespace: self.namespace.clone(),
            name: Some(self.name.clone()),
            uid: self.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

#[derive(Debug)]
struct Series {
    first: Timestamp,
    last: Timestamp,
    count: i32,
    noted: Instant,
    /// How much of the count was written, and when; nothing was before the first write.
    written: Option<(i32, Instant)>,
}

#[derive(Debug)]
struct Budget {
    left: u32,
    refilled: Instant,
}

/// What is to be done for a series.
#[derive(Debug)]
pub(crate) enum Work {
    /// Create this event.
    Create(Box<KubeEvent>),
    /// Bring the count of this event up to date.
    Update(Box<KubeEvent>),
    /// Come back after this time.
    Wait(Duration),
    /// Nothing more.
    Nothing,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    series: BTreeMap<SeriesKey, Series>,
    /// By hashes of the objects, of which there may be many.
    budgets: BTreeMap<u64, Budget>,
    dropped: u64,
}

impl Ledger {
    /// Notes an event down. Returns what to send, or `None` if it was dropped.
    pub(crate) fn note(
        &mut self,
        regarding: &ObjectReference,
        event: Event,
        now: Timestamp,
        at: Instant,
    ) -> Option<SeriesKey> {
        let Event { type_, reason, action, note } = event;
        let key = SeriesKey(Arc::new(Identity {
            object: ObjectKey::of(regarding),
            type_,
            reason: cut(reason, MAX_WORD),
            action: cut(action, MAX_WORD),
            note: cut(note, MAX_NOTE),
        }));
        let ended = |series: &Series| series.is_told() && left(series.noted, SERIES, at).is_none();
        if self.series.get(&key).is_some_and(ended) {
            self.series.remove(&key);
        }
        if let Some(series) = self.series.get_mut(&key) {
            series.count = series.count.saturating_add(1);
            series.last = now;
            series.noted = at;
            return Some(key);
        }
        if !self.make_room() || !self.spend(&key.0.object, at) {
            self.dropped += 1;
            return None;
        }
        let series = Series { first: now, last: now, count: 1, noted: at, written: None };
        self.series.insert(key.clone(), series);
        Some(key)
    }

    /// What is to be done for a series now.
    pub(crate) fn due(&self, key: &SeriesKey, reporter: &Reporter, at: Instant) -> Work {
        let Some(series) = self.series.get(key) else { return Work::Nothing };
        let Some((count, written)) = series.written else {
            return Work::Create(Box::new(event(key, series, reporter)));
        };
        if series.count > count {
            return match left(written, REPEAT, at) {
                Some(wait) => Work::Wait(wait),
                None => Work::Update(Box::new(event(key, series, reporter))),
            };
        }
        Work::Nothing
    }

    /// The count that `event` carries was written.
    pub(crate) fn written(&mut self, key: &SeriesKey, event: &KubeEvent, at: Instant) {
        if let Some(series) = self.series.get_mut(key) {
            let count = event.series.as_ref().map_or(1, |series| series.count);
            series.written = Some((count, at));
        }
    }

    /// The series can't be written.
    pub(crate) fn give_up(&mut self, key: &SeriesKey) {
        if let Some(series) = self.series.remove(key) {
            let written = series.written.map_or(0, |(count, _)| count);
            self.dropped += u64::try_from(series.count - written).unwrap_or(0);
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Makes room for one more series. False if all that are known are still to be told.
    fn make_room(&mut self) -> bool {
        if self.series.len() >= CAPACITY {
            let told = self.series.iter().filter(|(_, series)| series.written.is_some());
            for old in oldest(told.map(|(key, series)| (series.noted, key.clone()))) {
                self.series.remove(&old);
            }
        }
        self.series.len() < CAPACITY
    }

    /// Takes one event out of the budget of `object`, if there is one left.
    fn spend(&mut self, object: &ObjectKey, at: Instant) -> bool {
        if self.budgets.len() >= CAPACITY {
            self.budgets.retain(|_, budget| {
                budget.refill(at);
                budget.left < BURST
            });
        }
        if self.budgets.len() >= CAPACITY {
            for old in oldest(self.budgets.iter().map(|(object, budget)| (budget.refilled, *object))) {
                self.budgets.remove(&old);
            }
        }
        let fresh = Budget { left: BURST, refilled: at };
        let budget = self.budgets.entry(hash(object)).or_insert(fresh);
        budget.refill(at);
        let enough = budget.left > 0;
        budget.left = budget.left.saturating_sub(1);
        enough
    }
}

impl Series {
    /// Whether all of it was told.
    fn is_told(&self) -> bool {
        self.written.is_some_and(|(count, _)| count == self.count)
    }
}

/// What to forget where there is too much: so much at once that it is seldom looked for.
fn oldest<T>(all: impl Iterator<Item = (Instant, T)>) -> Vec<T> {
    let mut all: Vec<(Instant, T)> = all.collect();
    all.sort_by_key(|(time, _)| *time);
    all.truncate(all.len().div_ceil(8));
    all.into_iter().map(|(_, one)| one).collect()
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Budget {
    fn refill(&mut self, at: Instant) {
        while self.left < BURST && at.saturating_duration_since(self.refilled) >= REFILL {
            self.left += 1;
            self.refilled += REFILL;
        }
        if self.left >= BURST {
            self.refilled = at;
        }
    }
}

/// What is left of `period` since `start`.
fn left(start: Instant, period: Duration, at: Instant) -> Option<Duration> {
    let left = period.saturating_sub(at.saturating_duration_since(start));
    (!left.is_zero()).then_some(left)
}

fn event(key: &SeriesKey, series: &Series, reporter: &Reporter) -> KubeEvent {
    let Identity { object, type_, reason, action, note } = key.0.as_ref();
    let repeated = series.count > 1;
    KubeEvent {
        metadata: ObjectMeta {
            name: Some(name(key, series.first)),
            namespace: Some(object.namespace.clone().unwrap_or_else(|| "default".into())),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(series.first)),
        regarding: Some(object.reference()),
        type_: Some(type_.as_str().into()),
        reason: Some(reason.clone()),
        action: Some(action.clone()),
        note: Some(note.clone()),
        reporting_controller: Some(reporter.controller.clone()),
        reporting_instance: Some(cut(reporter.instance.clone(), MAX_WORD)),
        series: repeated.then_some(EventSeries { count: series.count, last_observed_time: MicroTime(series.last) }),
        ..KubeEvent::default()
    }
}

/// The name follows from what the event says and when it first did: the same in every run of a
/// simulation, and a create whose answer was lost is not repeated under another name.
fn name(key: &SeriesKey, first: Timestamp) -> String {
    let stem = cut(key.0.object.name.clone(), MAX_STEM);
    format!("{stem}.{:016x}", hash(&(key, first.as_nanosecond())))
}

fn cut(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}

#[cfg(test)]
mod tests;
