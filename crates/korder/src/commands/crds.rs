//! `korder crds`.

use cli::Printer;

use crate::yaml;

/// Prints the definitions of korder's kinds.
pub(crate) fn run(printer: Printer) -> anyhow::Result<()> {
    Ok(printer.result(yaml::documents(&korder_manifests::crds())?.trim_end())?)
}
