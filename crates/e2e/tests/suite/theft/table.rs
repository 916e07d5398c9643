//! What was played in a run, and what came of it: a row for each way of handing places over.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::ResourceExt as _;

use super::field::{Field, is_running};
use crate::pods::node_of;

/// The rows of this run, in the order in which they ended: tests run beside each other and know nothing of the end.
static ENDED: Mutex<Vec<Ended>> = Mutex::new(Vec::new());

/// A way of handing places over, from its beginning on.
pub(super) struct Row<'a> {
    field: &'a Field<'a>,
    what: String,
    /// Whether places must be lost; else none may.
    loses: bool,
    /// Changes of pods that were seen before.
    before: usize,
}

struct Ended {
    what: String,
    places: usize,
    lost: usize,
    loses: bool,
    /// From the making of a claimant until it was bound, of those that were.
    bound: Times,
    /// The same until it ran.
    ran: Times,
}

/// Shortest first.
struct Times(Vec<Duration>);

impl<'a> Row<'a> {
    /// Of which no place may be lost.
    pub(super) fn keeps(field: &'a Field<'a>, what: String) -> Self {
        Self { field, what, loses: false, before: field.case.pods.log().events().len() }
    }

    /// Of which at least one place must be lost, or the tests can't see thefts.
    pub(super) fn loses(field: &'a Field<'a>, what: String) -> Self {
        Self { loses: true, ..Self::keeps(field, what) }
    }

    /// Writes down what came of it, and judges it.
    pub(super) fn end(self, thefts: &[String]) -> Result<()> {
        let (places, bound, ran) = self.measure();
        let Self { what, loses, field: _, before: _ } = self;
        let (lost, told) = (thefts.len(), what.clone());
        let ended = Ended { what, places, lost, loses, bound, ran };
        ENDED.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
        if loses {
            ensure!(lost > 0, "{told}: none of {places} places was lost: this test can't see thefts");
        } else {
            ensure!(lost == 0, "{told}: {lost} of {places} places were lost:\n{}", thefts.join("\n"));
        }
        Ok(())
    }

    /// How many claimants there were, and how long those that were bound, and ran, took.
    fn measure(&self) -> (usize, Times, Times) {
        let mut made: BTreeMap<String, Instant> = BTreeMap::new();
        let (mut bound, mut ran) = (BTreeMap::new(), BTreeMap::new());
        let log = self.field.case.pods.log();
        for event in &log.events()[self.before..] {
            let pod = &event.object;
            if !pod.name_any().starts_with("claimant-") {
                continue;
            }
            let uid = pod.uid().unwrap_or_default();
            let took = event.seen - *made.entry(uid.clone()).or_insert(event.seen);
            if node_of(pod).is_some() {
                bound.entry(uid.clone()).or_insert(took);
            }
            if is_running(pod) {
                ran.entry(uid).or_insert(took);
            }
        }
        (made.len(), Times::of(bound), Times::of(ran))
    }
}

impl Times {
    fn of(by_uid: BTreeMap<String, Duration>) -> Self {
        let mut times: Vec<Duration> = by_uid.into_values().collect();
        times.sort();
        Self(times)
    }

    /// The least time that so many percent don't exceed.
    fn percentile(&self, percent: usize) -> String {
        let rank = (self.0.len() * percent).div_ceil(100);
        let time = rank.checked_sub(1).and_then(|index| self.0.get(index));
        time.map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f32()))
    }
}

/// Prints the rows, if there are any.
#[expect(clippy::print_stdout, reason = "the program of the tests tells what they have measured")]
pub(crate) fn print() {
    let mut rows = std::mem::take(&mut *ENDED.lock().unwrap_or_else(PoisonError::into_inner));
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|a, b| a.what.cmp(&b.what));
    let line = |cells: [&str; 8]| {
        let [what, places, lost, expected, bound, bound99, ran, ran99] = cells;
        println!("{what:<58} {places:>6} {lost:>4} {expected:>9} {bound:>8} {bound99:>8} {ran:>8} {ran99:>8}");
    };
    println!("Places handed over; times from the making of a pod:");
    line(["", "places", "lost", "expected", "to bound", "p99", "to run", "p99"]);
    for Ended { what, places, lost, loses, bound, ran } in &rows {
        let expected = if *loses { "1 or more" } else { "0" };
        let times = [bound.percentile(50), bound.percentile(99), ran.percentile(50), ran.percentile(99)];
        let [bound, bound99, ran, ran99] = times.each_ref().map(String::as_str);
        line([what, &places.to_string(), &lost.to_string(), expected, bound, bound99, ran, ran99]);
    }
    println!();
}
