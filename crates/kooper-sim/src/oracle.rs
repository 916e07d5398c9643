//! Judges of a cluster's history that any scenario can use.

use std::collections::BTreeMap;

use serde::Deserialize as _;

use crate::actors::amounts::Amounts;
use crate::actors::fit::Room;
use crate::actors::model::{Node, Pod};
use crate::history::Write;

/// Whether the requests of the pods on a node ever exceed what it can allocate.
///
/// Show it every write in order. A pod counts from the write that binds it to the one that removes it or shows it as
/// ended: terminating pods count.
#[derive(Debug, Default)]
pub struct NodeUsage {
    nodes: BTreeMap<String, Room>,
    /// Where each pod is and what it requests, by uid.
    pods: BTreeMap<String, (String, Amounts)>,
}

impl NodeUsage {
    /// Takes a write into account. What it says is what this write made wrong: a pod that doesn't fit where it went, or
    /// a node that shrank below what is on it.
    pub fn observe(&mut self, write: &Write) -> Option<String> {
        let value = write.after.as_ref().map(|object| object.value());
        if write.is_of("nodes") {
            let node = value.and_then(|value| Node::deserialize(value).ok());
            return self.node(write, node.as_ref());
        }
        if !write.is_of("pods") {
            return None;
        }
        let pod = value.and_then(|value| Pod::deserialize(value).ok()).filter(Pod::occupies);
        self.pod(write, pod.as_ref())
    }

    fn node(&mut self, write: &Write, node: Option<&Node>) -> Option<String> {
        let Some(node) = node else {
            self.nodes.remove(&write.name);
            return None;
        };
        let mut room = Room::of(node);
        for (_, amounts) in self.pods.values().filter(|(name, _)| *name == write.name) {
            room.take(amounts);
        }
        let excess = excess(&room);
        self.nodes.insert(write.name.clone(), room);
        excess.map(|excess| violation(write, &write.name, &excess))
    }

    fn pod(&mut self, write: &Write, pod: Option<&Pod>) -> Option<String> {
        let was = self.pods.remove(write.uid());
        if let Some((node, amounts)) = &was
            && let Some(room) = self.nodes.get_mut(node)
        {
            room.give_back(amounts);
        }
        let pod = pod?;
        let amounts = pod.requests().clone();
        let node = pod.spec.node_name.clone();
        let room = self.nodes.get_mut(&node);
        let excess = room.and_then(|room| {
            room.take(&amounts);
            excess(room)
        });
        let came = was.as_ref().is_none_or(|(place, had)| *place != node || *had != amounts);
        let told = excess.filter(|_| came).map(|excess| violation(write, &node, &excess));
        self.pods.insert(write.uid().to_owned(), (node, amounts));
        told
    }
}

/// Of which resource more is requested than there is.
fn excess(room: &Room) -> Option<String> {
    if room.pods > room.allocatable.get("pods") {
        return Some(format!("{} pods where {} are allowed", room.pods, room.allocatable.get("pods")));
    }
    let too_much = room.used.iter().find(|(name, used)| *used > room.allocatable.get(name));
    too_much.map(|(name, used)| format!("{used} of `{name}` requested where there are {}", room.allocatable.get(name)))
}

fn violation(write: &Write, node: &str, excess: &str) -> String {
    let Write { revision, time, actor, name, .. } = write;
    format!("node `{node}`: {excess}, by the write {revision} of `{actor}` to `{name}` at {time}")
}
