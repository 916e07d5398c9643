//! Starting and stopping everything in the right order.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use cli::{Hinted, Printer, Progress};
use cluster::binary::{self, NodePrograms};
use cluster::{BuildProgress, Cluster, Image, RealNode, Settings, Version};
use jiff::Timestamp;
use korder_manifests::Profile;

use super::host::{self, Ports, Programs};
use super::instance::{Instance, Lock, State};
use super::nodes::NodeArguments;
use super::probe;
use crate::install::{self, IMAGE};
use crate::supervised;

/// What the user wants running.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// The API server's port; `None` keeps the last one.
    pub(crate) port: Option<u16>,
    /// Which Kubernetes.
    pub(crate) version: Version,
    /// The nodes.
    pub(crate) nodes: NodeArguments,
}

/// An embedded cluster with korder on it, ready, in child processes of this one.
pub(crate) struct Running {
    instance: Instance,
    lock: Lock,
    cluster: Cluster,
    /// korder's programs where they run here; on a real node they are pods.
    programs: Option<Programs>,
}

impl Running {
    /// Starts or resumes an instance and waits until all of it is ready.
    pub(crate) async fn start(instance: Instance, wish: &Wish, printer: Printer) -> anyhow::Result<(Self, State)> {
        let lock = instance.lock()?;
        check_kind(&instance, wish)?;
        instance.set_state(None)?;
        let Binaries { control_plane, kubectl, real_node } = Binaries::find_or_build(wish, printer).await?;
        let progress = Progress::start(printer, "Starting Kubernetes");
        let settings = Settings {
            port: wish.port,
            pod_logs: if wish.nodes.real_node() { Vec::new() } else { host::pod_logs(&instance) },
            real_node: real_node.map(|programs| node_of_korder(programs, wish)).transpose()?,
            ..Settings::new(instance.data_dir().clone())
        };
        let cluster = Cluster::start(&control_plane, settings).await.map_err(hinted)?;
        progress.update("Installing korder");
        let ports = Ports { webhook: port(&instance, "webhook-port")?, metrics: port(&instance, "metrics-port")? };
        let (kubernetes, programs) = match install_and_run(&instance, &cluster, wish, ports, &progress).await {
            Ok(running) => running,
            Err(error) => {
                // The reason counts, not how the stop went.
                drop(cluster.stop().await);
                return Err(error);
            }
        };
        let state = State {
            korder: env!("CARGO_PKG_VERSION").to_owned(),
            kubernetes,
            server: cluster.server().to_owned(),
            metrics: programs.as_ref().map(|_| format!("https://127.0.0.1:{}/metrics", ports.metrics)),
            kubeconfig: cluster.data_dir().kubeconfig(),
            kubectl,
            ready_since: Timestamp::now(),
        };
        instance.set_state(Some(&state))?;
        progress.finish("Started");
        Ok((Self { instance, lock, cluster, programs }, state))
    }

    /// Waits until something ends that should not, and says what.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        hinted(self.cluster.ended().await)
    }

    /// Stops everything in order; the state stays.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self { instance, lock, cluster, programs } = self;
        instance.set_state(None)?;
        if let Some(programs) = programs {
            programs.stop().await?;
        }
        cluster.stop().await.map_err(hinted)?;
        drop(lock);
        Ok(())
    }
}

/// The programs of Kubernetes that are needed here, built where they must be.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    control_plane: PathBuf,
    kubectl: PathBuf,
    real_node: Option<NodePrograms>,
}

impl Binaries {
    /// Finds them, or builds them and shows how that goes.
    pub(crate) async fn find_or_build(wish: &Wish, printer: Printer) -> anyhow::Result<Self> {
        let mut progress = None;
        let mut report = |build: BuildProgress| {
            let start = || Progress::start(printer, "Building Kubernetes, which takes some minutes the first time");
            progress.get_or_insert_with(start).update(build);
        };
        let control_plane = binary::control_plane(wish.version, &mut report).await.map_err(hinted)?;
        let kubectl = binary::kubectl(&mut report).await.map_err(hinted)?;
        let real_node = if wish.nodes.real_node() {
            Some(binary::real_node(wish.version, &mut report).await.map_err(hinted)?)
        } else {
            None
        };
        if let Some(progress) = progress {
            progress.finish("Built");
        }
        Ok(Self { control_plane, kubectl, real_node })
    }
}

/// Makes the nodes, installs korder as `korder install` does, and runs its programs here until they are ready; with the
/// cluster's version.
async fn install_and_run(
    instance: &Instance,
    cluster: &Cluster,
    wish: &Wish,
    ports: Ports,
    progress: &Progress,
) -> anyhow::Result<(String, Option<Programs>)> {
    let client = cluster.client();
    let nodes = async {
        cluster.ensure_nodes(&wish.nodes.templates()).await.map_err(hinted)?;
        cluster.settle().await.map_err(hinted)
    };
    if wish.nodes.real_node() {
        let profile = Profile::InCluster { image: IMAGE.to_owned() };
        let options = install::Options { profile, gate: None, grants: vec![], dry_run: false };
        let (installed, ()) = tokio::try_join!(install::install(&client, &options), nodes)?;
        progress.update("Waiting for korder");
        install::wait_ready(&client).await?;
        return Ok((installed.kubernetes, None));
    }
    let programs = async {
        let profile = Profile::Host { webhook_port: ports.webhook };
        let options = install::Options { profile, gate: None, grants: vec![], dry_run: false };
        let installed = install::install(&client, &options).await?;
        anyhow::Ok((installed.kubernetes, Programs::start(instance, &client, ports).await?))
    };
    let ((), (kubernetes, programs)) = tokio::try_join!(nodes, programs)?;
    progress.update("Waiting for korder");
    match programs.wait_ready(instance, &client).await {
        Ok(()) => Ok((kubernetes, Some(programs))),
        Err(error) => {
            drop(programs.stop().await);
            Err(error)
        }
    }
}

/// Refuses to go on with other nodes than the cluster was made with: its certificates, addresses and pods are of these.
fn check_kind(instance: &Instance, wish: &Wish) -> anyhow::Result<()> {
    let is_new = !instance.data_dir().kubeconfig().exists();
    let was_real = instance.path("node").exists();
    if is_new || was_real == wish.nodes.real_node() {
        return Ok(());
    }
    let dir = instance.data_dir().path().display();
    let (is, hint) = if was_real {
        ("has a real node", "add `--real-node`, or choose another `--data-dir`")
    } else {
        ("has simulated nodes alone", "leave out `--real-node`, or choose another `--data-dir`")
    };
    Err(Hinted::new(format!("the cluster in `{dir}` {is}"), hint).into())
}

/// A real node that has the image of this very program.
fn node_of_korder(programs: NodePrograms, wish: &Wish) -> anyhow::Result<RealNode> {
    let image = Image { name: IMAGE.to_owned(), program: supervised::this_program()? };
    Ok(RealNode {
        programs,
        images: vec![image],
        archives: wish.nodes.images().to_vec(),
        labels: wish.nodes.labels(),
        exclusive_cpus: wish.nodes.exclusive_cpus(),
    })
}

/// A port that others know, by the file in which it is kept: the last one where that is free.
fn port(instance: &Instance, file: &str) -> anyhow::Result<u16> {
    let path = instance.path(file);
    let last = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    let port = probe::free_port(last).context("no loopback port is free")?;
    super::instance::write_private(&path, format!("{port}\n").as_bytes())?;
    Ok(port)
}

/// An error of the cluster with what the user can do about it.
fn hinted(error: cluster::Error) -> anyhow::Error {
    match error.hint() {
        Some(hint) => Hinted::new(error, hint).into(),
        None => error.into(),
    }
}
