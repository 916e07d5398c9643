//! The history as the rules' types, each version parsed once.

use std::collections::BTreeMap;
use std::rc::Rc;

use kooper_sim::{Object, Sim, Write};
use korder_core::pod::Pod;

use korder_core::ticket::Ticket;
use std::sync::Arc;

/// A write, and what it changed.
pub(super) struct Record {
    /// The write.
    pub(super) write: Arc<Write>,
    /// What it changed.
    pub(super) change: Change,
}

/// What a write changed: the object before and after.
pub(super) enum Change {
    /// A ticket.
    Ticket(Option<Rc<Ticket>>, Option<Rc<Ticket>>),
    /// A pod.
    Pod(Option<Rc<Pod>>, Option<Rc<Pod>>),
    /// Something else.
    Other,
}

/// The whole history of a cluster.
pub(super) fn records(sim: &Sim) -> Vec<Record> {
    let (mut tickets, mut pods) = (BTreeMap::new(), BTreeMap::new());
    let record = |write: Arc<Write>| {
        let change = if write.is_of("tickets.core.korder.dev") {
            let (before, after) = sides(&mut tickets, &write);
            Change::Ticket(before, after)
        } else if write.is_of("pods") {
            let (before, after) = sides(&mut pods, &write);
            Change::Pod(before, after)
        } else {
            Change::Other
        };
        Record { write, change }
    };
    sim.history().into_iter().map(record).collect()
}

type Sides<K> = (Option<Rc<K>>, Option<Rc<K>>);

fn sides<K: serde::de::DeserializeOwned>(known: &mut BTreeMap<String, Rc<K>>, write: &Write) -> Sides<K> {
    let before = known.remove(write.uid());
    let parse = |object: &Arc<Object>| object.parse::<K>().ok().map(Rc::new);
    let after = write.after.as_ref().and_then(parse);
    known.extend(after.iter().map(|after| (write.uid().to_owned(), Rc::clone(after))));
    (before, after)
}
