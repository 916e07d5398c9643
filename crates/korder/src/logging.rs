//! The log of the programs that run in the cluster.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LogArguments {
    /// What to log: a level, or levels by module, as in `info,kube=debug`
    #[arg(long, env = "KORDER_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How lines of the log look
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    log_format: Format,
}

impl LogArguments {
    /// Starts logging to standard error.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log)?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        match self.log_format {
            Format::Text => builder.with_ansi(false).init(),
            Format::Json => builder.json().init(),
        }
        Ok(())
    }
}
