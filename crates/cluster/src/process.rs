//! The control plane's process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::real_node::RealNode;

/// Bounds of a start, of an orderly stop, and of the end of a process that was killed.
const START_TIMEOUT: Duration = Duration::from_mins(2);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
const KILL_INTERVAL: Duration = Duration::from_millis(5);
/// How often to try again while another control plane stops.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
/// Lines of the process' output that an error quotes.
const QUOTED_LINES: usize = 10;

/// A file that is the log of pods on simulated nodes, because their program runs elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodLog {
    /// The pods' namespace.
    pub namespace: String,
    /// What the pods' names start with: for a Deployment its name and a hyphen.
    pub name_prefix: String,
    /// The file, in the format of Kubernetes' container runtime interface: time in RFC 3339,
    /// `stdout` or `stderr`, `F`, text, separated by a space, a line each.
    pub file: PathBuf,
}

/// What the control plane reports when Kubernetes answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Readiness {
    /// The API server's address.
    pub(crate) server: String,
    /// Port of the simulated kubelets' API.
    pub(crate) kubelet_port: u16,
}

/// A control plane that runs. It ends when its standard input is closed, at the latest with this
/// process; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    // Not left in `child`, whose `wait` would close it.
    stdin: Option<ChildStdin>,
    data_dir: DataDir,
    /// Whether its processes have a namespace of their own, which ends with it.
    namespaced: bool,
}

/// How a control plane is started.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) data_dir: &'a DataDir,
    pub(crate) port: Option<u16>,
    pub(crate) unsafe_no_fsync: bool,
    pub(crate) pod_logs: &'a [PodLog],
    pub(crate) real_node: Option<&'a RealNode>,
}

impl Process {
    /// Starts a control plane and waits until Kubernetes answers.
    ///
    /// One whose parent has just died still stops in order; it is waited for.
    pub(crate) async fn start(start: &Start<'_>) -> Result<(Self, Readiness), Error> {
        let begun = Instant::now();
        loop {
            match Self::start_once(start).await {
                Err(Error::Locked { .. }) if begun.elapsed() < STOP_TIMEOUT => tokio::time::sleep(LOCK_INTERVAL).await,
                result => return result,
            }
        }
    }

    async fn start_once(start: &Start<'_>) -> Result<(Self, Readiness), Error> {
        let Start { binary, data_dir, port, unsafe_no_fsync, pod_logs, real_node } = *start;
        let log = open_log(data_dir)?;
        let mut command = match real_node {
            Some(node) => node.command(binary, data_dir).await?,
            None => Command::new(binary),
        };
        command.arg("-data-dir").arg(data_dir.path());
        if let Some(port) = port {
            command.arg(format!("-port={port}"));
        }
        if unsafe_no_fsync {
            command.arg("-unsafe-no-fsync");
        }
        for PodLog { namespace, name_prefix, file } in pod_logs {
            command.arg(format!("-pod-log={namespace}/{name_prefix}={}", file.display()));
        }
        let mut child = command
            // Ctrl-C in a terminal reaches the whole group; whoever started this stops it in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Spawn { program: binary.to_owned(), source })?;
        let stdin = child.stdin.take();
        let mut process = Self { child, stdin, data_dir: data_dir.clone(), namespaced: real_node.is_some() };
        let readiness = tokio::time::timeout(START_TIMEOUT, process.readiness(port)).await.unwrap_or_else(|_| {
            Err(Error::Timeout { what: "the start of the control plane".to_owned(), after: START_TIMEOUT })
        })?;
        Ok((process, readiness))
    }

    async fn readiness(&mut self, port: Option<u16>) -> Result<Readiness, Error> {
        let mut line = String::new();
        if let Some(stdout) = self.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await.map_err(Error::io("read from", "korder-controlplane"))?;
        }
        if line.is_empty() {
            return Err(self.start_failure(port).await);
        }
        serde_json::from_str(&line).map_err(|source| Error::Protocol { line, source })
    }

    /// Why the process ended before it was ready, by the exit codes that it documents.
    async fn start_failure(&mut self, port: Option<u16>) -> Error {
        match (self.ended().await, port) {
            (Error::Ended { status, .. }, _) if status.code() == Some(3) => {
                Error::Locked { data_dir: self.data_dir.path().to_owned() }
            }
            (Error::Ended { status, .. }, Some(port)) if status.code() == Some(4) => Error::PortTaken { port },
            (error, _) => error,
        }
    }

    /// Waits until the process ends by itself, and says how it did.
    pub(crate) async fn ended(&mut self) -> Error {
        match self.child.wait().await {
            Ok(status) => Error::Ended { status, output: last_lines(&self.data_dir.stderr_log()) },
            Err(source) => Error::Io { action: "wait for", path: "korder-controlplane".into(), source },
        }
    }

    /// Stops everything in order: what was acknowledged is on disk, the scheduler's lease given back.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        drop(self.stdin.take());
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Error::Ended { status, output: last_lines(&self.data_dir.stderr_log()) }),
            Ok(Err(source)) => Err(Error::Io { action: "wait for", path: "korder-controlplane".into(), source }),
            // Dropping `self` kills it.
            Err(_) => Err(Error::Timeout { what: "the stop of the control plane".to_owned(), after: STOP_TIMEOUT }),
        }
    }

    /// Kills everything with SIGKILL, as a machine that loses power would, and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        let scheduler = if self.namespaced { None } else { self.scheduler().ok() };
        let io_error = |source| Error::Io { action: "kill", path: "korder-controlplane".into(), source };
        self.child.start_kill().map_err(io_error)?;
        let started = Instant::now();
        while self.child.try_wait().map_err(io_error)?.is_none() {
            if started.elapsed() > KILL_TIMEOUT {
                return Err(Error::Timeout {
                    what: "the end of the killed control plane".to_owned(),
                    after: KILL_TIMEOUT,
                });
            }
            std::thread::sleep(KILL_INTERVAL);
        }
        // With its parent gone nobody restarts it; there is none between two runs.
        scheduler.map_or(Ok(()), kill_process)
    }

    /// Kills the scheduler with SIGKILL; the control plane starts another one.
    pub(crate) fn kill_scheduler(&self) -> Result<(), Error> {
        kill_process(self.scheduler()?)
    }

    /// The scheduler's process. Its file exists as long as the control plane knows it to run.
    fn scheduler(&self) -> Result<Pid, Error> {
        let path = self.data_dir.scheduler_pid();
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        text.trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .and_then(|pid| if self.namespaced { seen_from_here(pid, &self.data_dir) } else { Some(pid) })
            .ok_or_else(|| Error::io("read a process id from", &path)(io::ErrorKind::InvalidData.into()))
    }
}

/// The scheduler of this data directory that calls itself `pid` in the namespace of a real node.
fn seen_from_here(pid: Pid, data_dir: &DataDir) -> Option<Pid> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.find(|outside| {
        let status = fs::read_to_string(format!("/proc/{outside}/status")).unwrap_or_default();
        let arguments = fs::read_to_string(format!("/proc/{outside}/cmdline")).unwrap_or_default();
        // From here to its own namespace, separated by tabs; one number where both are the same.
        let ids: Vec<&str> = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        ids.len() > 1
            && ids.last().is_some_and(|inside| *inside == pid.to_string())
            && arguments.split('\0').nth(2).is_some_and(|argument| Path::new(argument) == data_dir.path())
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Whoever cares for the outcome has called `stop` or `kill`.
            drop(self.kill());
        }
    }
}

fn kill_process(pid: Pid) -> Result<(), Error> {
    match rustix::process::kill_process(pid, Signal::KILL) {
        // Gone already.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::Io { action: "kill", path: "kube-scheduler".into(), source: errno.into() }),
    }
}

/// Opens the file for the process' standard error, and makes the directories above it.
fn open_log(data_dir: &DataDir) -> Result<File, Error> {
    let logs = data_dir.logs();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&logs).map_err(Error::io("make", &logs))?;
    let path = data_dir.stderr_log();
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io("write to", &path))
}

/// The end of a log as one text; empty where it can't be read, since it only completes an error.
fn last_lines(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
}
