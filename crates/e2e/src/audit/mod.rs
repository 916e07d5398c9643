//! What must hold at every moment, judged from histories: not only in the end, when a fault may have healed.
//!
//! Auditors are fed changes in the order of their resource versions and remember what they object to.

mod auditor;
mod capacity;
mod conditions;
mod ownership;

pub use auditor::{Auditor, Report};
pub use capacity::{Amounts, Capacity, requests};
pub use conditions::{Conditions, WithConditions};
pub use ownership::Ownership;
