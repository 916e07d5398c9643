//! The toolkit as its users see it: on a simulated cluster, through a client.
#![expect(clippy::unwrap_used, reason = "a test panics where what it builds on is missing")]

mod cache;
mod crd;
mod election;
mod events;
mod examples;
mod operator;
mod support;
