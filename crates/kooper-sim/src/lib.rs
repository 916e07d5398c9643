//! A simulated Kubernetes cluster for tests of controllers: an API server in memory behind a real [`kube::Client`],
//! in virtual time, with faults.

pub mod actors;
mod clock;
pub mod fault;
mod hash;
mod history;
mod kind;
mod object;
mod options;
mod request;
mod sim;

pub use clock::Clock;
pub use history::Write;
pub use kind::{Kind, Rules};
pub use object::Object;
pub use options::{Options, Span};
pub use request::{RequestInfo, Verb};
pub use sim::{Sim, run};
