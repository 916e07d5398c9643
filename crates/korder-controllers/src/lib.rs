//! korder's controllers: they observe, ask `korder-core` for the next steps, and make them.
//!
//! They speak only through the API. For capacity: [`orders`] keeps each order's number of tickets, [`tickets`]
//! keeps each ticket's guardian and ends it in its time, [`claims`] gives tickets to pods and hands their places over.
//! For stock: [`inventories`] keeps shelves and the lines before them, [`requests`] finds each order its inventory,
//! [`stocks`] makes units and tears them down.
//! Each has an `observe` (what is there), a plan in `korder-core`, and an `act` (writes, each of which is finished or
//! undone from what the objects say). This crate must not know HTTP servers, command lines, or files.

pub mod caches;
pub mod claims;
mod conditions;
pub mod inventories;
mod metrics;
mod news;
pub mod orders;
mod random;
pub mod requests;
mod shared;
pub mod stocks;
pub mod tickets;
mod write;

use std::sync::Arc;

use kooper::{Clock, Operator, Recorder, Reporter, VerifyCrd};
use korder_api::{Inventory, Order, Stock, Ticket, names};
use kube::{Client, CustomResourceExt};

pub use caches::Caches;
pub use metrics::Metrics;
pub use random::Random;

/// What can be chosen about the controllers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Image of the guardians; a container that does nothing.
    pub guardian_image: String,
    /// Name of this process in events, such as its pod's.
    pub instance: String,
    /// Where secret values come from.
    pub random: Random,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            guardian_image: "registry.k8s.io/pause:3.10.1".to_owned(),
            instance: "korder".to_owned(),
            random: Random::default(),
        }
    }
}

/// The controllers, and what they see.
pub struct Controllers {
    /// Verifies that korder's kinds are there, then fills the caches and runs the controllers.
    pub operator: Operator,
    /// The caches; once they are filled, the controllers work.
    pub caches: Caches,
    /// What they have counted.
    pub metrics: Metrics,
}

/// All controllers over one set of caches.
pub fn controllers(client: &Client, config: &Config, clock: &Arc<dyn Clock>) -> Controllers {
    let reporter = Reporter { controller: "korder.dev/controller".to_owned(), instance: config.instance.clone() };
    let recorder = Recorder::new(client.clone(), reporter, Arc::clone(clock));
    let caches = Caches::new(client, &recorder);
    let metrics = Metrics::default();
    let operator = caches
        .run_by(Operator::new("korder").recorder(&recorder))
        .crd(VerifyCrd::new(client.clone(), Order::crd_name(), [names::VERSION]))
        .crd(VerifyCrd::new(client.clone(), Ticket::crd_name(), [names::VERSION]))
        .crd(VerifyCrd::new(client.clone(), Inventory::crd_name(), [names::VERSION]))
        .crd(VerifyCrd::new(client.clone(), Stock::crd_name(), [names::VERSION]))
        .controller(orders::controller(client, &caches).clock(Arc::clone(clock)).recorder(&recorder).build())
        .controller(tickets::controller(client, &caches, config).clock(Arc::clone(clock)).recorder(&recorder).build())
        .controller(
            inventories::controller(client, &caches, &metrics).clock(Arc::clone(clock)).recorder(&recorder).build(),
        )
        .controller(requests::controller(client, &caches).clock(Arc::clone(clock)).recorder(&recorder).build())
        .controller(
            requests::variants::controller(client, &caches).clock(Arc::clone(clock)).recorder(&recorder).build(),
        )
        .controller(
            stocks::controller(client, &caches, config, &metrics).clock(Arc::clone(clock)).recorder(&recorder).build(),
        )
        .controller(claims::controller(client, &caches, &metrics).clock(Arc::clone(clock)).recorder(&recorder).build());
    Controllers { operator, caches, metrics }
}
