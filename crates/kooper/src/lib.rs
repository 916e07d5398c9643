//! Kooper: a toolkit for Kubernetes operators and controllers.

mod backoff;
mod cache;
mod clock;
mod conditions;
mod context;
mod controller;
mod crd;
mod handler;
mod key;
mod operator;
mod outcome;
pub mod patch;
mod queue;
mod recorder;
mod report;
mod retriever;
mod stop;
mod sync;

pub use backoff::Backoff;
pub use cache::{Cache, CacheBuilder, Change};
pub use clock::{Clock, SystemClock};
pub use conditions::{ConditionStatus, NewCondition, set_condition};
pub use context::Context;
pub use controller::{Controller, ControllerBuilder, Reconciler, WorkKey};
pub use crd::{ApplyCrd, Crd, CustomResources, VerifyCrd};
pub use handler::{Handler, HandlerReconciler, handle};
pub use key::Key;
pub use operator::Operator;
pub use outcome::{BoxError, Failure, Outcome};
pub use queue::{Job, Next, Queue};
pub use recorder::{Event, EventType, Recorder, Reporter};
pub use retriever::{Object, Resources, Retriever};
pub use stop::{Stop, Stopper};
