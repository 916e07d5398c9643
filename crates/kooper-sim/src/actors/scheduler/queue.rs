//! The pods that wait for a node.
//!
//! The three places of kube-scheduler's `PriorityQueue`: active pods are tried next, by priority and then by age;
//! backing off, pods wait out the time since they last failed; unschedulable ones wait for something to change. A gated
//! pod is unschedulable whatever changes, until its gates go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::actors::model::Pod;

/// How long a pod stays unschedulable though nothing changes.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// A pod that waits.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) pod: Arc<Pod>,
    /// When it came, or last failed.
    since: Duration,
    /// How often in a row it failed.
    failures: u32,
    /// Whether it last failed by an error rather than for want of room: then it isn't tried before its time.
    by_error: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    Backoff,
    Unschedulable,
}

/// The order in which active pods are tried.
type Rank = (Reverse<i64>, Duration, String);

/// The queue. Times count from the scheduler's start.
#[derive(Debug)]
pub(super) struct Queue {
    initial_backoff: Duration,
    max_backoff: Duration,
    entries: BTreeMap<String, Entry>,
    active: BTreeSet<Rank>,
    /// Until when, and who.
    backoff: BTreeSet<(Duration, String)>,
    /// Since when, and who; without the gated.
    unschedulable: BTreeSet<(Duration, String)>,
}

impl Queue {
    pub(super) fn new(initial_backoff: Duration, max_backoff: Duration) -> Self {
        Self {
            initial_backoff,
            max_backoff,
            entries: BTreeMap::new(),
            active: BTreeSet::new(),
            backoff: BTreeSet::new(),
            unschedulable: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, uid: &str) -> Option<&Entry> {
        self.entries.get(uid)
    }

    /// Takes in a new pod. Whether it is active: a gated one is not.
    pub(super) fn add(&mut self, pod: Arc<Pod>, now: Duration) -> bool {
        let entry = Entry { pod, since: now, failures: 0, by_error: false, place: Place::Unschedulable };
        let uid = entry.pod.uid().to_owned();
        self.entries.insert(uid.clone(), entry);
        self.requeue(&uid, now)
    }

    /// Takes note of a pod's new state, and tries it again if `promising`.
    pub(super) fn update(&mut self, pod: Arc<Pod>, promising: bool, now: Duration) {
        let uid = pod.uid().to_owned();
        if let Some(entry) = self.entries.get_mut(&uid) {
            // A pod's priority can't change, so that its rank stays.
            entry.pod = pod;
            if promising && entry.place == Place::Unschedulable {
                self.requeue(&uid, now);
            }
        }
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.entries.remove(uid)?;
        self.active.remove(&rank(&entry));
        self.backoff.remove(&(self.backoff_end(&entry), uid.to_owned()));
        self.unschedulable.remove(&(entry.since, uid.to_owned()));
        Some(entry)
    }

    /// Takes back a pod that was tried in vain.
    pub(super) fn put_back(&mut self, mut entry: Entry, by_error: bool, now: Duration) {
        entry.failures = if by_error == entry.by_error { entry.failures + 1 } else { 1 };
        entry.by_error = by_error;
        entry.since = now;
        entry.place = Place::Unschedulable;
        let uid = entry.pod.uid().to_owned();
        if !entry.is_gated() {
            self.unschedulable.insert((now, uid.clone()));
        }
        self.entries.insert(uid.clone(), entry);
        if by_error {
            self.requeue(&uid, now);
        }
    }

    /// Something changed: unschedulable pods of at most this priority may fit now.
    pub(super) fn move_all(&mut self, at_most: i64, now: Duration) {
        let may = |uid: &&String| self.entries[*uid].pod.spec.priority <= at_most;
        let uids: Vec<String> = self.unschedulable.iter().map(|(_, uid)| uid).filter(may).cloned().collect();
        for uid in uids {
            self.requeue(&uid, now);
        }
    }

    /// The next pod to try. If none is active, one that backs off for want of room is tried early.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Entry> {
        self.flush(now);
        let uid = match self.active.first() {
            Some((_, _, uid)) => uid.clone(),
            None => self.backoff.iter().map(|(_, uid)| uid).find(|uid| !self.entries[*uid].by_error)?.clone(),
        };
        self.remove(&uid)
    }

    /// When there will be something to try, if nothing changes; None if there won't.
    pub(super) fn next_time(&self) -> Option<Duration> {
        let early = |uid: &String| !self.entries[uid].by_error;
        if !self.active.is_empty() || self.backoff.iter().any(|(_, uid)| early(uid)) {
            return Some(Duration::ZERO);
        }
        let backoff = self.backoff.first().map(|(time, _)| *time);
        let longest = self.unschedulable.first().map(|(since, _)| *since + LONGEST_WAIT);
        backoff.into_iter().chain(longest).min()
    }

    fn flush(&mut self, now: Duration) {
        while let Some((time, uid)) = self.backoff.first().cloned().filter(|(time, _)| *time <= now) {
            self.backoff.remove(&(time, uid.clone()));
            self.activate(&uid);
        }
        while let Some((_, uid)) = self.unschedulable.first().filter(|(since, _)| *since + LONGEST_WAIT <= now).cloned()
        {
            self.requeue(&uid, now);
        }
    }

    /// Moves a pod out of the unschedulable ones, unless it is gated. Whether it is active then.
    fn requeue(&mut self, uid: &str, now: Duration) -> bool {
        let Some(entry) = self.entries.get(uid) else { return false };
        if entry.is_gated() {
            return false;
        }
        let end = self.backoff_end(entry);
        self.unschedulable.remove(&(entry.since, uid.to_owned()));
        if end > now {
            self.backoff.insert((end, uid.to_owned()));
            self.entries.entry(uid.to_owned()).and_modify(|entry| entry.place = Place::Backoff);
            return false;
        }
        self.activate(uid);
        true
    }

    fn activate(&mut self, uid: &str) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.place = Place::Active;
            self.active.insert(rank(entry));
        }
    }

    fn backoff_end(&self, entry: &Entry) -> Duration {
        let doublings = entry.failures.saturating_sub(1);
        let backoff = self.initial_backoff.saturating_mul(2_u32.saturating_pow(doublings)).min(self.max_backoff);
        if entry.failures == 0 { Duration::ZERO } else { entry.since + backoff }
    }
}

impl Entry {
    fn is_gated(&self) -> bool {
        !self.pod.spec.scheduling_gates.is_empty()
    }
}

fn rank(entry: &Entry) -> Rank {
    (Reverse(entry.pod.spec.priority), entry.since, entry.pod.uid().to_owned())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pod(uid: &str, priority: i64, gates: usize) -> Arc<Pod> {
        let gates = vec![json!({"name": "example.com/gate"}); gates];
        let spec = json!({"priority": priority, "schedulingGates": gates});
        Arc::new(Pod::deserialize(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap())
    }

    fn queue() -> Queue {
        Queue::new(SECOND, SECOND * 10)
    }

    fn pop(queue: &mut Queue, now: Duration) -> String {
        queue.pop(now).map_or_else(|| "none".to_owned(), |entry| entry.pod.uid().to_owned())
    }

    #[test]
    fn tries_by_priority_then_age() {
        let mut queue = queue();
        for (uid, priority, since) in [("a", 0, 0), ("b", 5, 2), ("c", 5, 1)] {
            assert!(queue.add(pod(uid, priority, 0), SECOND * since));
        }
        assert_eq!([0; 4].map(|_| pop(&mut queue, SECOND * 3)), ["c", "b", "a", "none"]);
    }

    #[test]
    fn gated_pods_wait_for_their_gates_only() {
        let mut queue = queue();
        assert!(!queue.add(pod("a", 0, 1), SECOND));
        queue.move_all(i64::MAX, SECOND);
        assert_eq!((pop(&mut queue, SECOND * 1000), queue.next_time()), ("none".to_owned(), None));
        queue.update(pod("a", 0, 0), true, SECOND * 2);
        assert_eq!(pop(&mut queue, SECOND * 2), "a");
    }

    #[test]
    fn unschedulable_pods_wait_for_a_change_and_their_backoff() {
        let mut queue = queue();
        queue.add(pod("a", 3, 0), SECOND);
        let entry = queue.pop(SECOND).unwrap();
        queue.put_back(entry, false, SECOND);
        assert_eq!(queue.next_time(), Some(SECOND + LONGEST_WAIT));
        queue.move_all(2, SECOND * 2);
        assert_eq!(pop(&mut queue, SECOND * 2), "none", "the change was for lower priorities");
        queue.move_all(3, SECOND * 2);
        let entry = queue.pop(SECOND * 2).unwrap();
        queue.put_back(entry, false, SECOND * 2);
        queue.move_all(3, SECOND * 2);
        queue.add(pod("b", 0, 0), SECOND * 2);
        assert_eq!(pop(&mut queue, SECOND * 2), "b", "the second backoff takes two seconds");
        assert_eq!(pop(&mut queue, SECOND * 2), "a", "it is tried early, since nothing else is");
        queue.add(pod("c", 0, 0), SECOND * 3);
        let entry = queue.pop(SECOND * 3).unwrap();
        queue.put_back(entry, false, SECOND * 3);
        assert_eq!(pop(&mut queue, SECOND * 3 + LONGEST_WAIT), "c", "in the end it is tried without a change");
    }

    #[test]
    fn errors_wait_out_their_backoff() {
        let mut queue = queue();
        queue.add(pod("a", 0, 0), SECOND);
        let entry = queue.pop(SECOND).unwrap();
        queue.put_back(entry, true, SECOND);
        assert_eq!((pop(&mut queue, SECOND), queue.next_time()), ("none".to_owned(), Some(SECOND * 2)));
        assert_eq!(pop(&mut queue, SECOND * 2), "a");
    }

    #[test]
    fn removed_pods_are_not_tried() {
        let mut queue = queue();
        queue.add(pod("a", 0, 0), SECOND);
        assert!(queue.remove("a").is_some() && queue.remove("a").is_none());
        assert_eq!(pop(&mut queue, SECOND), "none");
    }
}
