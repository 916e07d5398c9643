use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::sync::lock;

type Log = Arc<Mutex<Vec<String>>>;

/// How a part ends.
#[derive(Clone, Copy)]
enum End {
    /// So many seconds after the stop.
    Stopped(u64),
    /// By itself, after a second.
    Done,
    Failed,
    Panicked,
}

/// A part of an operator that notes its beginning and end.
struct Part {
    name: &'static str,
    end: End,
    log: Log,
}

impl Controller for Part {
    fn name(&self) -> &str {
        self.name
    }

    fn run(self: Box<Self>, stop: Stop) -> BoxFuture<'static, Result<(), BoxError>> {
        async move {
            lock(&self.log).push(format!("{} runs", self.name));
            let mut seconds = 1;
            if let End::Stopped(after) = self.end {
                stop.stopped().await;
                seconds = after;
            }
            sleep(Duration::from_secs(seconds)).await;
            assert!(!matches!(self.end, End::Panicked), "of a part");
            lock(&self.log).push(format!("{} ends", self.name));
            match self.end {
                End::Failed => Err(format!("`{}` failed", self.name).into()),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

/// A definition that takes two seconds.
struct Definition {
    works: bool,
    log: Log,
}

impl Crd for Definition {
    fn name(&self) -> &'static str {
        "shelves.example.com"
    }

    fn initialize(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        async {
            sleep(Duration::from_secs(2)).await;
            lock(&self.log).push("initialized".into());
            if self.works { Ok(()) } else { Err("no such definition".into()) }
        }
        .boxed()
    }
}

/// An operator of a service, a definition and controllers that end like this.
fn operator(log: &Log, works: bool, controllers: &[(&'static str, End)]) -> Operator {
    let part = |name, end| Box::new(Part { name, end, log: Arc::clone(log) });
    let mut operator = Operator::new("test").crd(Definition { works, log: Arc::clone(log) });
    operator.services.push(part("service", End::Stopped(1)));
    for (name, end) in controllers {
        operator = operator.controller(part(name, *end));
    }
    operator
}

/// Runs it, and stops it after ten seconds.
async fn run(operator: Operator) -> Result<(), BoxError> {
    let (stopper, stop) = Stop::pair();
    let mut run = Box::new(operator).run(stop);
    if let Ok(ended) = timeout(Duration::from_secs(10), &mut run).await {
        return ended;
    }
    stopper.stop();
    timeout(Duration::from_secs(10), run).await.expect("the operator does not stop")
}

#[tokio::test(start_paused = true)]
async fn definitions_come_first_and_services_end_last() {
    let log = Log::default();
    run(operator(&log, true, &[("a", End::Stopped(2))])).await.unwrap();
    assert_eq!(*lock(&log), ["initialized", "a runs", "service runs", "a ends", "service ends"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_without_its_definitions() {
    let log = Log::default();
    let error = run(operator(&log, false, &[("a", End::Stopped(2))])).await.unwrap_err();
    assert_eq!(error.to_string(), "no such definition");
    assert_eq!(*lock(&log), ["initialized"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_that_fails_stops_all_in_order() {
    for (end, message) in [(End::Failed, "`bad` failed"), (End::Panicked, "`bad` panicked: of a part")] {
        let log = Log::default();
        let start = Instant::now();
        let error = run(operator(&log, true, &[("a", End::Stopped(2)), ("bad", end)])).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 6, "2 s of initializing, 1 s to the failure, 2 s and 1 s of stopping");
        assert_eq!(error.to_string(), message);
        let log = lock(&log).clone();
        assert!(log.ends_with(&["a ends".into(), "service ends".into()]), "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_its_last_controller_has() {
    let log = Log::default();
    let run = Box::new(operator(&log, true, &[("a", End::Done), ("b", End::Done)])).run(Stop::pair().1);
    timeout(Duration::from_secs(10), run).await.expect("it goes on for ever").unwrap();
    assert_eq!(lock(&log).last().unwrap(), "service ends");
}

#[tokio::test(start_paused = true)]
async fn it_can_be_stopped_while_it_initializes() {
    let log = Log::default();
    let (stopper, stop) = Stop::pair();
    stopper.stop();
    Box::new(operator(&log, true, &[("a", End::Stopped(2))])).run(stop).await.unwrap();
    assert!(lock(&log).is_empty());
}
