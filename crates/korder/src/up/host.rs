//! korder's own programs, as processes of the host.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cli::Hinted;
use cluster::PodLog;
use k8s_openapi::api::apps::v1::Deployment;
use kooper::{Stop, Stopper};
use korder_api::names::{CONTROLLER_NAME, SYSTEM_NAMESPACE, WEBHOOK_NAME};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use tokio::task::JoinHandle;

use super::instance::{Instance, write_private};
use super::mirror::{self, Mirrored};
use super::program::{Program, Supervised};
use crate::install;

/// Bound of the start of all programs.
const READY_TIMEOUT: Duration = Duration::from_mins(1);
const READY_INTERVAL: Duration = Duration::from_millis(25);

/// The programs, by the name of their Deployment.
const NAMES: [&str; 2] = [CONTROLLER_NAME, WEBHOOK_NAME];

/// korder's programs, kept running.
#[derive(Debug)]
pub(crate) struct Programs {
    supervised: Vec<Supervised>,
    mirror: JoinHandle<()>,
    stopper: Stopper,
}

/// The ports on the loopback address that others know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// Where the API server asks the webhook.
    pub(crate) webhook: u16,
    /// Where the controllers serve metrics.
    pub(crate) metrics: u16,
}

/// What `kubectl logs` shows for the pods that stand for the programs.
pub(crate) fn pod_logs(instance: &Instance) -> Vec<PodLog> {
    NAMES
        .iter()
        .map(|name| PodLog {
            namespace: SYSTEM_NAMESPACE.to_owned(),
            name_prefix: format!("{name}-"),
            file: log(instance, name),
        })
        .collect()
}

fn log(instance: &Instance, program: &str) -> std::path::PathBuf {
    instance.data_dir().logs().join(format!("{program}.log"))
}

impl Programs {
    /// Starts the programs on a cluster that has their accounts. Each acts under its own.
    pub(crate) async fn start(instance: &Instance, client: &Client, ports: Ports) -> anyhow::Result<Self> {
        let path = instance.data_dir().kubeconfig();
        let administrator =
            Kubeconfig::read_from(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let (stopper, stop) = Stop::pair();
        let mut supervised = Vec::new();
        for name in NAMES {
            let kubeconfig = instance.path(&format!("{name}.kubeconfig"));
            let access = install::service_account_kubeconfig(client, &administrator, name).await?;
            write_private(&kubeconfig, serde_saphyr::to_string(&access)?.as_bytes())?;
            let program = Program { name, arguments: arguments(name, ports), kubeconfig, log: log(instance, name) };
            supervised.push(Supervised::start(program, stop.clone())?);
        }
        let mirrored =
            supervised.iter().map(|program| Mirrored { name: program.name, health: program.health.clone() }).collect();
        let mirror = tokio::spawn(mirror::run(client.clone(), mirrored, stop));
        Ok(Self { supervised, mirror, stopper })
    }

    /// Waits until every program is ready and its Deployment shows it.
    pub(crate) async fn wait_ready(&self, instance: &Instance, client: &Client) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        let all_ready = async {
            for program in &self.supervised {
                program.health.clone().wait_for(|health| health.ready).await.ok();
                while !install::is_available(&deployments.get(program.name).await?) {
                    tokio::time::sleep(READY_INTERVAL).await;
                }
            }
            anyhow::Ok(())
        };
        if let Ok(result) = tokio::time::timeout(READY_TIMEOUT, all_ready).await {
            return result;
        }
        let unready = self.supervised.iter().find(|program| !program.health.borrow().ready);
        let name = unready.map_or("a Deployment of korder", |program| program.name);
        bail!(Hinted::new(
            format!("`{name}` is not ready after {} s", READY_TIMEOUT.as_secs()),
            format!("see its log in `{}`", instance.data_dir().logs().display())
        ))
    }

    /// Stops the programs in order.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stopper.stop();
        for program in self.supervised {
            program.ended().await?;
        }
        self.mirror.await.context("what shows the programs' readiness failed")
    }
}

fn arguments(name: &str, Ports { webhook, metrics }: Ports) -> Vec<OsString> {
    match name {
        WEBHOOK_NAME => vec!["webhook".into(), format!("--listen=127.0.0.1:{webhook}").into()],
        _ => vec!["controller".into(), format!("--metrics-address=127.0.0.1:{metrics}").into()],
    }
}
