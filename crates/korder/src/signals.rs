//! Signals that ask a process to stop.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal to stop; its name.
pub(crate) async fn stop() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    Ok(tokio::select! {
        biased;
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
