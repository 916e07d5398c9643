//! What must hold at every moment, judged from histories: not only in the end, when a fault may have healed.
//!
//! Auditors are fed changes in the order of their resource versions and remember what they object to.

mod capacity;
mod conditions;
mod ownership;

pub use capacity::Capacity;
pub use conditions::{Conditions, WithConditions};
pub use ownership::Ownership;
