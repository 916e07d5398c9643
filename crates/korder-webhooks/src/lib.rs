//! The admission webhook: the gate for clusters whose policies can't change objects, and the certificates it needs.
//!
//! The webhook marks pods that ask for a ticket, and claims nothing: when it is asked, the pod has no uid yet and may
//! still be refused. It makes its own certificates, keeps them in a Secret and renews them long before they end. This
//! crate must not know reconciling.

mod certificates;
mod gate;
mod keeper;
mod server;

pub use certificates::CertificateError;
pub use gate::gate_patch;
pub use server::{ServeError, Webhook};
