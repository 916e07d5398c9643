//! `korder uninstall`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;
use cli::{Hinted, Printer, Progress};

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
    /// Don't ask before objects are removed with their kinds
    #[arg(long, requires = "crds")]
    yes: bool,
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { connection, crds, yes, dry_run } = arguments;
    let client = connection.client().await?;
    if crds && !yes && !dry_run {
        let objects = install::count_objects(&client).await?;
        if !objects.is_empty() {
            confirm(&objects)?;
        }
    }
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

/// Asks whether these are to go; an error if not, or if there is nobody to ask.
fn confirm(objects: &[(String, usize)]) -> anyhow::Result<()> {
    let counted: Vec<String> = objects.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let counted = counted.join(", ");
    let refused = |hint: &str| Hinted::new(format!("with the kinds these would be deleted for good: {counted}"), hint);
    if !io::stdin().is_terminal() {
        bail!(refused("add `--yes` if that is meant, or leave out `--crds` to keep them"));
    }
    let mut terminal = io::stderr();
    write!(terminal, "Delete {counted} for good? Type `yes`: ")
        .and_then(|()| terminal.flush())
        .context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    if answer.trim() != "yes" {
        bail!(refused("leave out `--crds` to keep them"));
    }
    Ok(())
}
