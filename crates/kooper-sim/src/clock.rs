//! The time of a simulated cluster.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The cluster's clock: a fixed moment plus the time that tokio's clock has run.
///
/// With tokio's clock paused, as in [`run`](crate::run), time passes only while every future waits, and then at once.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// What every simulated cluster's clock shows when it is made: 1 January 2026, midnight UTC.
    pub const EPOCH: Timestamp = Timestamp::constant(1_767_225_600, 0);

    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        Self::EPOCH + self.elapsed()
    }

    /// When tokio's clock shows what this one shows at a time.
    pub(crate) fn instant(&self, time: Timestamp) -> Instant {
        self.started + Duration::try_from(time - Self::EPOCH).unwrap_or_default()
    }

    /// How long the cluster has existed.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A time as the API writes it in metadata and most conditions: RFC 3339 in whole seconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::{Clock, rfc3339};

    #[tokio::test(start_paused = true)]
    async fn runs_with_tokios_clock() {
        let clock = Clock::start();
        assert_eq!(rfc3339(clock.now()), "2026-01-01T00:00:00Z");
        tokio::time::sleep(std::time::Duration::from_millis(61_500)).await;
        assert_eq!(rfc3339(clock.now()), "2026-01-01T00:01:01Z");
    }
}
