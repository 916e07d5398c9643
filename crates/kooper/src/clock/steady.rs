//! A clock that no single machine can put wrong.
//!
//! What has a time ends by the clock, and a clock that jumps by a day would end everything at once. Three are at hand, and
//! two that agree are believed: this machine's, that of the API server, which stands in the `Date` of each of its answers and
//! by which objects are created, and the one before the jump, which goes on by the monotonic clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Response, header};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tower::util::MapResponseLayer;
use tracing::{info, warn};

use super::Clock;

/// How far clocks may be apart that agree: a `Date` has whole seconds, and answers take their time.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(1);

/// A clock that no single machine can put wrong: this machine's, as long as the API server's agrees. Clones are handles to
/// the same one.
///
/// Where one of the two jumps it is outvoted by the other and by what was believed before, and the time goes on as if
/// nothing had happened. Where both jump alike they are believed, since that is what setting a cluster's clocks looks like.
/// Until the first answer there is nothing to compare with; where the two disagree from the start, the API server is believed.
#[derive(Clone)]
pub struct SteadyClock {
    local: Arc<dyn Clock>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// What the API server's clock showed last.
    server: Option<Reading>,
    /// What was last believed.
    believed: Option<Reading>,
    /// Whether it was said that the clocks differ.
    told: bool,
}

/// What a clock showed, and when that was.
#[derive(Clone, Copy)]
struct Reading {
    time: Timestamp,
    at: Instant,
}

impl Reading {
    /// What it shows now if it goes on as clocks do.
    fn now(self) -> Timestamp {
        SignedDuration::try_from(self.at.elapsed())
            .map_or(self.time, |elapsed| self.time.saturating_add(elapsed).unwrap_or(self.time))
    }
}

impl SteadyClock {
    /// One that compares this clock with what it hears of the API server's.
    pub fn new(local: Arc<dyn Clock>) -> Self {
        Self { local, known: Arc::default() }
    }

    /// The layer of a client by which the clock hears of the API server's.
    pub fn layer<B>(&self) -> MapResponseLayer<impl Fn(Response<B>) -> Response<B> + Clone + Send + Sync + use<B>> {
        let clock = self.clone();
        MapResponseLayer::new(move |response: Response<B>| {
            clock.hear(response.headers());
            response
        })
    }

    /// Takes in the `Date` of an answer.
    pub fn hear(&self, headers: &HeaderMap) {
        let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else { return };
        self.known().server = Some(Reading { time: date.timestamp(), at: Instant::now() });
    }

    /// By how much this machine's clock is ahead of the API server's, as far as is known.
    pub fn skew(&self) -> SignedDuration {
        let server = self.known().server;
        server.map_or(SignedDuration::ZERO, |server| self.local.now().duration_since(server.now()))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let local = self.local.now();
        let mut known = self.known();
        let Some(server) = known.server.map(Reading::now) else { return local };
        let time = voted(local, server, known.believed.map(Reading::now));
        known.believed = Some(Reading { time, at: Instant::now() });
        let differ = !agree(local, server);
        if differ && !known.told {
            warn!(%local, %server, believed = %time, "this machine's clock and the API server's differ by more than a minute");
        } else if !differ && known.told {
            info!("this machine's clock and the API server's agree again");
        }
        known.told = differ;
        time
    }
}

fn agree(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).abs() <= TOLERANCE
}

/// The time by two of three clocks.
fn voted(local: Timestamp, server: Timestamp, believed: Option<Timestamp>) -> Timestamp {
    match believed {
        // It is the only one that tells parts of seconds.
        _ if agree(local, server) => local,
        None => server,
        // Either it agrees with one of the two, or all three differ and there is nothing better.
        Some(believed) => believed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use super::*;

    const HOUR: i64 = 3600;

    /// Two clocks, each with what was added to it, in seconds.
    #[derive(Default)]
    struct Clocks {
        local: AtomicI64,
        server: AtomicI64,
    }

    fn steady(clocks: &Arc<Clocks>) -> SteadyClock {
        let (started, clocks) = (Instant::now(), Arc::clone(clocks));
        SteadyClock::new(Arc::new(move || show(started, clocks.local.load(Ordering::SeqCst))))
    }

    fn show(started: Instant, added: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + started.elapsed() + SignedDuration::from_secs(1_000_000 + added)
    }

    fn answer(clock: &SteadyClock, started: Instant, clocks: &Clocks) {
        let date = show(started, clocks.server.load(Ordering::SeqCst));
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        clock.hear(&HeaderMap::from_iter([(header::DATE, date.parse().unwrap())]));
    }

    /// What the clock is ahead, in seconds, when each clock has jumped so far, and then a while later.
    async fn after_jumps(local: i64, server: i64) -> [i64; 2] {
        let clocks = Arc::new(Clocks::default());
        let (clock, started) = (steady(&clocks), Instant::now());
        answer(&clock, started, &clocks);
        clock.now();
        tokio::time::advance(Duration::from_secs(10)).await;
        clocks.local.store(local, Ordering::SeqCst);
        clocks.server.store(server, Ordering::SeqCst);
        let mut ahead = [0, 0];
        for ahead in &mut ahead {
            answer(&clock, started, &clocks);
            *ahead = clock.now().duration_since(show(started, 0)).as_secs();
            tokio::time::advance(Duration::from_hours(2)).await;
        }
        ahead
    }

    #[tokio::test(start_paused = true)]
    async fn one_clock_that_jumps_is_outvoted() {
        for jump in [HOUR, -HOUR, 24 * HOUR, -24 * HOUR] {
            assert_eq!(after_jumps(jump, 0).await, [0, 0], "this machine's");
            assert_eq!(after_jumps(0, jump).await, [0, 0], "the API server's");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_agree_are_believed() {
        assert_eq!(after_jumps(HOUR, HOUR).await, [HOUR, HOUR]);
        // Some seconds are no jump.
        assert_eq!(after_jumps(20, 0).await, [20, 20]);
    }

    #[tokio::test(start_paused = true)]
    async fn at_first_the_api_server_is_believed() {
        let clocks = Arc::new(Clocks { local: HOUR.into(), server: 0.into() });
        let (clock, started) = (steady(&clocks), Instant::now());
        assert_eq!(clock.now(), show(started, HOUR), "nothing is known yet");
        answer(&clock, started, &clocks);
        assert_eq!((clock.now(), clock.skew().as_secs()), (show(started, 0), HOUR));
        // Mended.
        clocks.local.store(0, Ordering::SeqCst);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(clock.now(), show(started, 0));
    }

    #[test]
    fn what_is_no_date_is_not_heard() {
        let clock = SteadyClock::new(Arc::new(|| Timestamp::UNIX_EPOCH));
        clock.hear(&HeaderMap::new());
        clock.hear(&HeaderMap::from_iter([(header::DATE, "yesterday".parse().unwrap())]));
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
    }
}
