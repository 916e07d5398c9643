//! `korder up` that goes on after the command has returned.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cli::{Hinted, Printer, Progress};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::instance::{Instance, State, make_private_dir};
use super::start::{Binaries, Wish};
use crate::supervised;

/// Bound of the whole start; a build comes before.
const TIMEOUT: Duration = Duration::from_mins(3);
/// Lines of the other process' output that an error quotes.
const QUOTED_LINES: usize = 20;

/// Starts another process that does what `korder up` does, and returns when it is ready.
pub(crate) async fn start_in_background(instance: &Instance, wish: &Wish, printer: Printer) -> anyhow::Result<State> {
    // Told from here, where somebody can read it: that it runs already, and how a build goes.
    drop(instance.lock()?);
    Binaries::find_or_build(wish, printer).await?;

    let logs = instance.data_dir().logs();
    make_private_dir(&logs)?;
    let log_path = logs.join("up.log");
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&log_path)
        .with_context(|| format!("cannot open `{}`", log_path.display()))?;
    let executable = supervised::this_program()?;
    let progress = Progress::start(printer, "Starting Kubernetes and korder");
    let mut child = Command::new(&executable)
        .arg0("korder")
        .args(["up", "--in-background", "--quiet", "--color=never", "--data-dir"])
        .arg(instance.data_dir().path())
        .args(wish.port.map(|port| format!("--port={port}")))
        .arg(format!("--kubernetes-version={}", wish.version))
        .args(wish.nodes.to_arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run `{}`", executable.display()))?;
    // It writes one line when it is ready, and closes its standard output when it ends.
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        match tokio::time::timeout(TIMEOUT, BufReader::new(stdout).read_line(&mut line)).await {
            Ok(read) => drop(read.context("cannot read from the process in the background")?),
            Err(_) => child.start_kill().context("cannot kill the process in the background")?,
        }
    }
    match instance.state()? {
        Some(state) if !line.is_empty() => {
            progress.finish("Started");
            Ok(state)
        }
        _ => {
            let text = std::fs::read_to_string(&log_path).unwrap_or_default();
            let lines: Vec<_> = text.trim_end().lines().collect();
            let last = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n");
            let reason = last.strip_prefix("error: ").unwrap_or("the process in the background ended").to_owned();
            bail!(Hinted::new(reason, format!("see the logs in `{}`", logs.display())))
        }
    }
}

/// Makes this process independent of the terminal that it was started from.
pub(crate) fn leave_terminal() -> anyhow::Result<()> {
    rustix::process::setsid().map(drop).map_err(std::io::Error::from).context("cannot start a session of its own")
}
