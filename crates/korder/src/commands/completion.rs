//! `korder completion`: what a shell needs to complete korder's commands.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

/// For which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script, as in `source <(korder completion bash)`.
pub(crate) fn run(arguments: &Arguments) {
    let mut command: Command = crate::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "korder", &mut std::io::stdout());
}
