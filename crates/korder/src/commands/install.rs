//! `korder install`.

use clap::{Args, ValueEnum};
use cli::{Printer, Progress};
use korder_manifests::{Gate, PolicyApi, Profile};

use crate::connection::Connection;
use crate::install::{self, GateForm, IMAGE, What};
use crate::yaml;

/// What to install, and where.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Image of the `korder` program, best by digest
    #[arg(long, default_value = IMAGE, value_name = "IMAGE")]
    image: String,
    /// How pods that ask for a ticket are made to wait [default: policy where the cluster can, else webhook]
    #[arg(long, value_name = "FORM")]
    gate: Option<GateForm>,
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
    let Arguments { connection, image, gate, dry_run, output } = arguments;
    let profile = Profile::InCluster { image };
    if let Some(Output::Yaml) = output {
        return Ok(printer.result(manifests(profile, gate)?.trim_end())?);
    }
    let client = connection.client().await?;
    let progress = Progress::start(printer, "Installing korder");
    let options = install::Options { profile, gate, dry_run };
    let installed = install::install(&client, &options).await?;
    for change in &installed.changes {
        if change.what == What::Unchanged {
            printer.detail(format_args!("{} {}", change.object, change.what));
        } else {
            printer.result(format_args!(
                "{} {}{}",
                change.object,
                change.what,
                if dry_run { " (dry run)" } else { "" }
            ))?;
        }
    }
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

/// The manifests as YAML, for a cluster of which nothing is known.
fn manifests(profile: Profile, gate: Option<GateForm>) -> anyhow::Result<String> {
    let gate = match gate {
        Some(GateForm::Policy) => Gate::Policy(PolicyApi::V1),
        Some(GateForm::Webhook) | None => Gate::Webhook,
    };
    yaml::documents(&korder_manifests::manifests(&korder_manifests::Options { profile, gate }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_file_is_fresh() {
        let there = include_str!("../../../../deploy/install.yaml");
        let fresh = manifests(Profile::InCluster { image: IMAGE.into() }, None).unwrap();
        assert!(there == fresh, "deploy/install.yaml is not what the sources say: run `make manifests`");
    }
}
