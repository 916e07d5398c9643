//! What the end-to-end suite, the demo and the benchmarks share: a cluster to work on, objects to put there, and
//! waiting for what becomes of them.
//!
//! Nothing here knows how korder works inside. It is driven as users drive it, through the Kubernetes API and
//! `kubectl`, and judged by what the API then shows.
//!
//! - [`Environment`]: the cluster of `$KUBECONFIG`, or one that `korder up` starts for this run;
//! - [`Case`]: a namespace and nodes for one test, watched, audited and removed;
//! - [`History`]: every change of a kind of object; what waits for something waits on it;
//! - [`objects`]: orders, pods and nodes to create;
//! - [`Kubectl`]: the program that users type;
//! - [`audit`]: what must hold at every moment, judged from histories.

pub mod audit;
mod case;
mod environment;
mod follow;
mod history;
mod kubectl;
pub mod objects;
mod real_node;
mod runtime;
mod shown;
mod up;

pub use case::{Case, Skipped, told};
pub use environment::{Environment, Nodes};
pub use follow::{follow, is_away};
pub use history::{Change, DEADLINE, Event, History, Log};
pub use kubectl::{Kubectl, Output};
pub use runtime::runtime;
pub use shown::Shown;
pub use up::{Up, korder_program};
