//! What may be chosen about a cluster.

use std::time::Duration;

use crate::hash::Hash;

/// What may be chosen about a cluster. `Options::seeded(7)` is a good start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What every choice of the simulation depends on: latencies, uids, generated names.
    pub seed: u64,
    /// How long a request takes, half of it before the API server applies it.
    pub request_latency: Span,
    /// How long a watch event is under way. Events of one watch never overtake each other.
    pub watch_latency: Span,
    /// How often a watch that wants bookmarks gets one.
    pub bookmark_interval: Duration,
    /// How many changes of each kind are kept for watches to start from; asking for older ones is answered with 410.
    pub watch_window: usize,
}

/// The shortest and the longest of possible times, both included, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub from: Duration,
    /// The longest.
    pub to: Duration,
}

impl Options {
    /// The defaults: requests take 1 to 10 ms, watch events up to 20 ms, a bookmark a minute, 10,000 changes kept.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            request_latency: Span::millis(1, 10),
            watch_latency: Span::millis(0, 20),
            bookmark_interval: Duration::from_mins(1),
            watch_window: 10_000,
        }
    }
}

impl Span {
    /// From and to in milliseconds.
    pub const fn millis(from: u64, to: u64) -> Self {
        Self { from: Duration::from_millis(from), to: Duration::from_millis(to) }
    }

    /// One of the span's times, chosen by hash.
    pub(crate) fn pick(self, hash: Hash) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(hash.between(millis(self.from), millis(self.to)))
    }
}
