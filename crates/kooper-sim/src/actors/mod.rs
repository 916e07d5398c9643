//! The other programs of a cluster: a scheduler, kubelets, a garbage collector.

use std::time::Duration;

use crate::options::Span;

/// What may be chosen about [`Sim::scheduler`](crate::Sim::scheduler).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// Its `schedulerName`, also the actor's name.
    pub name: String,
    /// How long it thinks about one pod.
    pub attempt: Span,
    /// How long a pod waits after its first failed attempt; doubles with each.
    pub initial_backoff: Duration,
    /// The longest such wait.
    pub max_backoff: Duration,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            name: "default-scheduler".to_owned(),
            attempt: Span::millis(1, 3),
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
        }
    }
}

/// What may be chosen about [`Sim::kubelet`](crate::Sim::kubelet).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletOptions {
    /// How long a bound pod takes to be Running and Ready.
    pub start: Span,
    /// How long containers take to stop, though never longer than the pod's grace period.
    pub stop: Span,
}

impl Default for KubeletOptions {
    fn default() -> Self {
        Self { start: Span::millis(100, 400), stop: Span::millis(50, 500) }
    }
}
