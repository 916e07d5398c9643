//! The other programs of a cluster: a scheduler, kubelets, a garbage collector, a controller of Jobs.
//!
//! Each is a future that the scenario runs beside its own, and each speaks through a client of its own. Dropping the
//! future is a crash; a new one begins with what the API holds.

pub(crate) mod amounts;
pub(crate) mod fit;
pub(crate) mod garbage;
mod informer;
pub(crate) mod jobs;
pub(crate) mod kubelet;
pub(crate) mod model;
mod pool;
pub(crate) mod scheduler;

pub use jobs::JobOptions;
pub use kubelet::KubeletOptions;
pub use scheduler::SchedulerOptions;
