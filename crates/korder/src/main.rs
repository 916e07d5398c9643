//! `korder` on the command line: orders node capacity and finished things ahead of need.

mod chart;
mod commands;
mod connection;
mod create_order;
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

use std::path::Path;
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
    match called_as().as_deref() {
        Some(create_order::PROGRAM) => {
            let arguments = create_order::Arguments::parse();
            let printer = arguments.printer();
            cli::exit_code(run(create_order::run(arguments, printer)))
        }
        Some(create_order::COMPLETION) => {
            let words: Vec<String> = std::env::args().skip(1).collect();
            let printer = cli::Printer::new(cli::Verbosity::Quiet);
            cli::exit_code(run(async { Ok(printer.result(create_order::complete(&words).await)?) }))
        }
        _ => {
            let arguments = Arguments::parse();
            let printer = arguments.global.printer();
            cli::exit_code(run(arguments.command.run(printer)))
        }
    }
}

/// The name by which this program was started: kubectl finds a plugin by it.
fn called_as() -> Option<String> {
    let path = std::env::args_os().next()?;
    Some(Path::new(&path).file_name()?.to_str()?.to_owned())
}

fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // Before anything speaks TLS: with two providers linked and none chosen, rustls panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before `main` did it");
    }
    tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?.block_on(work)
}
