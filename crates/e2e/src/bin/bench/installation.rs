//! korder on an embedded Kubernetes, as `korder up` makes it.

use std::env;
use std::path::PathBuf;
use std::process::{Command as BlockingCommand, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cli::Hinted;
use korder_api::names;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;

/// Bound of one command; the first may build Kubernetes.
const DEADLINE: Duration = Duration::from_mins(30);

/// How many simulated nodes there are where something is measured on many.
pub(crate) const NODES: usize = 100;

/// An installation in a directory of its own; dropped, it is stopped and removed.
pub(crate) struct Installation {
    korder: PathBuf,
    directory: TempDir,
}

impl Installation {
    /// A directory in which nothing was started yet, for the program `korder` that was built with this one.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let korder = env::current_exe().context("cannot find out where this program is")?.with_file_name("korder");
        if !korder.is_file() {
            let missing = format!("there is no `{}`", korder.display());
            return Err(
                Hinted::new(missing, "build it with `cargo build --release -p korder`, as `make bench` does").into()
            );
        }
        let directory =
            tempfile::Builder::new().prefix("korder-bench-").tempdir().context("cannot make a directory")?;
        Ok(Self { korder, directory })
    }

    /// One with many simulated nodes: room for the largest order, and on each node for all claims of a run. What a ticket
    /// takes is a part of a node that counts, so that the scheduler spreads them.
    pub(crate) async fn of_many_nodes() -> anyhow::Result<Self> {
        let installation = Self::new()?;
        let nodes = format!("--nodes={NODES}");
        installation.up(&[&nodes, "--node-cpu=400", "--node-memory=1600Gi", "--node-resource=pods=1000"]).await?;
        Ok(installation)
    }

    /// Starts or resumes it with these arguments; how long it took until all was ready.
    pub(crate) async fn up(&self, arguments: &[&str]) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.run("up", &[&["--detach"], arguments].concat()).await?;
        Ok(started.elapsed())
    }

    /// Stops it and keeps its state.
    pub(crate) async fn down(&self) -> anyhow::Result<()> {
        self.run("down", &[]).await.map(drop)
    }

    /// A client with the rights of the administrator.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.directory.path().join("kubeconfig"))?;
        Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
    }

    /// A client with the rights of the controllers.
    pub(crate) async fn client_as_controllers(&self) -> anyhow::Result<Client> {
        let mut kubeconfig = Kubeconfig::read_from(self.directory.path().join("kubeconfig"))?;
        let account = format!("system:serviceaccount:{}:{}", names::SYSTEM_NAMESPACE, names::CONTROLLER_NAME);
        for user in kubeconfig.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut()) {
            user.impersonate = Some(account.clone());
        }
        Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
    }

    /// The process in which the controllers run.
    pub(crate) async fn controllers(&self) -> anyhow::Result<Process> {
        #[derive(Deserialize)]
        struct Status {
            pid: u32,
        }
        let Status { pid } = serde_json::from_str(&self.run("status", &["--output=json"]).await?)?;
        Process::new(pid).child("controller")
    }

    async fn run(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut korder = Command::new(&self.korder);
        korder.args([command, "--data-dir"]).arg(self.directory.path()).args(arguments);
        korder.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, korder.output())
            .await
            .with_context(|| format!("`korder {command}` took more than {} min", DEADLINE.as_secs() / 60))?
            .with_context(|| format!("cannot run `{}`", self.korder.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`korder {command}` ended with {}: {}", output.status, said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let mut down = BlockingCommand::new(&self.korder);
        down.args(["down", "--delete", "--data-dir"]).arg(self.directory.path());
        // What could not be stopped is not to hide why the measurement failed.
        drop(down.stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}
