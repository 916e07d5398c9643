//! Measures what korder takes, and writes `docs/benchmarks.md`: figures, machine and command. What is written by hand
//! there, its last section, stays. With the names of some parts, only these are measured, and their tables printed.
//!
//! Nothing is asserted: a goal that is missed is a finding, not a failure.

mod claims;
mod installation;
mod machine;
mod process;
mod report;
mod scale;
mod shelf;
mod spread;
mod startup;
mod steps;
mod stock;
mod writes;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use cli::{Printer, Progress};

use crate::installation::Installation;
use crate::machine::Machine;
use crate::report::Report;

/// Where everything that is measured lives.
const NAMESPACE: &str = "default";

/// Measure what korder takes, on a Kubernetes made for it
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,
    /// Measure only these parts, and print their tables; all of them write the file
    parts: Vec<Part>,
    /// The file to write
    #[arg(long, default_value = "docs/benchmarks.md", value_name = "FILE")]
    output: PathBuf,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How long `korder up` takes
    Startup,
    /// How long orders take until their tickets are ready
    Orders,
    /// How long claims take, step by step, and what they write
    Claims,
    /// What memory and processor time many tickets take
    Scale,
    /// How long orders for stock take, what they write, and what memory many units take
    Stock,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = arguments.global.printer();
    cli::exit_code(run(arguments, printer))
}

fn run(Arguments { parts, output, .. }: Arguments, printer: Printer) -> anyhow::Result<()> {
    let runtime = e2e::runtime()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(&parts, printer) => report,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| bail!("interrupted")),
        }
    })?;
    if !parts.is_empty() {
        return Ok(printer.result(report.tables())?);
    }
    let before = match fs::read_to_string(&output) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read `{}`", output.display()))?,
    };
    fs::write(&output, report.to_markdown(&before)).with_context(|| format!("cannot write `{}`", output.display()))?;
    printer.result(format_args!("`{}` is written", output.display()))?;
    Ok(())
}

async fn measure(parts: &[Part], printer: Printer) -> anyhow::Result<Report> {
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    let machine = Machine::this()?;
    let kubernetes = warm_up().await?;
    let mut report =
        Report { machine, kubernetes, startup: None, fillings: None, claims: None, scales: None, stocks: None };
    if wanted(Part::Startup) {
        let progress = Progress::start(printer, "Starting and resuming korder");
        report.startup = Some(startup::measure().await?);
        progress.finish("Started and resumed korder");
    }
    if wanted(Part::Orders) {
        let progress = Progress::start(printer, "Filling orders");
        let installation = Installation::of_many_nodes().await?;
        report.fillings = Some(shelf::measure(&installation.client().await?).await?);
        progress.finish("Filled orders");
    }
    if wanted(Part::Claims) {
        let progress = Progress::start(printer, "Claiming tickets");
        let installation = Installation::of_many_nodes().await?;
        report.claims = Some(Box::pin(claims::measure(&installation.client().await?)).await?);
        progress.finish("Claimed tickets");
    }
    if wanted(Part::Scale) {
        let progress = Progress::start(printer, "Filling large orders");
        report.scales = Some(Box::pin(scale::measure()).await?);
        progress.finish("Filled large orders");
    }
    if wanted(Part::Stock) {
        let progress = Progress::start(printer, "Filling orders for stock");
        report.stocks = Some(Box::pin(stock::measure()).await?);
        progress.finish("Filled orders for stock");
    }
    Ok(report)
}

/// Builds what is missing, and reads into memory what is on disk; the version of Kubernetes.
async fn warm_up() -> anyhow::Result<String> {
    let installation = Installation::new()?;
    installation.up(&[]).await?;
    Ok(installation.client().await?.apiserver_version().await?.git_version)
}
