//! The rules of korder: what was observed, and the time, give the next steps.
//!
//! Everything here is a pure function of its arguments, so that each rule is tested without a cluster. This crate must
//! not know a client, an async runtime, a clock, randomness, or a map whose order shows.

pub mod admits;
pub mod ask;
pub mod conditions;
pub mod fit;
#[cfg(test)]
mod fixtures;
pub mod guardian;
pub mod handover;
pub mod inventory;
pub mod level;
pub mod limits;
pub mod matching;
pub mod namespace;
pub mod node;
pub mod order;
pub mod ordinals;
pub mod pod;
pub mod reasons;
pub mod resources;
pub mod scheduler;
pub mod selector;
pub mod stock;
pub mod storage;
pub mod ticket;
pub mod why;
