//! A simulated Kubernetes cluster for tests of controllers: an API server in memory behind a real [`kube::Client`],
//! in virtual time, with faults.

pub mod actors;
mod admission;
mod clock;
pub mod fault;
mod hash;
mod history;
mod kind;
mod names;
mod object;
mod options;
pub mod oracle;
mod refusal;
mod request;
mod selector;
mod server;
mod service;
mod shared;
mod sim;
mod store;
mod stream;

pub use admission::{AdmissionRequest, Denial};
pub use clock::Clock;
pub use history::Write;
pub use kind::{Kind, Rules};
pub use object::Object;
pub use options::{Options, Span};
pub use refusal::FieldError;
pub use request::{RequestInfo, Verb};
pub use sim::{Sim, run, run_with};
