//! A cluster that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;

use crate::binary;
use crate::build::BuildProgress;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::node::{self, NodeTemplate};
use crate::process::{PodLog, Process, Readiness, Start};
use crate::real_node::RealNode;
use crate::version::Version;

/// How often to look for something that a controller makes soon, and how long at most.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
const POLL_TIMEOUT: Duration = Duration::from_mins(1);

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it keeps its state.
    pub data_dir: DataDir,
    /// The API server's port; `None` is the one used last, or else any that is free.
    pub port: Option<u16>,
    /// Whether etcd leaves out waiting for the disk: faster, survives a killed process, not a lost
    /// machine.
    pub unsafe_no_fsync: bool,
    /// Logs of pods whose program runs on the host.
    pub pod_logs: Vec<PodLog>,
    /// The node whose pods are containers, if there is one.
    pub real_node: Option<RealNode>,
}

impl Settings {
    /// The ordinary ones, for a cluster that keeps its state in `data_dir`.
    pub fn new(data_dir: DataDir) -> Self {
        Self { data_dir, port: None, unsafe_no_fsync: false, pod_logs: Vec::new(), real_node: None }
    }
}

/// A cluster that runs in child processes of this one.
///
/// Dropped, it is killed; [`Cluster::stop`] is the orderly end.
pub struct Cluster {
    // Before the directory, so that it has ended when that is removed.
    process: Process,
    client: Client,
    server: String,
    settings: Settings,
    binary: PathBuf,
    started: Timestamp,
    temporary: Option<TempDir>,
}

impl Cluster {
    /// Starts the control plane `binary`, or resumes it where it has run on this data directory before. When this
    /// returns, the API is served; [`Cluster::settle`] waits for what takes a moment longer.
    pub async fn start(binary: &Path, settings: Settings) -> Result<Self, Error> {
        let started = Timestamp::now();
        let (process, readiness) = Process::start(&Start {
            binary,
            data_dir: &settings.data_dir,
            port: settings.port,
            unsafe_no_fsync: settings.unsafe_no_fsync,
            pod_logs: &settings.pod_logs,
            real_node: settings.real_node.as_ref(),
        })
        .await?;
        let client = connect(&settings.data_dir.kubeconfig()).await?;
        let Readiness { server, kubelet_port } = readiness;
        let cluster = Self { process, client, server, settings, binary: binary.to_owned(), started, temporary: None };
        node::correct_kubelet_port(&cluster.client, kubelet_port).await?;
        Ok(cluster)
    }

    /// A cluster with these nodes in a directory of its own, which is removed with it. Its nodes are
    /// ready and its scheduler works when this returns; etcd doesn't wait for the disk. Its version is the one that
    /// the environment asks for.
    ///
    /// `progress` hears of a build of the control plane where one is needed.
    pub async fn temporary(nodes: &[NodeTemplate], progress: impl FnMut(BuildProgress) + Send) -> Result<Self, Error> {
        let binary = binary::control_plane(Version::of_environment()?, progress).await?;
        let cluster = Self::start_temporary(&binary, None).await?;
        cluster.ensure_nodes(nodes).await?;
        cluster.settle().await?;
        Ok(cluster)
    }

    /// The same on a real node, whose programs have been found before; it may not be ready yet when this returns.
    pub async fn temporary_with_real_node(node: RealNode) -> Result<Self, Error> {
        let binary = binary::control_plane(Version::of_environment()?, |_| ()).await?;
        let cluster = Self::start_temporary(&binary, Some(node)).await?;
        cluster.settle().await?;
        Ok(cluster)
    }

    async fn start_temporary(binary: &Path, real_node: Option<RealNode>) -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("korder-")
            .tempdir()
            .map_err(Error::io("make a directory in", std::env::temp_dir()))?;
        let data_dir = DataDir::new(directory.path());
        let settings = Settings { unsafe_no_fsync: true, real_node, ..Settings::new(data_dir) };
        let mut cluster = Self::start(binary, settings).await?;
        cluster.temporary = Some(directory);
        Ok(cluster)
    }

    /// A client with the rights of the administrator.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The API server's address, such as `https://127.0.0.1:6443`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Where the cluster keeps its state.
    pub fn data_dir(&self) -> &DataDir {
        &self.settings.data_dir
    }

    /// Creates the nodes that are not there yet, and waits until every simulated node is ready. A
    /// node that is there stays as it is, whatever its template says.
    pub async fn ensure_nodes(&self, nodes: &[NodeTemplate]) -> Result<(), Error> {
        node::ensure(&self.client, nodes).await?;
        node::wait_ready(&self.client).await
    }

    /// Waits until the controllers and the scheduler work, so that a pod in the namespace `default` is admitted and
    /// scheduled at once. After a kill that takes two seconds, in which the old scheduler's lease runs out.
    pub async fn settle(&self) -> Result<(), Error> {
        self.wait_service_account().await?;
        self.wait_scheduler().await
    }

    /// Kills the scheduler with SIGKILL. Another one is started at once, and takes over when the
    /// lease has run out.
    pub fn kill_scheduler(&self) -> Result<(), Error> {
        self.process.kill_scheduler()
    }

    /// Kills everything with SIGKILL, starts it again on the same state, and waits until it has settled.
    pub async fn kill_and_resume(mut self) -> Result<Self, Error> {
        self.process.kill()?;
        let mut resumed = Self::start(&self.binary, self.settings.clone()).await?;
        resumed.temporary = self.temporary.take();
        resumed.settle().await?;
        Ok(resumed)
    }

    /// Waits until the control plane ends by itself, which it should not, and says how it did.
    pub async fn ended(&mut self) -> Error {
        self.process.ended().await
    }

    /// Stops everything in order. The state stays, unless the cluster is temporary.
    pub async fn stop(self) -> Result<(), Error> {
        let Self { process, temporary, .. } = self;
        process.stop().await?;
        match temporary {
            Some(directory) => {
                let path = directory.path().to_owned();
                directory.close().map_err(Error::io("remove", path))
            }
            None => Ok(()),
        }
    }

    async fn wait_scheduler(&self) -> Result<(), Error> {
        let leases: Api<Lease> = Api::namespaced(self.client(), "kube-system");
        poll("a scheduler", async || {
            let lease = leases.get_opt("kube-scheduler").await.map_err(Error::api("read the scheduler's lease"))?;
            let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
            let held = spec.holder_identity.is_some_and(|holder| !holder.is_empty());
            // The lease of an earlier run tells nothing.
            Ok(held && spec.acquire_time.is_some_and(|time| time.0 >= self.started))
        })
        .await
    }

    /// Without the account `default`, which a controller makes, every pod is refused.
    async fn wait_service_account(&self) -> Result<(), Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), "default");
        poll("the service account `default`", async || {
            let account =
                accounts.get_opt("default").await.map_err(Error::api("read the service account `default`"))?;
            Ok(account.is_some())
        })
        .await
    }
}

/// A client as the kubeconfig's current context says.
async fn connect(kubeconfig: &Path) -> Result<Client, Error> {
    let unusable =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::Kubeconfig { path: kubeconfig.to_owned(), source };
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(|error| unusable(error.into()))?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .map_err(|error| unusable(error.into()))?;
    Client::try_from(config).map_err(|error| unusable(error.into()))
}

/// Asks again and again until the answer is yes.
async fn poll(what: &str, condition: impl AsyncFn() -> Result<bool, Error>) -> Result<(), Error> {
    let met = async {
        while !condition().await? {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    };
    tokio::time::timeout(POLL_TIMEOUT, met)
        .await
        .unwrap_or_else(|_| Err(Error::Timeout { what: format!("waiting for {what}"), after: POLL_TIMEOUT }))
}
