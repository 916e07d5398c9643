//! What every command-line program of this workspace does the same way.
//!
//! - [`GlobalArgs`]: the options all of them take (`--quiet`, `--verbose`, `--color`);
//! - [`Printer`]: results on stdout, everything else on stderr;
//! - [`Progress`]: a spinner on a terminal, plain lines elsewhere;
//! - [`Hinted`] and [`report`]: one shape for every failure, `error: …`, its causes, `hint: …`;
//! - [`exit_code`]: 0 for success, 1 for failure (2, wrong usage, is clap's own), others for an [`Answer`].
//!
//! A program's `main` parses its arguments, builds a [`Printer`], runs, and hands the result to
//! [`exit_code`]. This crate knows no domain: neither clusters nor any kind of object.

mod args;
mod printer;
mod progress;
mod report;

pub use args::{GlobalArgs, OutputFormat};
pub use printer::{OutputError, Printer, Verbosity};
pub use progress::Progress;
pub use report::{Answer, Hinted, exit_code, report};
