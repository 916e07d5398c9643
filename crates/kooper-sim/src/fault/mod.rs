//! Faults between a client and its API server.
//!
//! A [`FaultPlan`] says what goes wrong, as data; a [`FaultLayer`] does it. The layer fits around any service that a
//! [`kube::Client`] can be made of, so that the plan that breaks a simulated controller also breaks one that talks to
//! a real cluster:
//!
//! ```no_run
//! # async fn example(config: kube::Config) -> kube::Result<()> {
//! use kooper_sim::fault::{FaultLayer, FaultPlan};
//!
//! let (layer, faults) = FaultLayer::new(FaultPlan::crash_after_write(3));
//! let client = kube::client::ClientBuilder::try_from(config)?.with_layer(&layer).build();
//! // Run the controller on `client` until `faults.crashed()`, drop it, and start another.
//! # Ok(()) }
//! ```

mod body;
mod layer;
mod plan;

pub use layer::{FaultLayer, FaultService, Faults};
pub use plan::{Effect, Fault, FaultPlan, Requests, When};
