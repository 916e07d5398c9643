//! The subcommands, a module each: its arguments and what it does.

mod down;
mod status;
mod up;
mod version;

use clap::Subcommand;
use cli::Printer;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start an embedded Kubernetes with korder on it, or resume it
    Up(up::Arguments),
    /// Stop what `korder up` started; its state stays
    Down(down::Arguments),
    /// Show what `korder up` has running
    Status(status::Arguments),
    /// Print the version
    Version,
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self, printer: Printer) -> anyhow::Result<()> {
        match self {
            Self::Up(arguments) => up::run(arguments, printer).await,
            Self::Down(arguments) => down::run(arguments, printer).await,
            Self::Status(arguments) => status::run(arguments, printer).await,
            Self::Version => version::run(printer),
        }
    }
}
