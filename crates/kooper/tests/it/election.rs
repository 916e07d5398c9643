//! Several processes of which one is to act.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join};
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use kooper::{BoxError, Clock, Controller, Elected, Key, Leadership, Stop, Stopper};
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::{Sim, run};
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::support::clock;

const SECOND: Duration = Duration::from_secs(1);
/// How often a leader acts.
const BEAT: Duration = Duration::from_millis(100);

/// Who has acted at which milliseconds, in order.
#[derive(Clone)]
struct Acts {
    start: Instant,
    all: Arc<Mutex<Vec<(u128, &'static str)>>>,
}

impl Acts {
    fn new() -> Self {
        Self { start: Instant::now(), all: Arc::default() }
    }

    fn push(&self, name: &'static str) {
        self.all.lock().unwrap().push((self.start.elapsed().as_millis(), name));
    }

    /// Each span in which one process acted and no other, and whose it was.
    fn spans(&self) -> Vec<(&'static str, Range<u128>)> {
        let mut spans: Vec<(&'static str, Range<u128>)> = Vec::new();
        for &(at, name) in self.all.lock().unwrap().iter() {
            match spans.last_mut() {
                Some((last, span)) if *last == name => span.end = at,
                _ => spans.push((name, at..at)),
            }
        }
        spans
    }
}

/// Acts every now and then; when it is stopped, it goes on for a second.
struct Worker {
    name: &'static str,
    acts: Acts,
}

impl Controller for Worker {
    fn name(&self) -> &str {
        self.name
    }

    fn run(self: Box<Self>, stop: Stop) -> BoxFuture<'static, Result<(), BoxError>> {
        let end = async move {
            stop.stopped().await;
            sleep(SECOND).await;
        };
        async move {
            let act = async {
                loop {
                    self.acts.push(self.name);
                    sleep(BEAT).await;
                }
            };
            tokio::select! { biased; () = end => Ok(()), never = act => never }
        }
        .boxed()
    }
}

/// A process that can be stopped; dropping what runs it kills it.
struct Process {
    stopper: Stopper,
    leadership: Leadership,
    running: BoxFuture<'static, Result<(), BoxError>>,
}

/// A process whose requests have these faults and whose clock this shows.
fn process(sim: &Sim, name: &'static str, acts: &Acts, plan: FaultPlan, clock: Arc<dyn Clock>) -> Process {
    let worker = Worker { name, acts: acts.clone() };
    let (client, _) = sim.client_with(name, plan);
    let elected = Elected::new(&client, &Key::namespaced("default", "leader"), name, Box::new(worker)).clock(clock);
    let leadership = elected.leadership();
    let (stopper, stop) = Stop::pair();
    Process { stopper, leadership, running: Box::new(elected).run(stop) }
}

fn good(sim: &Sim, name: &'static str, acts: &Acts) -> Process {
    process(sim, name, acts, FaultPlan::none(), clock(sim))
}

/// Runs something but for a time in which nothing of it happens, as when a process or its machine is suspended.
fn paused<T: 'static>(mut running: BoxFuture<'static, T>, from: Duration, until: Duration) -> BoxFuture<'static, T> {
    let from = Instant::now() + from;
    let mut resumed = sleep_until(Instant::now() + until).boxed();
    poll_fn(move |context| {
        let is_paused = Instant::now() >= from && resumed.poll_unpin(context).is_pending();
        if is_paused { Poll::Pending } else { running.poll_unpin(context) }
    })
    .boxed()
}

/// Runs processes for some time, then kills them; how those ended that did.
async fn for_a_time(time: Duration, running: Vec<BoxFuture<'static, Result<(), BoxError>>>) -> Vec<Option<String>> {
    let each = running.into_iter().map(|one| async move {
        timeout(time, one).await.ok().map(|ended| ended.map_or_else(|error| error.to_string(), |()| "stopped".into()))
    });
    futures::future::join_all(each).await
}

#[test]
fn after_a_crash_another_takes_over_when_the_lease_has_run_out() {
    run(1, |sim| async move {
        let acts = Acts::new();
        let (first, second) = (good(&sim, "a", &acts), good(&sim, "b", &acts));
        let crash = async { timeout(SECOND * 60, first.running).await.err() };
        join(crash, for_a_time(SECOND * 120, vec![sleep(SECOND).then(|()| second.running).boxed()])).await;
        let spans = acts.spans();
        let [("a", before), ("b", after)] = &spans[..] else { panic!("{spans:?}") };
        let waited = after.start - before.end;
        assert!((13_000..=17_100).contains(&waited), "{waited} ms after the last act of the first");
    });
}

#[test]
fn an_orderly_stop_hands_over_at_once_and_after_the_last_act() {
    run(2, |sim| async move {
        let acts = Acts::new();
        let (first, second) = (good(&sim, "a", &acts), good(&sim, "b", &acts));
        let stop = async {
            sleep(SECOND * 30).await;
            assert!(first.leadership.is_held() && !second.leadership.is_held());
            first.stopper.stop();
            sleep(SECOND * 5).await;
            assert!(!first.leadership.is_held() && second.leadership.is_held());
        };
        let second = sleep(SECOND).then(|()| second.running).boxed();
        let ((), ended) = join(stop, for_a_time(SECOND * 60, vec![first.running, second])).await;
        assert_eq!(ended, [Some("stopped".into()), None]);
        let spans = acts.spans();
        let [("a", before), ("b", after)] = &spans[..] else { panic!("{spans:?}") };
        assert!(before.end >= 30_900, "what was in hand was not finished: {before:?}");
        assert!(after.start - before.end < 1_300, "{} ms", after.start - before.end);
    });
}

#[test]
fn a_candidate_that_is_stopped_takes_nothing_along() {
    for ended_after in [SECOND / 1000, SECOND / 100, SECOND / 20, SECOND] {
        run(3, |sim| async move {
            let acts = Acts::new();
            // The reply to the first write comes late: it may lead without knowing.
            let first = good(&sim, "a", &acts);
            let stop = async {
                sleep(ended_after).await;
                first.stopper.stop();
            };
            join(stop, first.running).await.1.unwrap();
            let second = good(&sim, "b", &acts);
            for_a_time(SECOND * 2, vec![second.running]).await;
            assert_eq!(acts.spans().last().unwrap().0, "b", "after {ended_after:?}");
        });
    }
}

#[test]
fn a_leader_that_was_paused_beyond_its_lease_does_nothing_more() {
    for pause in [12, 14, 20, 60, 3600] {
        run(4, |sim| async move {
            let acts = Acts::new();
            let (first, second) = (good(&sim, "a", &acts), good(&sim, "b", &acts));
            let first = paused(first.running, SECOND * 20, SECOND * (20 + pause));
            let second = sleep(SECOND).then(|()| second.running).boxed();
            let ended = for_a_time(SECOND * (60 + pause), vec![first, second]).await;
            let reason = ended[0].as_deref().expect("it goes on");
            assert!(reason.contains("the Lease `leader` was not renewed for 10s"), "{reason}");
            let spans = acts.spans();
            assert!(matches!(&spans[..], [("a", _), ("b", _)]), "after {pause} s: {spans:?}");
        });
    }
}

#[test]
fn a_short_pause_costs_nothing() {
    run(5, |sim| async move {
        let acts = Acts::new();
        let (first, second) = (good(&sim, "a", &acts), good(&sim, "b", &acts));
        let first = paused(first.running, SECOND * 20, SECOND * 27);
        let second = sleep(SECOND).then(|()| second.running).boxed();
        assert_eq!(for_a_time(SECOND * 120, vec![first, second]).await, [None, None]);
        assert_eq!(acts.spans().len(), 1);
    });
}

#[test]
fn a_leader_that_is_cut_off_stops_before_another_begins() {
    run(6, |sim| async move {
        let acts = Acts::new();
        let outage = When::Between { from: SECOND * 30, until: SECOND * 90 };
        let down = Effect::Unavailable { retry_after: SECOND };
        let plan = FaultPlan::none().with(Requests::all(), outage, down);
        let first = process(&sim, "a", &acts, plan, clock(&sim));
        let second = good(&sim, "b", &acts);
        let second = sleep(SECOND).then(|()| second.running).boxed();
        let ended = for_a_time(SECOND * 120, vec![first.running, second]).await;
        assert!(ended[0].is_some() && ended[1].is_none(), "{ended:?}");
        let spans = acts.spans();
        let [("a", before), ("b", after)] = &spans[..] else { panic!("{spans:?}") };
        assert!(before.end <= 40_000 && after.start >= before.end + 3_000, "{before:?}, then {after:?}");
    });
}

#[test]
fn replies_that_are_lost_and_writes_that_collide_never_make_two_leaders() {
    for seed in 0..20 {
        run(seed, |sim| async move {
            let acts = Acts::new();
            let faulty = |salt| {
                FaultPlan::none()
                    .with_seed(seed * 10 + salt)
                    .with(Requests::writes(), When::Share { per_mille: 300 }, Effect::LoseReply)
                    .with(Requests::all(), When::Share { per_mille: 300 }, Effect::Conflict)
            };
            // Whoever loses the Lease begins again, as a process that is restarted does.
            let mut running = Vec::new();
            for (salt, names) in [["a", "c", "e", "g"], ["b", "d", "f", "h"]].into_iter().enumerate() {
                let (sim, acts, plan) = (sim.clone(), acts.clone(), faulty(salt as u64));
                running.push(
                    async move {
                        for name in names {
                            let process = process(&sim, name, &acts, plan.clone(), clock(&sim));
                            process.running.await.unwrap_err();
                        }
                        Ok(())
                    }
                    .boxed(),
                );
            }
            for_a_time(SECOND * 600, running).await;
            let spans = acts.spans();
            // Processes that took turns would have more spans than there are processes.
            let mut names: Vec<_> = spans.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), spans.len(), "{spans:?}");
            assert!(spans.windows(2).all(|pair| pair[1].1.start >= pair[0].1.end + 3_000), "{spans:?}");
        });
    }
}

#[test]
fn clocks_that_differ_or_jump_move_nobody() {
    run(7, |sim| async move {
        let acts = Acts::new();
        let (days, real) = (SignedDuration::from_hours(48), clock(&sim));
        let jumping = {
            let (sim, start) = (clock(&sim), sim.clock().now());
            move || {
                let now = sim.now();
                if (now - start).get_seconds() % 20 < 10 { now + days } else { now - days }
            }
        };
        let first = process(&sim, "a", &acts, FaultPlan::none(), Arc::new(jumping));
        let second = process(&sim, "b", &acts, FaultPlan::none(), Arc::new(move || real.now() + days));
        let second = sleep(SECOND).then(|()| second.running).boxed();
        assert_eq!(for_a_time(SECOND * 600, vec![first.running, second]).await, [None, None]);
        assert_eq!(acts.spans().len(), 1);
    });
}

#[test]
fn a_lease_that_somebody_deletes_is_made_again_by_its_holder() {
    run(8, |sim| async move {
        let acts = Acts::new();
        let (first, second) = (good(&sim, "a", &acts), good(&sim, "b", &acts));
        let meddle = async {
            sleep(SECOND * 30).await;
            let leases: Api<Lease> = Api::namespaced(sim.client("somebody"), "default");
            leases.delete("leader", &DeleteParams::default()).await.unwrap();
        };
        let second = sleep(SECOND).then(|()| second.running).boxed();
        let ((), ended) = join(meddle, for_a_time(SECOND * 90, vec![first.running, second])).await;
        assert_eq!(ended, [None, None]);
        assert_eq!(acts.spans().len(), 1, "{:?}", acts.spans());
    });
}
