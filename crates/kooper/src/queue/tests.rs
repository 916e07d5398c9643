use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const WAIT: Duration = Duration::from_secs(10);
const RESYNC: Duration = Duration::from_mins(10);

/// A queue with a clock that the test turns.
struct Bench {
    queue: Queue<&'static str>,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        Self { queue: Queue::new(), start, now: start }
    }

    fn add(&mut self, key: &'static str) {
        self.queue.add(key, self.now);
    }

    fn take(&mut self) -> Option<Job<&'static str>> {
        self.queue.take(self.now)
    }

    fn finish(&mut self, key: &'static str, next: Next) {
        self.queue.finish(&key, next, self.now);
    }

    /// One run of `key`, which must be due.
    fn run(&mut self, key: &'static str, next: Next) -> Job<&'static str> {
        let job = self.take().expect("nothing is due");
        assert_eq!(job.key, key);
        self.finish(key, next);
        job
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    /// Seconds from the start until the next key is due.
    fn due_secs(&self) -> Option<u64> {
        self.queue.next_due().map(|due| due.duration_since(self.start).as_secs())
    }
}

#[test]
fn keys_come_in_the_order_in_which_they_were_added_and_once() {
    let mut bench = Bench::new();
    for key in ["b", "c", "a", "b", "c"] {
        bench.add(key);
    }
    let order: Vec<_> = std::iter::from_fn(|| bench.take()).map(|job| job.key).collect();
    assert_eq!(order, ["b", "c", "a"]);
}

#[test]
fn what_became_due_earlier_comes_first() {
    let mut bench = Bench::new();
    bench.add("old");
    bench.run("old", Next::Retry(WAIT));
    bench.advance(WAIT * 2);
    bench.add("new");
    assert_eq!(bench.take().map(|job| job.key), Some("old"));
    assert_eq!(bench.take().map(|job| job.key), Some("new"));
}

#[test]
fn a_key_is_not_given_out_twice_at_a_time_and_no_event_meanwhile_is_lost() {
    let mut bench = Bench::new();
    bench.add("a");
    assert!(bench.take().is_some());
    bench.add("a");
    bench.add("a");
    assert_eq!(bench.take(), None);
    bench.finish("a", Next::Done);
    bench.run("a", Next::Done);
    assert_eq!(bench.take(), None);
    assert!(bench.queue.is_empty());
}

#[test]
fn an_event_does_not_pre_empt_backoff() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.run("a", Next::Retry(WAIT));
    for _ in 0..499 {
        bench.advance(Duration::from_millis(20));
        bench.add("a");
        assert_eq!(bench.take(), None);
    }
    bench.advance(Duration::from_millis(20));
    assert_eq!(bench.take().map(|job| job.attempt), Some(2));
}

#[test]
fn an_event_during_the_run_that_fails_does_not_pre_empt_backoff_either() {
    for next in [Next::Retry(WAIT), Next::Again(WAIT), Next::Stalled { wait: WAIT, resync: RESYNC }] {
        let mut bench = Bench::new();
        bench.add("a");
        assert!(bench.take().is_some());
        bench.add("a");
        bench.finish("a", next);
        assert_eq!(bench.due_secs(), Some(10), "{next:?}");
    }
}

#[test]
fn an_event_comes_before_a_planned_run() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.run("a", Next::After(RESYNC));
    assert_eq!(bench.due_secs(), Some(600));
    bench.advance(WAIT);
    bench.add("a");
    bench.run("a", Next::After(RESYNC));
    assert_eq!(bench.due_secs(), Some(610));
}

#[test]
fn a_stalled_key_is_looked_at_rarely_and_an_event_brings_it_forward_to_the_end_of_its_wait() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.run("a", Next::Stalled { wait: WAIT, resync: RESYNC });
    assert_eq!(bench.due_secs(), Some(600));
    bench.add("a");
    assert_eq!(bench.due_secs(), Some(10));
}

#[test]
fn attempts_count_failures_in_a_row_and_nothing_else() {
    let mut bench = Bench::new();
    bench.add("a");
    let zero = Duration::ZERO;
    let table = [
        // what the run ends with; its attempt, and how often in a row it was to be done again
        (Next::Retry(zero), 1, 0),
        (Next::Again(zero), 2, 0),
        (Next::Again(zero), 2, 1),
        (Next::Stalled { wait: zero, resync: zero }, 2, 2),
        (Next::After(zero), 3, 0),
        (Next::Retry(zero), 1, 0),
        (Next::Done, 2, 0),
    ];
    for (next, attempt, again) in table {
        assert_eq!(bench.run("a", next), Job { key: "a", attempt, again });
    }
    bench.add("a");
    bench.run("a", Next::Done);
}

#[test]
fn a_wait_for_ever_does_not_overflow() {
    let mut bench = Bench::new();
    bench.add("a");
    bench.run("a", Next::After(Duration::MAX));
    assert!(bench.queue.next_due() > Some(bench.now + Duration::from_hours(24)));
}

#[test]
fn finishing_what_was_not_given_out_changes_nothing() {
    let mut bench = Bench::new();
    bench.finish("a", Next::Done);
    bench.add("a");
    bench.finish("a", Next::Done);
    bench.run("a", Next::Done);
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Take,
    Finish(u8, Next),
    Advance(u64),
}

fn next() -> impl Strategy<Value = Next> {
    let millis = (0..500u64).prop_map(Duration::from_millis);
    prop_oneof![
        Just(Next::Done),
        millis.clone().prop_map(Next::After),
        millis.clone().prop_map(Next::Again),
        millis.clone().prop_map(Next::Retry),
        (millis.clone(), millis).prop_map(|(wait, resync)| Next::Stalled { wait, resync }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8).prop_map(Step::Add),
        Just(Step::Take),
        (0..6u8, next()).prop_map(|(key, next)| Step::Finish(key, next)),
        (0..300u64).prop_map(Step::Advance),
    ]
}

/// What must hold, kept without any of the queue's own structures.
#[derive(Default)]
struct Model {
    known: BTreeSet<u8>,
    running: BTreeSet<u8>,
    /// Events that no run has answered yet.
    unanswered: BTreeSet<u8>,
    gates: BTreeMap<u8, Instant>,
}

impl Model {
    fn took(&mut self, key: u8, now: Instant) {
        assert!(self.known.contains(&key), "{key} was never added");
        assert!(self.running.insert(key), "{key} was given out twice");
        assert!(self.gates.get(&key).is_none_or(|gate| *gate <= now), "{key} came before its time");
        self.unanswered.remove(&key);
    }

    fn finished(&mut self, key: u8, next: Next, now: Instant) {
        if !self.running.remove(&key) {
            return;
        }
        let wait = match next {
            Next::Done | Next::After(_) => Duration::ZERO,
            Next::Again(wait) | Next::Retry(wait) | Next::Stalled { wait, .. } => wait,
        };
        self.gates.insert(key, now + wait);
    }
}

proptest! {
    #[test]
    fn any_history_keeps_the_guarantees(steps in prop::collection::vec(step(), 0..200)) {
        let mut queue = Queue::new();
        let mut model = Model::default();
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Add(key) => {
                    model.known.insert(key);
                    model.unanswered.insert(key);
                    queue.add(key, now);
                }
                Step::Take => {
                    let due = queue.next_due().is_some_and(|due| due <= now);
                    let job = queue.take(now);
                    prop_assert_eq!(job.is_some(), due);
                    if let Some(job) = job {
                        model.took(job.key, now);
                    }
                }
                Step::Finish(key, next) => {
                    model.finished(key, next, now);
                    queue.finish(&key, next, now);
                }
                Step::Advance(millis) => now += Duration::from_millis(millis),
            }
            prop_assert!(queue.len() <= model.known.len());
        }
        // Whatever happened, everything is answered in the end, and then the queue is empty.
        for key in std::mem::take(&mut model.running) {
            queue.finish(&key, Next::Done, now);
        }
        while let Some(due) = queue.next_due() {
            now = now.max(due);
            let job = queue.take(now).expect("it is due");
            model.unanswered.remove(&job.key);
            queue.finish(&job.key, Next::Done, now);
        }
        prop_assert!(model.unanswered.is_empty());
        prop_assert!(queue.is_empty());
    }
}
