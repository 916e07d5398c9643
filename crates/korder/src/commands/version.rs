//! `korder version`.

use cli::{OutputFormat, Printer};
use serde_json::json;

/// How to say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Form of what is printed
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    output: OutputFormat,
}

/// Prints the version of this program.
pub(crate) fn run(arguments: &Arguments, printer: Printer) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    match arguments.output {
        OutputFormat::Text => printer.result(format_args!("korder {version}"))?,
        OutputFormat::Json => printer.json(&json!({ "korder": version }))?,
    }
    Ok(())
}
