//! Which pods must go so that a more important one fits: kube-scheduler's plugin `DefaultPreemption`, without pod
//! disruption budgets.

use std::cmp::Reverse;
use std::sync::Arc;

use super::state::{Place, State};
use crate::actors::amounts::Amounts;
use crate::actors::fit::obstacle;
use crate::actors::model::Pod;

/// What comes of trying to make room.
#[derive(Debug)]
pub(super) enum Preemption {
    /// The pod may not: its nomination stays as it is.
    NotEligible,
    /// It wouldn't help: the pod's nomination is cleared.
    Useless,
    /// The pod is nominated to this node, and these pods are deleted.
    Evict { node: String, victims: Vec<Arc<Pod>> },
}

impl State {
    /// How to make room for a pod that fits nowhere.
    pub(super) fn preempt(&self, pod: &Pod) -> Preemption {
        if pod.spec.preemption_policy == "Never" || self.waits_for_victims(pod) {
            return Preemption::NotEligible;
        }
        let wanted = pod.requests();
        let candidates = self.nodes.iter().filter_map(|(name, place)| {
            let victims = self.victims(pod, wanted, place)?;
            let priorities: Vec<i64> = victims.iter().map(|victim| victim.spec.priority).collect();
            let cost = (priorities.iter().max().copied(), priorities.iter().sum::<i64>(), victims.len());
            Some((cost, name, victims))
        });
        match candidates.min_by_key(|(cost, name, _)| (*cost, (*name).clone())) {
            Some((_, node, victims)) => Preemption::Evict { node: node.clone(), victims },
            None => Preemption::Useless,
        }
    }

    /// Whether room is being made already.
    fn waits_for_victims(&self, pod: &Pod) -> bool {
        let node = &pod.status.nominated_node_name;
        let ends = |other: &Pod| other.is_ending() && other.spec.priority < pod.spec.priority;
        !node.is_empty() && self.placed.values().any(|(place, other)| place == node && ends(other))
    }

    /// The fewest and least important pods without which a pod fits on a node; None if it can't.
    fn victims(&self, pod: &Pod, wanted: &Amounts, place: &Place) -> Option<Vec<Arc<Pod>>> {
        if obstacle(pod, &place.node).is_some() {
            return None;
        }
        let mut room = self.room_for(pod, place).into_owned();
        let here = self.placed.values().filter(|(node, _)| node == place.node.name()).map(|(_, other)| other);
        let mut weaker: Vec<&Arc<Pod>> = here.filter(|other| other.spec.priority < pod.spec.priority).collect();
        for other in &weaker {
            room.give_back(other.requests());
        }
        if weaker.is_empty() || room.shortage(wanted).is_some() {
            return None;
        }
        // The more important are spared first, the older among equals.
        weaker.sort_by_key(|other| {
            (Reverse(other.spec.priority), other.metadata.creation_timestamp.clone(), other.uid().to_owned())
        });
        let mut victims = Vec::new();
        for other in weaker {
            room.take(other.requests());
            if room.shortage(wanted).is_some() {
                room.give_back(other.requests());
                victims.push(other.clone());
            }
        }
        Some(victims)
    }
}
