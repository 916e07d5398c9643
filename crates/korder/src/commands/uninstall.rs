//! `korder uninstall`.

use anyhow::bail;
use clap::Args;
use cli::{Hinted, Printer, Progress};

use crate::connection::Connection;
use crate::install::{self, Change, Grant, Scope};

/// What to take away, and from where.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Remove the kinds too, and with them every order, ticket, quota, inventory and stock of the cluster
    #[arg(long)]
    crds: bool,
    /// Only let go of waiting pods and places, and stop the controllers: for tools that remove the rest themselves, as
    /// Helm does
    #[arg(long, conflicts_with = "crds")]
    only_pods: bool,
    /// Only take this grant away (repeatable), unless something needs it: the controllers may no longer make units of stock as the
    /// service account
    #[arg(long = "namespace-grant", value_name = "NAMESPACE/ACCOUNT", conflicts_with_all = ["crds", "only_pods"])]
    grants: Vec<Grant>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { connection, crds, only_pods, grants, yes, dry_run } = arguments;
    let scope = if only_pods { Scope::Pods } else { Scope::All { kinds: crds } };
    let client = connection.client().await?;
    let tried = if dry_run { " (dry run)" } else { "" };
    if !grants.is_empty() {
        for Change { object, what } in install::revoke(&client, &grants, dry_run).await? {
            printer.result(format_args!("{object} {what}{tried}"))?;
        }
        return Ok(());
    }
    let found = install::find(&client, scope).await?;
    if !found.is_nothing(scope) {
        for line in found.lines(scope) {
            printer.note(line);
        }
        if !(yes || dry_run || confirmed(printer)?) {
            printer.note("nothing was changed");
            return Ok(());
        }
    }
    let progress = Progress::start(printer, if dry_run { "Trying what would go" } else { "Removing korder" });
    let done = install::uninstall(&client, found, scope, dry_run).await?;
    for object in &done.removed {
        printer.result(format_args!("{object} removed{tried}"))?;
    }
    printer.result(format_args!("{} guardian pods removed{tried}", done.guardians))?;
    printer.result(format_args!("{} waiting pods released to the scheduler{tried}", done.released))?;
    for kept in &done.kept {
        printer.result(format_args!("kept: {kept}"))?;
    }
    progress.finish(match (scope, dry_run) {
        (_, true) => "Nothing was changed",
        (Scope::Pods, false) => "korder holds no pods and no places",
        (Scope::All { .. }, false) => "korder is gone",
    });
    Ok(())
}

/// Asks; where nobody can be asked, that is an error.
fn confirmed(printer: Printer) -> anyhow::Result<bool> {
    match printer.confirm("Remove korder?")? {
        Some(answer) => Ok(answer),
        None => {
            bail!(Hinted::new("nothing was removed: nobody can be asked here", "say `--yes`, or look with `--dry-run`"))
        }
    }
}
