//! `korder up`.

use clap::Args;
use cli::Printer;

/// Options of `korder up`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

/// Runs the command.
pub(crate) async fn run(_arguments: Arguments, _printer: Printer) -> anyhow::Result<()> {
    anyhow::bail!("`korder up` is not built yet")
}
