//! `korder completion`: what a shell needs to complete korder's commands.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use cli::Printer;

/// For which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script, as in `source <(korder completion bash)`.
pub(crate) fn run(arguments: &Arguments, printer: Printer) -> anyhow::Result<()> {
    let mut command: Command = crate::Arguments::command();
    // Written at once and by the printer, which a reader that goes away early does not upset.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "korder", &mut script);
    Ok(printer.result(String::from_utf8_lossy(&script).trim_end())?)
}
