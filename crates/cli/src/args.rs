//! Options that every program takes.

use clap::{Args, ValueEnum};

use crate::printer::{Printer, Verbosity};

/// Options that every program takes; flatten them into its arguments.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Print results and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Print what is being done in more detail
    #[arg(long, short, global = true)]
    verbose: bool,

    /// When to use colours
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto")]
    color: Color,
}

impl GlobalArgs {
    /// Applies the choice of colours to the whole process and returns the printer that these
    /// options ask for.
    pub fn printer(&self) -> Printer {
        match self.color {
            // anstream's own default: terminals only, `NO_COLOR` and `CLICOLOR_FORCE` obeyed.
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        Printer::new(match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, false) => Verbosity::Normal,
            (false, true) => Verbosity::Verbose,
        })
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On terminals
    Auto,
    /// Also into files and pipes
    Always,
    /// Nowhere
    Never,
}

/// The form of a command's result, for an option `--output`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON document for programs
    Json,
}
