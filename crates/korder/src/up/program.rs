//! A program that runs as a process of the host, kept running.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use kooper::Stop;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::log_file::LogFile;
use super::probe::{self, Answer};
use crate::supervised;

/// How soon a program that ended is started again: ever later, unless it ran well for some time.
const RESTART_MIN: Duration = Duration::from_millis(500);
const RESTART_MAX: Duration = Duration::from_secs(30);
const RESTART_FORGIVEN: Duration = Duration::from_mins(1);
/// How often a program is asked whether it is ready: until it is, and from then on.
const PROBE_STARTING: Duration = Duration::from_millis(50);
const PROBE_RUNNING: Duration = Duration::from_secs(1);
/// Questions in a row without an answer that make a ready program unready: within five seconds.
const MAX_UNANSWERED: u32 = 2;
/// What a program gets for an orderly stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Lines on their way to the log; a program that writes more waits.
const LOG_QUEUE: usize = 1024;

/// A program of korder's: a subcommand of this executable.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The Deployment that stands for it in the cluster.
    pub(crate) name: &'static str,
    /// The subcommand and its options; `--health-address` is added.
    pub(crate) arguments: Vec<OsString>,
    /// How it reaches the cluster.
    pub(crate) kubeconfig: PathBuf,
    /// Where its output goes.
    pub(crate) log: PathBuf,
}

/// How a program does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Whether it said so itself when last asked.
    pub(crate) ready: bool,
    /// How often it was started again.
    pub(crate) restarts: i32,
}

/// A program that is kept running until it is told to stop.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// The Deployment that stands for it.
    pub(crate) name: &'static str,
    /// How it does, always the latest.
    pub(crate) health: watch::Receiver<Health>,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Starts a program and keeps it running until `stop`.
    pub(crate) fn start(program: Program, stop: Stop) -> anyhow::Result<Self> {
        let executable = supervised::this_program()?;
        let log = LogFile::open(&program.log).with_context(|| format!("cannot open `{}`", program.log.display()))?;
        let (sender, health) = watch::channel(Health::default());
        let name = program.name;
        let (lines, queue) = mpsc::channel(LOG_QUEUE);
        let supervisor = Supervisor { executable, program, health: sender, lines };
        let task = tokio::spawn(async move {
            // The log ends when the last writer of lines has gone.
            tokio::join!(supervisor.run(stop), write_log(log, queue));
        });
        Ok(Self { name, health, task })
    }

    /// Waits for the program's end, which comes soon after `stop`.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        self.task.await.with_context(|| format!("the supervisor of `{}` failed", self.name))
    }
}

/// A line of output: when it came, on which stream.
type Line = (Timestamp, &'static str, String);

async fn write_log(mut log: LogFile, mut queue: mpsc::Receiver<Line>) {
    while let Some((time, stream, line)) = queue.recv().await {
        if let Err(error) = log.write(time, stream, &line) {
            tracing::error!(%error, "cannot write the log of a program");
        }
    }
}

struct Supervisor {
    executable: PathBuf,
    program: Program,
    health: watch::Sender<Health>,
    lines: mpsc::Sender<Line>,
}

impl Supervisor {
    async fn run(self, stop: Stop) {
        let mut delay = RESTART_MIN;
        while !stop.is_stopped() {
            let started = Instant::now();
            let outcome = match self.run_once(&stop).await {
                Ok(status) => format!("ended with {status}"),
                Err(error) => format!("could not be started: {error:#}"),
            };
            self.health.send_modify(|health| health.ready = false);
            if stop.is_stopped() {
                break;
            }
            if started.elapsed() > RESTART_FORGIVEN {
                delay = RESTART_MIN;
            }
            self.note(format!("`{}` {outcome}; it is started again in {} s", self.program.name, delay.as_secs_f32()))
                .await;
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stop.stopped() => break,
            }
            delay = (2 * delay).min(RESTART_MAX);
            self.health.send_modify(|health| health.restarts = health.restarts.saturating_add(1));
        }
    }

    /// Runs the program until it ends by itself or, after `stop`, in order.
    async fn run_once(&self, stop: &Stop) -> anyhow::Result<ExitStatus> {
        // A new one each time, in case somebody else has taken the last one.
        let port = probe::free_port(None).context("no loopback port is free")?;
        let mut child = spawn(&self.executable, &self.program, port)?;
        // The child ends when this is closed.
        let stdin = child.stdin.take();
        let output = (child.stdout.take(), child.stderr.take());
        let pump = async { tokio::join!(self.pump("stdout", output.0), self.pump("stderr", output.1)) };
        let watch = async {
            tokio::select! {
                status = child.wait() => return status,
                () = self.probe(port) => {}
                () = stop.stopped() => {}
            }
            drop(stdin);
            if let Ok(status) = tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
                return status;
            }
            child.kill().await?;
            child.wait().await
        };
        let (status, _) = tokio::join!(watch, pump);
        Ok(status?)
    }

    /// Asks again and again how the program does.
    async fn probe(&self, port: u16) {
        let mut unanswered = 0;
        loop {
            let answer = probe::ask(port).await;
            unanswered = if answer == Answer::None { unanswered + 1 } else { 0 };
            let was_ready = self.health.borrow().ready;
            // On a busy machine a good program may once be slow to answer.
            let ready = answer == Answer::Ready || (was_ready && (1..MAX_UNANSWERED).contains(&unanswered));
            if ready != was_ready {
                self.note(format!("`{}` is {}", self.program.name, if ready { "ready" } else { "not ready" })).await;
                self.health.send_modify(|health| health.ready = ready);
            }
            tokio::time::sleep(if ready { PROBE_RUNNING } else { PROBE_STARTING }).await;
        }
    }

    async fn pump(&self, stream: &'static str, from: Option<impl AsyncRead + Unpin>) {
        let Some(from) = from else { return };
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).await.is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            self.log(stream, text).await;
            line.clear();
        }
    }

    async fn note(&self, text: String) {
        self.log("stderr", text).await;
    }

    async fn log(&self, stream: &'static str, text: String) {
        // The receiver lives as long as this supervisor.
        drop(self.lines.send((Timestamp::now(), stream, text)).await);
    }
}

fn spawn(executable: &Path, program: &Program, health_port: u16) -> anyhow::Result<Child> {
    Command::new(executable)
        .arg0("korder")
        .args(&program.arguments)
        .arg(format!("--health-address=127.0.0.1:{health_port}"))
        .env("KUBECONFIG", &program.kubeconfig)
        .env(supervised::VARIABLE, "1")
        // Ctrl-C in a terminal reaches the whole group; the supervisor stops its programs in order.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run `{}`", executable.display()))
}
