//! An embedded Kubernetes: upstream's control plane in one process on this machine, with nodes that
//! are simulated, so that everything but containers is real.
//!
//! ```no_run
//! # async fn example() -> Result<(), cluster::Error> {
//! use cluster::{Cluster, NodeTemplate};
//!
//! // For a test: in a directory of its own, which goes with it.
//! let nodes: Vec<_> = (1..=3)
//!     .map(|n| NodeTemplate::new(format!("node-{n}")).label("node-type", "compute"))
//!     .collect();
//! let cluster = Cluster::temporary(&nodes, |progress| tracing::info!("{progress}")).await?;
//! let client = cluster.client();
//! # drop(client);
//! cluster.stop().await
//! # }
//! ```
//!
//! The program that does it, `korder-controlplane`, is written in Go; its sources are part of this
//! library. [`binary::control_plane`] finds it, or builds it once into a cache:
//!
//! 1. the file that the environment variable `KORDER_CONTROLPLANE` names;
//! 2. `korder-controlplane` beside the running executable;
//! 3. `$XDG_CACHE_HOME/korder/controlplane/HASH/` (`~/.cache` where that is not set), where `HASH`
//!    covers the Go sources, `go.mod` and the way it is built;
//! 4. built from source into 3, which takes some minutes the first time.
//!
//! Several minor versions of Kubernetes can be built ([`Version`]); what stands beside the executable is the newest.
//!
//! The control plane listens on loopback only and ends when the process that started it does, however
//! that happens. Killed, it resumes from its data directory ([`DataDir`]).
//!
//! Simulated nodes run nothing: a pod that is bound to one is Running and Ready within milliseconds,
//! a deleted one takes its grace period to go, a Job's pod succeeds after a second. Pods annotated
//! `korder.dev/runs-on: host` stay unready: whoever runs their program on the host reports for them.
//!
//! A real node ([`RealNode`]) stands beside them where its needs are met (root, and a container runtime): its pods are
//! containers. Then all of it lives in namespaces of its own, and the API server is reached over a link to them.
//!
//! This crate knows no kind of object that is not Kubernetes' own, and prints nothing.

pub mod binary;
mod build;
mod cluster;
mod data_dir;
mod error;
mod node;
mod process;
mod real_node;
mod sources;
mod version;

pub use build::{BuildProgress, BuildStep};
pub use cluster::{Cluster, Settings};
pub use data_dir::DataDir;
pub use error::Error;
pub use node::NodeTemplate;
pub use process::PodLog;
pub use real_node::{Image, NAME as REAL_NODE, RealNode};
pub use version::{VERSION_VARIABLE, Version};
