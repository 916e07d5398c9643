//! `korder chart`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::chart;

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Directory of the chart, made where it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where the image is, without its tag
    #[arg(long, default_value = "korder", value_name = "IMAGE")]
    repository: String,
}

/// Writes the Helm chart of this version.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    for (file, text) in chart::files(&arguments.repository)? {
        let path = arguments.directory.join(file);
        let cannot = || format!("cannot write `{}`", path.display());
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(cannot)?;
        }
        fs::write(&path, text).with_context(cannot)?;
    }
    Ok(())
}
