//! `korder version`.

use cli::Printer;

/// Prints the version of this program.
pub(crate) fn run(printer: Printer) -> anyhow::Result<()> {
    printer.result(concat!("korder ", env!("CARGO_PKG_VERSION")))?;
    Ok(())
}
