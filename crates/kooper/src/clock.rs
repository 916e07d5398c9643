//! Where the time comes from.

mod steady;

use jiff::Timestamp;

pub use steady::SteadyClock;

/// Tells the wall-clock time.
///
/// Everything that writes a time into an object asks a clock, so that a simulation can hand in its
/// own. Waiting is another matter: it goes through `tokio::time`, whose time a test can pause.
///
/// Closures are clocks:
///
/// ```
/// use jiff::Timestamp;
/// use kooper::Clock;
///
/// let always_the_epoch = || Timestamp::UNIX_EPOCH;
/// assert_eq!(Clock::now(&always_the_epoch), Timestamp::UNIX_EPOCH);
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

impl<F: Fn() -> Timestamp + Send + Sync + 'static> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
