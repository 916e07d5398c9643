use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{sleep, timeout};

use super::*;
use crate::stop::Stopper;

type Builder<R> = ControllerBuilder<&'static str, R>;

/// A controller under test, its queue at hand.
struct Bench {
    inbox: Arc<Inbox<&'static str>>,
    stopper: Stopper,
    run: BoxFuture<'static, Result<(), BoxError>>,
}

fn bench<R: Reconciler<&'static str>>(reconciler: R, configure: impl FnOnce(Builder<R>) -> Builder<R>) -> Bench {
    let inbox = Arc::new(Inbox::new());
    let (stopper, stop) = Stop::pair();
    let run = configure(ControllerBuilder::with_inbox("test", reconciler, Arc::clone(&inbox))).build().run(stop);
    Bench { inbox, stopper, run }
}

impl Bench {
    fn add(&self, keys: &[&'static str]) {
        self.inbox.add(keys.iter().copied());
    }

    /// Lets it run for some virtual time.
    async fn run_for(&mut self, time: Duration) {
        assert!(timeout(time, &mut self.run).await.is_err(), "the controller ended");
    }

    /// Lets it run to its end.
    async fn end(self) -> Result<(), BoxError> {
        timeout(Duration::from_hours(1), self.run).await.expect("the controller goes on for ever")
    }
}

/// What happened, with the virtual milliseconds at which it did.
#[derive(Clone)]
struct Log {
    start: Instant,
    lines: Arc<Mutex<Vec<(u128, String)>>>,
}

impl Log {
    fn new() -> Self {
        Self { start: Instant::now(), lines: Arc::default() }
    }

    fn note(&self, what: impl Into<String>) {
        lock(&self.lines).push((self.start.elapsed().as_millis(), what.into()));
    }

    fn lines(&self) -> Vec<String> {
        lock(&self.lines).iter().map(|(_, what)| what.clone()).collect()
    }

    fn times(&self) -> Vec<u128> {
        lock(&self.lines).iter().map(|(at, _)| *at).collect()
    }

    fn timed(&self) -> Vec<String> {
        lock(&self.lines).iter().map(|(at, what)| format!("{at} {what}")).collect()
    }
}

/// Notes each try and ends it at once as `end` says.
fn scripted(
    log: &Log,
    end: impl Fn(&'static str, u32) -> Result<Outcome, Failure> + Send + Sync + 'static,
) -> impl Reconciler<&'static str> {
    let log = log.clone();
    move |cx: Context, key: &'static str| {
        log.note(format!("{key} {}", cx.attempt));
        std::future::ready(end(key, cx.attempt))
    }
}

/// Notes the beginning and the end of each try, which takes a second.
fn slow(log: &Log) -> impl Reconciler<&'static str> {
    let log = log.clone();
    move |_cx: Context, key: &'static str| {
        let log = log.clone();
        async move {
            log.note(format!("{key} begins"));
            sleep(SECOND).await;
            log.note(format!("{key} ends"));
            Ok(Outcome::Done)
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff { first: SECOND, max: Duration::from_secs(8) };

/// The times of tries that each failed, of which `BACKOFF` lets one happen after the other.
fn tries(key: &'static str, count: u32) -> Vec<u128> {
    let mut times = vec![0];
    for attempt in 1..count {
        // The timer counts whole milliseconds, and is never early.
        let delay = BACKOFF.delay(&key, attempt).as_micros().div_ceil(1000);
        times.push(times[times.len() - 1] + delay);
    }
    times
}

/// Times that differ by no more than the timer is coarse.
fn assert_times(actual: &[u128], expected: &[u128]) {
    let close = actual.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 5);
    assert!(close && actual.len() == expected.len(), "{actual:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn as_many_run_at_a_time_as_allowed_in_the_order_of_the_queue() {
    let log = Log::new();
    let mut bench = bench(slow(&log), |builder| builder.concurrency(2));
    bench.add(&["b", "c", "a"]);
    bench.run_for(SECOND * 3).await;
    assert_eq!(log.timed(), ["0 b begins", "0 c begins", "1000 b ends", "1000 c ends", "1000 a begins", "2000 a ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_runs_once_at_a_time_and_once_more_if_something_happened_meanwhile() {
    let log = Log::new();
    let mut bench = bench(slow(&log), |builder| builder);
    bench.add(&["a"]);
    bench.run_for(SECOND / 2).await;
    bench.add(&["a", "a"]);
    bench.run_for(SECOND * 5).await;
    assert_eq!(log.timed(), ["0 a begins", "1000 a ends", "1000 a begins", "2000 a ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_key_alone() {
    let log = Log::new();
    let reconciler = scripted(&log, |key, attempt| {
        assert!(key != "bad" || attempt == 2, "first try");
        Ok(Outcome::Done)
    });
    let mut bench = bench(reconciler, |builder| builder.backoff(BACKOFF));
    bench.add(&["bad", "good"]);
    bench.run_for(SECOND * 5).await;
    assert_eq!(log.lines(), ["bad 1", "good 1", "bad 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_that_takes_too_long_is_dropped_and_has_failed() {
    struct Dropped(Log);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let log = Log::new();
    let reconciler = {
        let log = log.clone();
        move |cx: Context, _key| {
            let log = log.clone();
            async move {
                log.note(format!("begins {}", cx.attempt));
                let _dropped = Dropped(log);
                std::future::pending().await
            }
        }
    };
    let mut bench = bench(reconciler, |builder| builder.timeout(SECOND * 5).backoff(BACKOFF));
    bench.add(&["a"]);
    bench.run_for(SECOND * 7).await;
    assert_eq!(log.lines(), ["begins 1", "dropped", "begins 2"]);
    assert_eq!(log.times()[..2], [0, 5000]);
}

#[tokio::test(start_paused = true)]
async fn events_do_not_pre_empt_backoff() {
    let log = Log::new();
    let mut bench = bench(scripted(&log, |_, _| Err(Failure::Retry("no".into()))), |builder| builder.backoff(BACKOFF));
    for _ in 0..500 {
        bench.add(&["a"]);
        bench.run_for(Duration::from_millis(20)).await;
    }
    assert_times(&log.times(), &tries("a", 4));
}

#[tokio::test(start_paused = true)]
async fn at_the_cap_a_key_is_stalled_and_never_forgotten() {
    let log = Log::new();
    let resync = Duration::from_mins(10);
    let mut bench = bench(scripted(&log, |_, _| Err(Failure::Retry("no".into()))), |builder| {
        builder.backoff(BACKOFF).max_attempts(3).resync(resync)
    });
    bench.add(&["a"]);
    bench.run_for(resync * 2 + SECOND * 10).await;
    let mut expected = tries("a", 3);
    expected.extend([expected[2] + 600_000, expected[2] + 1_200_000]);
    assert_times(&log.times(), &expected);

    // Something changes: it is looked at at once, as its last failure is long ago.
    bench.run_for(Duration::from_mins(1)).await;
    let before = log.lines().len();
    bench.add(&["a"]);
    bench.run_for(Duration::from_millis(1)).await;
    assert_eq!(log.lines()[before..], ["a 6"]);
}

#[tokio::test(start_paused = true)]
async fn success_forgives_what_was_before() {
    let log = Log::new();
    let reconciler = scripted(&log, |_, attempt| match attempt {
        1 | 2 => Err(Failure::Retry("no".into())),
        _ => Ok(Outcome::After(Duration::from_mins(1))),
    });
    let mut bench = bench(reconciler, |builder| builder.backoff(BACKOFF));
    bench.add(&["a"]);
    bench.run_for(Duration::from_secs(65)).await;
    assert_eq!(log.lines(), ["a 1", "a 2", "a 3", "a 1", "a 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_tried_again_soon_and_is_no_failure() {
    let log = Log::new();
    let conflicts = AtomicUsize::new(3);
    let reconciler = scripted(&log, move |_, _| {
        match conflicts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Err(Failure::Conflict("faster".into())),
            Err(_) => Ok(Outcome::Done),
        }
    });
    let mut bench = bench(reconciler, |builder| builder.max_attempts(1));
    bench.add(&["a"]);
    bench.run_for(SECOND).await;
    assert_eq!(log.lines(), ["a 1"; 4]);
}

#[tokio::test(start_paused = true)]
async fn the_stop_awaits_what_is_in_flight_and_begins_nothing_new() {
    let log = Log::new();
    let mut bench = bench(slow(&log), |builder| builder.concurrency(1));
    bench.add(&["a", "b"]);
    bench.run_for(SECOND / 2).await;
    bench.stopper.stop();
    bench.end().await.unwrap();
    assert_eq!(log.timed(), ["0 a begins", "1000 a ends"]);
}

#[tokio::test(start_paused = true)]
async fn the_stop_does_not_wait_for_ever() {
    let mut bench = bench(
        |_cx: Context, _key: &'static str| std::future::pending::<Result<Outcome, Failure>>(),
        |builder| builder.stop_timeout(SECOND * 3).timeout(Duration::from_hours(2)),
    );
    bench.add(&["a", "b"]);
    bench.run_for(SECOND).await;
    bench.stopper.stop();
    let stopped = Instant::now();
    let error = bench.end().await.unwrap_err().to_string();
    assert!(error.contains("controller `test`") && error.contains("2 reconciles still ran after 3s"), "{error}");
    assert_eq!(stopped.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_before_the_caches_are_filled_and_nothing_is_lost() {
    let log = Log::new();
    let pods = Arc::new(Readiness::new("Pod".into()));
    let nodes = Arc::new(Readiness::new("Node".into()));
    let mut bench = bench(scripted(&log, |_, _| Ok(Outcome::Done)), |mut builder| {
        builder.caches = vec![Arc::clone(&pods), Arc::clone(&nodes)];
        builder
    });
    bench.add(&["b", "a"]);
    bench.run_for(SECOND).await;
    nodes.set_ready();
    bench.run_for(SECOND).await;
    bench.add(&["c"]);
    assert!(log.lines().is_empty());
    pods.set_ready();
    bench.run_for(SECOND).await;
    assert_eq!(log.lines(), ["b 1", "a 1", "c 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_never_filled_fails_the_controller_with_its_reason() {
    let pods = Arc::new(Readiness::new("Pod".into()));
    pods.set_error("pods is forbidden".into());
    let log = Log::new();
    let bench = bench(scripted(&log, |_, _| Ok(Outcome::Done)), |mut builder| {
        builder.caches = vec![pods];
        builder.start_timeout(SECOND * 30)
    });
    let error = bench.end().await.unwrap_err().to_string();
    assert!(error.contains("after 30s") && error.contains("the cache of `Pod`: pods is forbidden"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_controller_stops_while_it_waits_for_its_caches() {
    let log = Log::new();
    let bench = bench(scripted(&log, |_, _| Ok(Outcome::Done)), |mut builder| {
        builder.caches = vec![Arc::new(Readiness::new("Pod".into()))];
        builder
    });
    bench.stopper.stop();
    bench.end().await.unwrap();
}
