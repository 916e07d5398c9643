//! The cluster on which a chapter is told, from nothing to nothing.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cli::{Hinted, Printer, Progress};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use korder_api::names;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use tempfile::TempDir;

use crate::objects::eventually;
use crate::show::Show;

/// Bound of `korder up`: on a machine's first run it builds Kubernetes.
const UP_DEADLINE: Duration = Duration::from_mins(30);

/// Where a cluster can be, and the programs that make it.
pub(crate) struct Stage {
    directory: TempDir,
    /// The program `korder`, as a user would type it.
    korder: String,
}

/// The nodes of a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Nodes<'a> {
    /// Those that these arguments of `korder up` say.
    Simulated {
        /// As they are typed.
        arguments: &'a str,
    },
    /// One, whose pods are containers.
    Real {
        /// The archives of the images that they pull.
        images: &'a [PathBuf],
    },
}

/// A cluster with korder on it.
pub(crate) struct Cluster {
    /// What the facts are checked with.
    pub(crate) client: Client,
    /// Whether pods are containers here. Then there is one node, which has room for little more than the order.
    pub(crate) is_real: bool,
    /// The directory of its state, for files of the story too.
    pub(crate) directory: PathBuf,
}

impl Stage {
    /// Finds what is needed, or says what is missing before anything has begun.
    pub(crate) async fn find(show: &mut Show, printer: Printer) -> anyhow::Result<Self> {
        if !Path::new("examples/order.yaml").is_file() {
            let missing = format!("there is no `examples/order.yaml` in `{}`", env::current_dir()?.display());
            return Err(Hinted::new(missing, "run `make demo` in the root of the repository").into());
        }
        let korder = korder_program()?;
        let directory = tempfile::Builder::new().prefix("korder-demo-").tempdir();
        let directory =
            directory.with_context(|| format!("cannot make a directory in `{}`", env::temp_dir().display()))?;
        let mut progress = None;
        let building = || Progress::start(printer, "Building kubectl, for there is none");
        let kubectl = cluster::binary::kubectl(|build| progress.get_or_insert_with(building).update(build)).await;
        drop(progress);
        let kubectl = kubectl.map_err(|error| match error.hint() {
            Some(hint) => Hinted::new(error, hint).into(),
            None => anyhow::Error::new(error),
        })?;
        // A name alone is found on the path; one that was built is not on it yet, nor are kubectl's plugins.
        let built = kubectl.parent().filter(|parent| parent.is_absolute()).map(Path::to_owned);
        let plugins = env::current_dir()?.join(&korder).parent().map(Path::to_owned);
        show.export("PATH", extended_path(plugins.into_iter().chain(built))?)?;
        // What kubectl keeps in mind of one cluster is wrong for the next one on the same port.
        show.set("KUBECACHEDIR", directory.path().join("kubectl-cache").into());
        Ok(Self { directory, korder })
    }

    /// Starts the cluster.
    pub(crate) async fn open(&self, show: &mut Show, nodes: Nodes<'_>) -> anyhow::Result<Cluster> {
        let Self { directory, korder } = self;
        let data_dir = directory.path();
        show.step("Kubernetes starts on this machine, and korder is installed on it")?;
        let (is_real, arguments) = match nodes {
            Nodes::Simulated { arguments } => (false, arguments.to_owned()),
            Nodes::Real { images } => {
                let images = images.iter().map(|image| format!(" --image {}", image.display()));
                (true, format!("--real-node{}", images.collect::<String>()))
            }
        };
        show.run_within(UP_DEADLINE, &format!("{korder} up --detach --data-dir {} {arguments}", data_dir.display()))
            .await?;
        let kubeconfig = data_dir.join("kubeconfig");
        show.export("KUBECONFIG", kubeconfig.clone().into())?;
        let cluster = Cluster { client: connect(&kubeconfig).await?, is_real, directory: data_dir.to_owned() };
        let version = cluster.client.apiserver_version().await?.git_version;
        show.run("kubectl get nodes -L node-type").await?;
        let nodes = Api::<Node>::all(cluster.client.clone()).list(&ListParams::default().labels("node-type")).await?;
        let count = nodes.items.len();
        show.holds(if is_real {
            format!("this is Kubernetes {version}; the pods of its compute node are containers on this machine")
        } else {
            format!("this is Kubernetes {version}; its {count} compute nodes are simulated, all else is real")
        })?;
        show.run("kubectl api-resources --api-group core.korder.dev").await?;
        eventually("korder's programs run", async || ensure_programs_run(&cluster.client).await).await?;
        show.run("kubectl get deployments -n korder-system").await?;
        show.holds("korder's kinds are served, its programs run")?;
        Ok(cluster)
    }

    /// Takes everything away, or says how to go on with it.
    pub(crate) async fn close(self, show: &mut Show, keep: bool) -> anyhow::Result<()> {
        let Self { directory, korder } = self;
        let path = directory.path().to_owned();
        if path.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
            return directory.close().with_context(|| format!("cannot remove `{}`", path.display()));
        }
        // From here on it is `korder down` that removes it.
        let path = directory.keep();
        let down = format!("{korder} down --data-dir {} --delete", path.display());
        if keep {
            show.step("The cluster stays")?;
            show.exports()?;
            show.command(&down)?;
            show.aside("the first to look around with kubectl, the last to remove it")?;
            return Ok(());
        }
        show.step("Everything is removed")?;
        show.run(&down).await?;
        ensure!(!path.exists(), "`{}` is still there", path.display());
        show.holds("nothing is left")?;
        Ok(())
    }
}

/// The program `korder` that was built with this one, as it is typed here.
fn korder_program() -> anyhow::Result<String> {
    let executable = env::current_exe().context("cannot find out where this program is")?;
    let korder = executable.with_file_name("korder");
    if !korder.is_file() {
        let missing = format!("there is no `{}`", korder.display());
        return Err(Hinted::new(missing, "build it with `cargo build -p korder`, as `make demo` does").into());
    }
    let here = env::current_dir()?;
    Ok(korder.strip_prefix(here).unwrap_or(&korder).display().to_string())
}

/// The search path with other directories in front.
fn extended_path(directories: impl Iterator<Item = PathBuf>) -> anyhow::Result<OsString> {
    let there = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(directories.chain(env::split_paths(&there)))?)
}

async fn connect(kubeconfig: &Path) -> anyhow::Result<Client> {
    let context = || format!("cannot use the kubeconfig `{}`", kubeconfig.display());
    let parsed = Kubeconfig::read_from(kubeconfig).with_context(context)?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.with_context(context)?;
    Client::try_from(config).with_context(context)
}

/// Every Deployment of korder's is available.
async fn ensure_programs_run(client: &Client) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let deployments = deployments.list(&ListParams::default()).await?.items;
    ensure!(!deployments.is_empty(), "there is no Deployment in `{}`", names::SYSTEM_NAMESPACE);
    for deployment in deployments {
        let available = deployment.status.as_ref().and_then(|status| status.available_replicas);
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        ensure!(available == wanted, "`{}` has {available:?} of {wanted:?} replicas", deployment.name_any());
    }
    Ok(())
}
