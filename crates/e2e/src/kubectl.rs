//! The program that users type.

use std::ffi::{OsStr, OsString};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// `kubectl`, for one cluster and one namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: OsString,
    kubeconfig: OsString,
    cache_dir: OsString,
    namespace: Option<String>,
    user: Option<String>,
}

/// What a call of `kubectl` ended with.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whether it was a success.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Kubectl {
    /// The one on the `PATH`, or one that is built where there is none, in the namespace `default`.
    ///
    /// `cache_dir` keeps what it learns of the API away from the user's own cache, which may be of another cluster on
    /// the same port.
    pub async fn find(kubeconfig: impl Into<OsString>, cache_dir: impl Into<OsString>) -> Result<Self> {
        let program = cluster::binary::kubectl(|_| ()).await.context("there is no `kubectl`")?;
        Ok(Self {
            program: program.into(),
            kubeconfig: kubeconfig.into(),
            cache_dir: cache_dir.into(),
            namespace: Some("default".to_owned()),
            user: None,
        })
    }

    /// The same in another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self.clone() }
    }

    /// The same with no word of a namespace: for manifests that name several.
    #[must_use]
    pub fn in_no_namespace(&self) -> Self {
        Self { namespace: None, ..self.clone() }
    }

    /// The same with what it learns of the API kept elsewhere: a directory that is empty makes it learn anew.
    #[must_use]
    pub fn with_cache(&self, cache_dir: impl Into<OsString>) -> Self {
        Self { cache_dir: cache_dir.into(), ..self.clone() }
    }

    /// The program itself.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The file that tells how to reach the cluster.
    pub fn kubeconfig(&self) -> &OsStr {
        &self.kubeconfig
    }

    /// The same as another user.
    #[must_use]
    pub fn acting_as(&self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self.clone() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig).arg("--cache-dir").arg(&self.cache_dir);
        if !arguments.iter().any(|argument| ["-n", "-A", "--namespace", "--all-namespaces"].contains(argument)) {
            command.args(self.namespace.iter().flat_map(|namespace| ["--namespace", namespace]));
        }
        command.args(self.user.iter().flat_map(|user| ["--as", user]));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs it, with text on its standard input, whatever comes of it.
    pub async fn run(&self, arguments: &[&str], stdin: &str) -> Result<Output> {
        let shown = shown(arguments);
        let cannot = || format!("cannot run `{shown}`");
        let mut child = self.command(arguments).spawn().with_context(cannot)?;
        let mut pipe = child.stdin.take().context("a child without standard input")?;
        let work = async {
            pipe.write_all(stdin.as_bytes()).await?;
            drop(pipe);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(TIMEOUT, work)
            .await
            .with_context(|| format!("`{shown}` took more than {} s", TIMEOUT.as_secs()))?
            .with_context(cannot)?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it and returns what it printed; an error where it fails.
    pub async fn get(&self, arguments: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = self.run(arguments, "").await?;
        ensure!(status.success(), "`{}` ended with {status}:\n{stdout}{stderr}", shown(arguments));
        Ok(stdout)
    }

    /// Applies manifests; what it printed.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        let Output { status, stdout, stderr } = self.run(&["apply", "-f", "-"], yaml).await?;
        ensure!(status.success(), "`kubectl apply` ended with {status}:\n{stdout}{stderr}\nof:\n{yaml}");
        Ok(stdout)
    }

    /// Applies manifests that must be refused; what it complained of.
    pub async fn refused(&self, yaml: &str) -> Result<String> {
        let Output { status, stdout, stderr } = self.run(&["apply", "-f", "-"], yaml).await?;
        ensure!(!status.success(), "`kubectl apply` succeeded and should not:\n{stdout}\nof:\n{yaml}");
        Ok(stderr)
    }

    /// Runs it until it prints a line that `found` likes, then ends it. For what doesn't end by itself (`logs -f`).
    pub async fn until_line(&self, arguments: &[&str], found: impl Fn(&str) -> bool) -> Result<String> {
        let shown = shown(arguments);
        let mut child = self.command(arguments).spawn().with_context(|| format!("cannot run `{shown}`"))?;
        let mut lines = BufReader::new(child.stdout.take().context("a child without standard output")?).lines();
        let mut seen = Vec::new();
        let reading = async {
            while let Some(line) = lines.next_line().await? {
                if found(&line) {
                    return Ok(Some(line));
                }
                seen.push(line);
            }
            anyhow::Ok(None)
        };
        match tokio::time::timeout(TIMEOUT, reading).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Err(error)) => Err(error.context(format!("cannot read what `{shown}` prints"))),
            Ok(Ok(None)) | Err(_) => bail!("`{shown}` did not print what was waited for, but:\n{}", seen.join("\n")),
        }
    }
}

fn shown(arguments: &[&str]) -> String {
    format!("kubectl {}", arguments.join(" "))
}
