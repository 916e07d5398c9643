//! `korder` on the command line: orders node capacity and finished things ahead of need.

mod chart;
mod commands;
mod connection;
mod doctor;
mod health;
mod install;
mod logging;
mod metrics;
mod signals;
mod supervised;
mod told;
mod up;
mod yaml;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

/// Order cluster capacity and finished things before you need them
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,

    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    supervised::stop_with_supervisor();
    let arguments = Arguments::parse();
    let printer = arguments.global.printer();
    cli::exit_code(run(arguments.command, printer))
}

fn run(command: commands::Command, printer: cli::Printer) -> anyhow::Result<()> {
    // Before anything speaks TLS: with two providers linked and none chosen, rustls panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before `main` did it");
    }
    tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?.block_on(command.run(printer))
}
