//! `korder install`.

use clap::{Args, ValueEnum};
use cli::{Printer, Progress};
use korder_manifests::{Gate, PolicyApi, Profile};

use crate::connection::Connection;
use crate::install::{self, Change, GateForm, Grant, IMAGE, What};
use crate::yaml;

/// What to install, and where.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Image of the `korder` program, best by digest [default: the one of this version]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// How pods that ask for a ticket are made to wait [default: policy where the cluster can, else webhook]
    #[arg(long, value_name = "FORM")]
    gate: Option<GateForm>,
    /// Let the controllers make units of stock as this service account (repeatable). What was granted before stays; where korder
    /// is installed, and neither an image nor a gate is named, nothing else is changed
    #[arg(long = "namespace-grant", value_name = "NAMESPACE/ACCOUNT")]
    grants: Vec<Grant>,
    /// Ask the cluster what would come of it, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the manifests, ask no cluster and change none; the gate is a webhook where `--gate` is not given
    #[arg(long, value_name = "FORMAT")]
    output: Option<Output>,
}

/// A form of manifests.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// YAML documents, for `kubectl apply --server-side -f -`
    Yaml,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { connection, image, gate, grants, dry_run, output } = arguments;
    let only_grants = !grants.is_empty() && image.is_none() && gate.is_none();
    let profile = Profile::InCluster { image: image.unwrap_or_else(|| IMAGE.to_owned()) };
    if let Some(Output::Yaml) = output {
        return Ok(printer.result(manifests(profile, gate, grants)?.trim_end())?);
    }
    let client = connection.client().await?;
    if only_grants && let Some(changes) = install::grant(&client, &grants, dry_run).await? {
        for note in install::without_account(&client, &grants).await? {
            printer.note(format_args!("note: {note}"));
        }
        return show(printer, &changes, dry_run);
    }
    let progress = Progress::start(printer, "Installing korder");
    let options = install::Options { profile, gate, grants, dry_run };
    let installed = install::install(&client, &options).await?;
    show(printer, &installed.changes, dry_run)?;
    let form = match installed.gate {
        Gate::Policy(_) => "policy",
        Gate::Webhook => "webhook",
    };
    let version = env!("CARGO_PKG_VERSION");
    if dry_run {
        progress.finish(format_args!("korder {version} would be on Kubernetes {}, gate: {form}", installed.kubernetes));
    } else {
        progress.finish(format_args!("korder {version} is on Kubernetes {}, gate: {form}", installed.kubernetes));
    }
    if installed.gate == Gate::Webhook {
        printer.note("note: pods that ask for a ticket are refused until `deployment/korder-webhook` is ready");
    }
    for note in installed.notes {
        printer.note(format_args!("note: {note}"));
    }
    Ok(())
}

/// Tells what became of each object.
fn show(printer: Printer, changes: &[Change], dry_run: bool) -> anyhow::Result<()> {
    let tried = if dry_run { " (dry run)" } else { "" };
    for Change { object, what } in changes {
        if *what == What::Unchanged {
            printer.detail(format_args!("{object} {what}"));
        } else {
            printer.result(format_args!("{object} {what}{tried}"))?;
        }
    }
    Ok(())
}

/// The manifests as YAML, for a cluster of which nothing is known.
fn manifests(profile: Profile, gate: Option<GateForm>, grants: Vec<Grant>) -> anyhow::Result<String> {
    let gate = match gate {
        Some(GateForm::Policy) => Gate::Policy(PolicyApi::V1),
        Some(GateForm::Webhook) | None => Gate::Webhook,
    };
    let mut objects = korder_manifests::manifests(&korder_manifests::Options { profile, gate });
    objects.extend(install::grant_manifests(&grants.into_iter().collect()));
    yaml::documents(&objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_file_is_fresh() {
        let there = include_str!("../../../../deploy/install.yaml");
        let fresh = manifests(Profile::InCluster { image: IMAGE.into() }, None, vec![]).unwrap();
        assert!(there == fresh, "deploy/install.yaml is not what the sources say: run `make manifests`");
    }
}
