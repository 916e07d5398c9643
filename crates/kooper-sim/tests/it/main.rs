//! The simulated cluster as its users see it: through a client.
#![expect(clippy::unwrap_used, reason = "a test panics where what it builds on is missing")]

mod actors;
mod determinism;
mod faults;
mod http;
mod lists;
mod pods;
mod scheduling;
mod semantics;
mod watches;
