//! Measures what korder takes, and writes `docs/benchmarks.md`: figures, machine and command. What is written by hand
//! there, its last section, stays.
//!
//! Nothing is asserted: a goal that is missed is a finding, not a failure.

mod claims;
mod installation;
mod machine;
mod report;
mod shelf;
mod spread;
mod startup;
mod writes;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use cli::{Printer, Progress};

use crate::installation::Installation;
use crate::machine::Machine;
use crate::report::Report;

/// Where everything that is measured lives.
const NAMESPACE: &str = "default";
/// Room for the largest order on all nodes, and on each for all claims of a run. What a ticket takes is a part of a node
/// that counts, so that the scheduler spreads them.
const NODES: [&str; 4] = ["--nodes=16", "--node-cpu=250", "--node-memory=1000Gi", "--node-resource=pods=500"];

/// Measure what korder takes, on a Kubernetes made for it
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,
    /// The file to write
    #[arg(long, default_value = "docs/benchmarks.md", value_name = "FILE")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = arguments.global.printer();
    cli::exit_code(run(arguments, printer))
}

fn run(Arguments { output, .. }: Arguments, printer: Printer) -> anyhow::Result<()> {
    let before = match fs::read_to_string(&output) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read `{}`", output.display()))?,
    };
    let runtime = e2e::runtime()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(printer) => report,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| bail!("interrupted")),
        }
    })?;
    fs::write(&output, report.to_markdown(&before)).with_context(|| format!("cannot write `{}`", output.display()))?;
    printer.result(format_args!("`{}` is written", output.display()))?;
    Ok(())
}

async fn measure(printer: Printer) -> anyhow::Result<Report> {
    let machine = Machine::this()?;
    let progress = Progress::start(printer, "Starting and resuming korder");
    let startup = startup::measure().await?;
    progress.finish("Started and resumed korder");

    let installation = Installation::new()?;
    installation.up(&NODES).await?;
    let client = installation.client().await?;
    let kubernetes = client.apiserver_version().await?.git_version;
    let progress = Progress::start(printer, "Claiming tickets");
    let claims = Box::pin(claims::measure(&client)).await?;
    progress.finish("Claimed tickets");
    let progress = Progress::start(printer, "Filling orders");
    let fillings = shelf::measure(&client).await?;
    progress.finish("Filled orders");
    let controller_peak_mib = installation.controller_peak_mib().await?;
    Ok(Report { machine, kubernetes, startup, claims, fillings, controller_peak_mib })
}
