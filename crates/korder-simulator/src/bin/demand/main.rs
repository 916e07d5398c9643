//! Plays three days of orders with the level fitted to them, and writes what it reached into `docs/level.md`, beside the
//! constant level that fills as many orders at once. What stands before that section is written by hand, and stays.
//!
//! Nothing is asserted: a goal that is missed is a finding, not a failure.

mod cells;
mod plot;
mod policies;
mod report;
mod shelf;
mod traces;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use cli::{Printer, Progress};

/// Where the part begins that is written here.
const RESULTS: &str = "## What it reaches";

/// Play three days of orders, and judge the level that is fitted to them
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,
    /// The page to write the results into; its drawings are written beside it
    #[arg(long, default_value = "docs/level.md", value_name = "FILE")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = arguments.global.printer();
    cli::exit_code(run(&arguments.output, printer))
}

fn run(page: &Path, printer: Printer) -> anyhow::Result<()> {
    let progress = Progress::start(printer, "Playing demand");
    let cells = cells::all();
    let drawings = [("level-moves.svg", plot::levels(&cells)), ("level-exchange.svg", plot::exchange(&cells))];
    progress.finish("Played demand");
    let before = fs::read_to_string(page).with_context(|| format!("cannot read `{}`", page.display()))?;
    let by_hand = before.find(RESULTS).map_or(before.as_str(), |end| &before[..end]).trim_end();
    write(page, &format!("{by_hand}\n\n{RESULTS}\n\n{}", report::section(&cells)))?;
    for (name, drawing) in drawings {
        write(&page.with_file_name(name), &drawing)?;
    }
    printer.result(format_args!("`{}` is written", page.display()))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}
