//! `korder doctor`.

use anyhow::bail;
use clap::Args;
use cli::{OutputFormat, Printer};

use crate::connection::Connection;
use crate::doctor::{Finding, Level, findings, gather};

/// Which cluster, and how to tell.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Form of what is printed
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    output: OutputFormat,
}

/// Runs the command: an error where a check has failed; warnings are none.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { connection, output } = arguments;
    let found = findings(&gather(&connection.client().await?).await?);
    match output {
        OutputFormat::Json => printer.json(&found)?,
        OutputFormat::Text => {
            for line in lines(&found) {
                printer.result(line)?;
            }
        }
    }
    let failed = found.iter().filter(|finding| finding.level == Level::Failure).count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", found.len());
    }
    Ok(())
}

fn lines(found: &[Finding]) -> Vec<String> {
    let width = found.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    let line = |finding: &Finding| {
        let Finding { check, level, message, advice } = finding;
        let level = match level {
            Level::Ok => "ok     ",
            Level::Note => "note   ",
            Level::Warning => "warning",
            Level::Failure => "FAILED ",
        };
        let advice = advice.as_ref().map(|advice| format!("\n         {:width$}  -> {advice}", ""));
        format!("{level}  {check:width$}  {message}{}", advice.unwrap_or_default())
    };
    found.iter().map(line).collect()
}
