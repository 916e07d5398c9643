//! korder's controllers in a simulated cluster: scenarios, faults, and oracles that judge what was written.
//!
//! [`world`] is the cluster with the controllers in it, which die and are started anew as a [fault
//! plan](kooper_sim::fault::FaultPlan) says. [`crash_points`] kills them before and after each write of a scenario;
//! [`histories`] plays random ones. [`oracle`] judges the history of writes and the end state. Time is virtual, and a seed
//! replays a run exactly. This crate must not know a real cluster.

pub mod crash_points;
pub mod histories;
pub mod objects;
pub mod oracle;
pub mod world;
