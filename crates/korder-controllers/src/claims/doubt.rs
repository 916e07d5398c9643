//! Claims of which we don't know whether they were written.
//!
//! When the reply to a claim is lost, the cache may show the ticket as ready for a while though it is the pod's. Matching
//! the pod again in that time could give it a second ticket. So each such ticket is read live before the next pass; so is
//! one that somebody else was faster with, since the cache is behind there too.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kooper::{Cache, Key};
use korder_core::ticket::Ticket;
use kube::Client;

use crate::write;

/// The tickets whose claims are on their way, or were lost sight of.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<BTreeSet<Key>>);

impl Doubts {
    /// Writes a claim. It is in doubt until the API server has said yes or no, also if this future is dropped.
    pub(super) async fn over(
        &self,
        ticket: Key,
        write: impl Future<Output = Result<(), kube::Error>>,
    ) -> Result<(), kube::Error> {
        self.tickets().insert(ticket.clone());
        let written = write.await;
        if written.as_ref().err().is_none_or(is_a_no) {
            self.tickets().remove(&ticket);
        }
        written
    }

    /// Reads every ticket in doubt live. An error leaves the rest in doubt: nothing must be matched then.
    pub(super) async fn settle(&self, client: &Client, cache: &Cache<Ticket>) -> Result<(), kube::Error> {
        let doubtful: Vec<Key> = self.tickets().iter().cloned().collect();
        for key in doubtful {
            let namespace = key.namespace.as_deref().unwrap_or_default();
            // One that is gone needs no word to the cache: nobody has it any more.
            if let Some(ticket) = write::api::<Ticket>(client, namespace).get_opt(&key.name).await? {
                cache.wrote(ticket);
            }
            self.tickets().remove(&key);
        }
        Ok(())
    }

    fn tickets(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the API server has refused the write for good, so that it certainly was not made.
fn is_a_no(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 409)
}
