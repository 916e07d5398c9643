//! `korder uninstall`.

use clap::Args;
use cli::{Printer, Progress};

use crate::connection::Connection;
use crate::install::{self, Removal};

/// What to take away, and from where.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Remove the kinds too, and with them every order, ticket, quota, inventory and stock of the cluster
    #[arg(long)]
    crds: bool,
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { connection, crds, dry_run } = arguments;
    let client = connection.client().await?;
    let progress = Progress::start(printer, "Removing korder");
    let done = install::uninstall(&client, Removal { kinds: crds, dry_run }).await?;
    let tried = if dry_run { " (dry run)" } else { "" };
    for object in &done.removed {
        printer.result(format_args!("{object} removed{tried}"))?;
    }
    printer.result(format_args!("{} guardian pods removed{tried}", done.guardians))?;
    printer.result(format_args!("{} waiting pods released to the scheduler{tried}", done.released))?;
    for kept in &done.kept {
        printer.result(format_args!("kept: {kept}"))?;
    }
    progress.finish(if dry_run { "korder would be gone" } else { "korder is gone" });
    Ok(())
}
