//! The cluster that a run works on.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node};
use korder_api::Order;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard};

use crate::objects::{self, Size};
use crate::{History, Kubectl, Log, Up};

/// A cluster with korder on it.
pub struct Environment {
    client: Client,
    kubectl: Kubectl,
    simulates_nodes: OnceCell<bool>,
    cluster_wide: Arc<Mutex<()>>,
    /// Namespaces that are going.
    leaving: Mutex<Vec<String>>,
    own: Option<Up>,
    // What kubectl has learned; removed with the environment.
    _kubectl_cache: TempDir,
}

impl Environment {
    /// The cluster of `$KUBECONFIG`, on which korder must be installed and running; where that is not set, one that
    /// `korder up` starts for this run: with simulated nodes, and with a real one where `$KORDER_E2E_NODES` is `real`.
    pub async fn start() -> Result<Self> {
        match Nodes::wanted()? {
            Nodes::Given(kubeconfig) => Self::given(kubeconfig).await,
            Nodes::Real => Self::own(&["--real-node"]).await,
            Nodes::Simulated => Self::own(&[]).await,
        }
    }

    /// A cluster that `korder up` starts, with further arguments of it.
    pub async fn own(arguments: &[&str]) -> Result<Self> {
        Self::of(Up::start(arguments).await?).await
    }

    async fn of(up: Up) -> Result<Self> {
        let kubeconfig = up.kubeconfig();
        Ok(Self { own: Some(up), ..Self::at(&kubeconfig).await? })
    }

    /// The cluster of a kubeconfig, on which nodes can be simulated; whether korder is there is not looked at.
    pub async fn at(kubeconfig: &Path) -> Result<Self> {
        let cannot = || format!("cannot use the kubeconfig `{}`", kubeconfig.display());
        let parsed = Kubeconfig::read_from(kubeconfig).with_context(cannot)?;
        let config =
            Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.with_context(cannot)?;
        let connected = Self::connect(config, kubeconfig.into()).await?;
        Ok(Self { simulates_nodes: OnceCell::new_with(Some(true)), ..connected })
    }

    async fn given(kubeconfig: OsString) -> Result<Self> {
        let config = Config::infer().await.context("cannot use the cluster of `$KUBECONFIG`")?;
        let given = Self::connect(config, kubeconfig).await?;
        let orders: Api<Order> = Api::all(given.client());
        orders.list(&ListParams::default().limit(1)).await.context(
            "korder does not answer on the cluster of `$KUBECONFIG`: run `korder install` there, or unset it for an \
             embedded cluster",
        )?;
        Ok(given)
    }

    async fn connect(config: Config, kubeconfig: OsString) -> Result<Self> {
        let cache = tempfile::Builder::new().prefix("korder-kubectl-").tempdir().context("cannot make a directory")?;
        Ok(Self {
            client: Client::try_from(config).context("cannot make a client")?,
            kubectl: Kubectl::find(kubeconfig, cache.path()).await?,
            simulates_nodes: OnceCell::new(),
            cluster_wide: Arc::default(),
            leaving: Mutex::new(Vec::new()),
            own: None,
            _kubectl_cache: cache,
        })
    }

    /// A client with the rights of the administrator.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// `kubectl` in the namespace `default`.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Held by tests that need something of the whole cluster for themselves, such as the short name of a kind.
    pub async fn cluster_wide(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.cluster_wide).lock_owned().await
    }

    /// Whether nodes can be made here whose pods run without doing anything; tried once.
    pub async fn simulates_nodes(&self) -> Result<bool> {
        let tried = self.simulates_nodes.get_or_try_init(async || {
            let nodes: Api<Node> = Api::all(self.client());
            let name = format!("e2e-probe-{}", std::process::id());
            let probe = objects::node(&name, &name, Size::SMALL);
            nodes.create(&PostParams::default(), &probe).await.context("cannot make a node")?;
            let selector = ListParams::default().fields(&format!("metadata.name={name}"));
            let history = History::selected(nodes.clone(), selector).await?;
            let simulated =
                history.until("the node is ready", |log| log.objects().any(|node| is_ready(node)).then_some(()));
            let simulated = tokio::time::timeout(PROBE_TIMEOUT, simulated).await.is_ok_and(|waited| waited.is_ok());
            nodes.delete(&name, &DeleteParams::default()).await.context("cannot remove a node")?;
            anyhow::Ok(simulated)
        });
        tried.await.copied()
    }

    /// Removes a namespace; it goes in its own time.
    pub(crate) async fn remove_namespace(&self, name: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let deleted = namespaces.delete(name, &DeleteParams::default()).await;
        deleted.with_context(|| format!("cannot delete the namespace `{name}`"))?;
        self.leaving.lock().await.push(name.to_owned());
        Ok(())
    }

    /// Kills the cluster and all of korder at once, as a power cut does, and starts them again on what they had
    /// written.
    ///
    /// Only a cluster of the run's own can be treated so.
    pub async fn kill_and_resume(self) -> Result<Self> {
        let up = self.own.context("a given cluster is not killed")?.kill_and_resume().await?;
        Self::of(up).await
    }

    /// Kills the scheduler, and returns when its successor leads.
    ///
    /// Only that of the run's own cluster can be treated so.
    pub async fn restart_scheduler(&self) -> Result<()> {
        let up = self.own.as_ref().context("the scheduler of a given cluster is not killed")?;
        let selector = ListParams::default().fields(&format!("metadata.name={SCHEDULER_LEASE}"));
        let leases: History<Lease> = History::selected(Api::namespaced(self.client(), "kube-system"), selector).await?;
        let holder = |log: &Log<Lease>| log.get(SCHEDULER_LEASE)?.spec.as_ref()?.holder_identity.clone();
        let before = leases.until("a scheduler leads", holder).await?;
        up.kill_scheduler().await?;
        let another = |log: &Log<Lease>| holder(log).filter(|holder| !holder.is_empty() && *holder != before);
        leases.until("another scheduler leads", another).await.map(drop)
    }

    /// Where the controllers serve metrics.
    ///
    /// Only those of the run's own cluster can be reached.
    pub async fn metrics(&self) -> Result<String> {
        let up = self.own.as_ref().context("the controllers of a given cluster can't be reached from here")?;
        up.metrics().await
    }

    /// Stops what the run started; on a given cluster, waits until everything that it made is gone.
    pub async fn stop(self) -> Result<()> {
        if let Some(up) = self.own {
            return up.stop().await;
        }
        let leaving = self.leaving.into_inner();
        let namespaces: History<Namespace> = History::start(Api::all(self.client)).await?;
        let gone = |log: &Log<Namespace>| leaving.iter().all(|name| log.get(name).is_none()).then_some(());
        namespaces.until("the namespaces of the tests are gone", gone).await
    }
}

/// The Lease by which a scheduler shows that it leads.
const SCHEDULER_LEASE: &str = "kube-scheduler";

/// Environment variable: what the nodes of a run's own cluster are, `simulated` (the default) or `real`.
const NODES: &str = "KORDER_E2E_NODES";

/// What nodes a run is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// Those of the cluster of a kubeconfig.
    Given(OsString),
    /// Those that KWOK plays.
    Simulated,
    /// One with containers.
    Real,
}

impl Nodes {
    /// As the environment says.
    pub fn wanted() -> Result<Self> {
        if let Some(path) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
            return Ok(Self::Given(path));
        }
        match std::env::var(NODES).as_deref() {
            Ok("real") => Ok(Self::Real),
            Ok("simulated" | "") | Err(_) => Ok(Self::Simulated),
            Ok(other) => bail!("`{NODES}={other}` is neither `simulated` nor `real`"),
        }
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given(_) => "the cluster of `KUBECONFIG`",
            Self::Simulated => "simulated nodes",
            Self::Real => "a real node",
        })
    }
}

/// How long a node may take to be ready where nodes are simulated at all.
const PROBE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Whether pods can be bound to a node: it is ready, and the controller manager has noticed.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && !taints.into_iter().any(|taint| taint.key.starts_with("node.kubernetes.io/"))
}
