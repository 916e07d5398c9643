//! korder's kinds on the Kubernetes API: group `core.korder.dev`, version `v1alpha1`.
//!
//! Types that can't hold nonsense, the schemas that the API server enforces, and every name that korder writes on
//! objects. This crate must not know a client, async, or any rule of what korder does with an object.

#![allow(unreachable_pub, reason = "the KubeSchema derive makes public types inside private scopes")]

pub mod duration;
pub mod inventory;
pub mod item;
pub mod job;
pub mod names;
pub mod order;
pub mod quantity;
pub mod quota;
pub mod stock;
pub mod ticket;

pub use duration::Duration;
pub use inventory::{Inventory, InventorySpec, InventoryStatus};
pub use item::Item;
pub use order::{Order, OrderSpec, OrderStatus};
pub use quantity::Quantity;
pub use quota::{Quota, QuotaSpec, QuotaStatus};
pub use stock::{Stock, StockPhase, StockSpec, StockStatus};
pub use ticket::{Ticket, TicketPhase, TicketSpec, TicketStatus};
