//! What a scheduler knows and decides, without time and requests.
//!
//! The rules are those of kube-scheduler 1.36 (`pkg/scheduler`): `eventhandlers.go` for what a change does,
//! `backend/queue/nominator.go` for nominations, `schedule_one.go` for an attempt.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Entry, Queue};
use crate::actors::amounts::Amounts;
use crate::actors::fit::{Room, obstacle};
use crate::actors::informer::Change;
use crate::actors::model::{Node, Pod};
use crate::hash::Hash;

/// A scheduler's mind.
#[derive(Debug)]
pub(super) struct State {
    name: String,
    seed: u64,
    pub(super) queue: Queue,
    pub(super) nodes: BTreeMap<String, Place>,
    /// Every pod that takes room, by its uid, with its node: bound ones, and those about to be bound.
    pub(super) placed: BTreeMap<String, (String, Arc<Pod>)>,
    /// Of the placed ones, those whose binding is under way or not yet heard of.
    assumed: BTreeSet<String>,
    /// The node that each waiting pod is nominated to, as far as this scheduler knows.
    nominator: BTreeMap<String, String>,
}

/// A node and the room on it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) node: Arc<Node>,
    pub(super) room: Room,
}

impl State {
    pub(super) fn new(name: &str, seed: u64, queue: Queue) -> Self {
        Self {
            name: name.to_owned(),
            seed,
            queue,
            nodes: BTreeMap::new(),
            placed: BTreeMap::new(),
            assumed: BTreeSet::new(),
            nominator: BTreeMap::new(),
        }
    }

    pub(super) fn node_changed(&mut self, change: &Change<Node>, now: Duration) {
        let Some(node) = &change.new else {
            if let Some(old) = &change.old {
                self.nodes.remove(old.name());
                self.queue.move_all(i64::MAX, now);
            }
            return;
        };
        let mut room = Room::of(node);
        for (_, pod) in self.placed.values().filter(|(name, _)| name == node.name()) {
            room.take(pod.requests());
        }
        self.nodes.insert(node.name().to_owned(), Place { node: node.clone(), room });
        let relevant = |node: &Node| (node.spec.clone(), node.metadata.labels.clone(), node.status.clone());
        if change.old.as_ref().is_none_or(|old| relevant(old) != relevant(node)) {
            self.queue.move_all(i64::MAX, now);
        }
    }

    pub(super) fn pod_changed(&mut self, change: &Change<Pod>, now: Duration) {
        match (&change.old, &change.new) {
            (_, Some(new)) if !new.spec.node_name.is_empty() => self.bound_pod_changed(new, now),
            (_, Some(new)) if new.spec.scheduler_name != self.name => {}
            (None, Some(new)) => {
                if self.queue.add(new.clone(), now) {
                    self.nominate(new.uid(), &new.status.nominated_node_name);
                }
            }
            (Some(old), Some(new)) => self.waiting_pod_changed(old, new, now),
            (Some(old), None) => self.pod_gone(old, now),
            (None, None) => {}
        }
    }

    fn bound_pod_changed(&mut self, pod: &Arc<Pod>, now: Duration) {
        let uid = pod.uid();
        self.queue.remove(uid);
        self.nominator.remove(uid);
        self.assumed.remove(uid);
        let was_placed = self.displace(uid);
        if pod.occupies() {
            self.place(pod, &pod.spec.node_name);
        } else if was_placed {
            self.queue.move_all(i64::MAX, now);
        }
    }

    fn waiting_pod_changed(&mut self, old: &Pod, new: &Arc<Pod>, now: Duration) {
        if self.assumed.contains(new.uid()) {
            if new.is_ending() && !old.is_ending() {
                self.forget(new.uid(), now);
            }
            return;
        }
        // A nomination that both versions are silent about is one that this scheduler has just made itself.
        let (before, after) = (&old.status.nominated_node_name, &new.status.nominated_node_name);
        if !(before.is_empty() && after.is_empty()) {
            self.nominate(new.uid(), after);
        }
        self.queue.update(new.clone(), old.spec != new.spec, now);
        if !before.is_empty() && before != after {
            self.queue.move_all(old.spec.priority, now);
        }
    }

    fn pod_gone(&mut self, pod: &Pod, now: Duration) {
        self.queue.remove(pod.uid());
        self.nominator.remove(pod.uid());
        self.assumed.remove(pod.uid());
        if self.displace(pod.uid()) {
            self.queue.move_all(i64::MAX, now);
        } else if !pod.status.nominated_node_name.is_empty() {
            self.queue.move_all(pod.spec.priority, now);
        }
    }

    /// Sets or, with an empty name, clears a nomination.
    pub(super) fn nominate(&mut self, uid: &str, node: &str) {
        if node.is_empty() {
            self.nominator.remove(uid);
        } else {
            self.nominator.insert(uid.to_owned(), node.to_owned());
        }
    }

    /// Waiting pods of lower priority that are nominated to a node.
    pub(super) fn nominated_below(&self, node: &str, priority: i64) -> Vec<Arc<Pod>> {
        let pods = self.nominator.iter().filter(|(_, nominated)| *nominated == node);
        pods.filter_map(|(uid, _)| self.queue.get(uid))
            .map(|entry| entry.pod.clone())
            .filter(|pod| pod.spec.priority < priority)
            .collect()
    }

    /// Counts a pod as bound before it is.
    pub(super) fn assume(&mut self, pod: &Arc<Pod>, node: &str) {
        self.assumed.insert(pod.uid().to_owned());
        self.nominator.remove(pod.uid());
        self.place(pod, node);
    }

    /// Takes an assumption back.
    pub(super) fn forget(&mut self, uid: &str, now: Duration) {
        if self.assumed.remove(uid) && self.displace(uid) {
            self.queue.move_all(i64::MAX, now);
        }
    }

    /// Takes back a pod that could not be scheduled, in the state last heard of; unless it is gone or bound.
    pub(super) fn put_back(
        &mut self,
        mut entry: Entry,
        latest: Option<&Arc<Pod>>,
        by_error: bool,
        now: Duration,
    ) -> bool {
        let Some(latest) = latest.filter(|pod| pod.spec.node_name.is_empty() && pod.uid() == entry.pod.uid()) else {
            return false;
        };
        entry.pod = latest.clone();
        self.queue.put_back(entry, by_error, now);
        true
    }

    fn place(&mut self, pod: &Arc<Pod>, node: &str) {
        self.placed.insert(pod.uid().to_owned(), (node.to_owned(), pod.clone()));
        if let Some(place) = self.nodes.get_mut(node) {
            place.room.take(pod.requests());
        }
    }

    fn displace(&mut self, uid: &str) -> bool {
        let Some((node, pod)) = self.placed.remove(uid) else { return false };
        if let Some(place) = self.nodes.get_mut(&node) {
            place.room.give_back(pod.requests());
        }
        true
    }

    /// The node for a pod, or why there is none. The node it is nominated to is tried first, and taken if it fits.
    pub(super) fn find_node(&self, pod: &Pod) -> Result<String, String> {
        let wanted = pod.requests();
        let nominated = &pod.status.nominated_node_name;
        if self.nodes.get(nominated).is_some_and(|place| self.why_not(pod, wanted, place).is_none()) {
            return Ok(nominated.clone());
        }
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut best: Option<(i64, u64, &String)> = None;
        for (name, place) in &self.nodes {
            if let Some(reason) = self.why_not(pod, wanted, place) {
                *reasons.entry(reason).or_default() += 1;
                continue;
            }
            // Equally good nodes are drawn from, as kube-scheduler does, here by hash.
            let draw = Hash::new(self.seed).text(pod.uid()).text(name).value();
            best = best.max(Some((place.room.free_share(wanted), draw, name)));
        }
        best.map(|(_, _, name)| name.clone()).ok_or_else(|| {
            let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            format!("0/{} nodes are available: {}.", self.nodes.len(), reasons.join(", "))
        })
    }

    fn why_not(&self, pod: &Pod, wanted: &Amounts, place: &Place) -> Option<String> {
        if let Some(reason) = obstacle(pod, &place.node) {
            return Some(format!("node(s) {reason}"));
        }
        self.room_for(pod, place).shortage(wanted)
    }

    /// A node's room as a pod finds it: every other pod of equal or higher priority that is nominated there counts.
    pub(super) fn room_for<'a>(&self, pod: &Pod, place: &'a Place) -> Cow<'a, Room> {
        let mut room = Cow::Borrowed(&place.room);
        let here = self.nominator.iter().filter(|(_, node)| *node == place.node.name());
        for other in here.filter_map(|(uid, _)| self.queue.get(uid)).map(|entry| &entry.pod) {
            if other.uid() != pod.uid() && other.spec.priority >= pod.spec.priority {
                room.to_mut().take(other.requests());
            }
        }
        room
    }
}
