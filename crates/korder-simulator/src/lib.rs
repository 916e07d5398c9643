//! korder's controllers in a simulated cluster: scenarios, faults, and oracles that judge what was written.
//!
//! [`world`] is the cluster with the controllers in it, which die and are started anew as a [fault
//! plan](kooper_sim::fault::FaultPlan) says. [`claims`] is the scenario of a hand-over, and [`cases`] plays it side by side
//! with other things that go wrong: [`crash_points`] kills the controllers before and after each of its writes, [`schedulers`]
//! the scheduler, [`nodes`] takes nodes away, and [`disturbed`] adds faults of requests and a second leader. [`drains`] cordons
//! nodes under ready tickets, and [`pods`] meddles with pods that claim. [`production`] makes units of stock and tears them down. [`histories`] plays random ones, and [`shelves`] such of stock. [`oracle`] judges
//! the history of writes and the end state. Time is virtual, and a seed replays a run exactly. This crate must not know a real cluster.

pub mod cases;
pub mod claims;
pub mod crash_points;
pub mod disturbed;
pub mod drains;
pub mod histories;
pub mod nodes;
pub mod objects;
pub mod oracle;
mod parallel;
pub mod pods;
pub mod production;
pub mod schedulers;
pub mod shelves;
pub mod world;
