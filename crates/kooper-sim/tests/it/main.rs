//! The simulated cluster as its users see it: through a client.
#![expect(clippy::unwrap_used, reason = "a test panics where what it builds on is missing")]

mod http;
mod semantics;
mod watches;
