//! `korder down`.

use std::path::PathBuf;

use clap::Args;
use cli::Printer;

use crate::up::Instance;

/// What to stop.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Directory of all state [default: ~/.korder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Remove the state too
    #[arg(long)]
    delete: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { data_dir, delete } = arguments;
    let instance = Instance::new(data_dir)?;
    let path = instance.data_dir().path().display();
    if instance.stop().await? {
        printer.result(format_args!("korder has stopped on `{path}`"))?;
    } else {
        printer.result(format_args!("korder does not run on `{path}`"))?;
    }
    if delete && instance.delete()? {
        printer.result(format_args!("`{path}` is removed"))?;
    }
    Ok(())
}
