//! A cluster of the run's own, started as users start one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long `korder up` may take; the first time on a machine it builds the control plane.
const UP_TIMEOUT: Duration = Duration::from_mins(15);
/// How long it may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `korder up` in a directory of its own.
///
/// Dropped, it is killed and its directory removed; [`Up::stop`] is the orderly end.
#[derive(Debug)]
pub struct Up {
    // Before the directory, so that it has ended when that is removed.
    process: Child,
    directory: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Up {
    /// Starts it with these further arguments, and waits until it says that korder is ready.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        let program = korder_program().await?;
        let directory = tempfile::Builder::new().prefix("korder-e2e-").tempdir().context("cannot make a directory")?;
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = spawn(&program, directory.path(), &arguments).await?;
        Ok(Self { process, directory, program, arguments })
    }

    /// Kills it by SIGKILL, which ends everything that it has started, and starts it again on the same directory.
    pub async fn kill_and_resume(self) -> Result<Self> {
        let Self { mut process, directory, program, arguments } = self;
        process.kill().await.context("cannot kill `korder up`")?;
        let process = spawn(&program, directory.path(), &arguments).await?;
        Ok(Self { process, directory, program, arguments })
    }

    /// The directory of all its state.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of `korder up`.
    pub fn pid(&self) -> Result<u32> {
        self.process.id().context("`korder up` has ended by itself")
    }

    /// The administrator's access to it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Where the controllers serve metrics, as `korder status` says.
    pub async fn metrics(&self) -> Result<String> {
        let mut status = Command::new(&self.program);
        status.args(["status", "--output=json", "--data-dir"]).arg(self.directory.path()).kill_on_drop(true);
        let output = status.output().await.context("cannot run `korder status`")?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).context("`korder status` is no JSON")?;
        status["metrics"].as_str().map(str::to_owned).with_context(|| format!("`korder status` says {status}"))
    }

    /// Kills the scheduler by SIGKILL; the control plane starts another.
    pub async fn kill_scheduler(&self) -> Result<()> {
        let file = self.directory.path().join("scheduler.pid");
        let written = tokio::fs::read_to_string(&file).await;
        let pid = written.with_context(|| format!("cannot read `{}`", file.display()))?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("there is no process id in `{}`", file.display()))?;
        kill_process(pid, Signal::KILL).context("cannot kill the scheduler")
    }

    /// Ends it as Ctrl-C does, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        let pid = self.process.id().context("`korder up` has ended by itself")?;
        let pid = Pid::from_raw(pid.cast_signed()).context("`korder up` has no process id")?;
        kill_process(pid, Signal::INT).context("cannot interrupt `korder up`")?;
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.process.wait()).await;
        let status =
            ended.with_context(|| format!("`korder up` took more than {} s to stop", STOP_TIMEOUT.as_secs()))?;
        let status = status.context("cannot wait for `korder up`")?;
        ensure!(status.success(), "`korder up` ended with {status}");
        Ok(())
    }
}

async fn spawn(korder: &Path, data_dir: &Path, arguments: &[String]) -> Result<Child> {
    let mut process = Command::new(korder)
        .args(["up", "--data-dir"])
        .arg(data_dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run `{}`", korder.display()))?;
    let mut lines = BufReader::new(process.stdout.take().context("a child without standard output")?).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("korder is ready") {
                return Ok(true);
            }
        }
        anyhow::Ok(false)
    };
    match tokio::time::timeout(UP_TIMEOUT, ready).await {
        Ok(Ok(true)) => Ok(process),
        Ok(Ok(false)) => bail!("`korder up` ended with {} before korder was ready", process.wait().await?),
        Ok(Err(error)) => Err(error.context("cannot read what `korder up` prints")),
        Err(_) => bail!("`korder up` was not ready after {} min", UP_TIMEOUT.as_secs() / 60),
    }
}

/// The `korder` program to test: the one that the environment variable `KORDER` names, or the one that is built from
/// this workspace, as new as the sources.
pub async fn korder_program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("KORDER") {
        return Ok(program.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        // As `make build` does: real nodes run it in an image without libraries.
        .args(["rustc", "--quiet", "--package", "korder", "--bin", "korder", "--", "-C", "target-feature=+crt-static"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .await
        .context("cannot run `cargo` to build `korder`; name a built one in `KORDER`")?;
    ensure!(status.success(), "`cargo rustc --package korder` ended with {status}");
    let executable = std::env::current_exe().context("cannot find out where this program is")?;
    let profile = executable.ancestors().find(|directory| directory.join("deps").is_dir());
    profile.map(|profile| profile.join("korder")).context("this program is not in cargo's target directory")
}
