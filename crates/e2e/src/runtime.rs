//! What each program of this crate starts with.

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;

/// Chooses how this process speaks TLS, and starts the asynchronous runtime; to be called once.
///
/// # Errors
/// Where a TLS provider was chosen before, or the runtime can't be started.
pub fn runtime() -> Result<Runtime> {
    // Before anything speaks TLS: with two providers linked and none chosen, rustls panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("a TLS provider was chosen before");
    }
    Runtime::new().context("cannot start the asynchronous runtime")
}
