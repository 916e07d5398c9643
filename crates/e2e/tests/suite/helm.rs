//! The Helm chart between real containers: a release comes, changes and goes in the middle of everything. After it, korder
//! comes by `korder install`, and goes as well.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Case, Environment, History};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use korder_api::{Order, names};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use tempfile::TempDir;
use tokio::process::Command;

use crate::installation::{Korder, real_cluster};
use crate::suite::Suite;
use crate::taken_away::{Middle, controllers_are_stopped};
use crate::uninstalled;

const HELM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/helm");
/// How long one call may take: the first one compiles Helm.
const DEADLINE: Duration = Duration::from_mins(20);
/// The Job that lets go of pods before a release is removed.
const HOOK: &str = "korder-uninstall";
/// What is left of the node's CPU, in thousandths: for the pods of the test, and further ones of korder's programs while
/// they are replaced.
const ROOM: i64 = 800;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_real_node(a_release_comes_and_goes);
}

async fn a_release_comes_and_goes() -> Result<()> {
    let cluster = real_cluster().await?;
    let korder = Korder::on(&cluster).await?;
    let environment = Arc::new(Environment::at(&cluster.data_dir().kubeconfig()).await?);
    let helm = Helm::of(&korder, &cluster.data_dir().kubeconfig()).await?;

    // As a webhook first, which the API server has to reach.
    helm.install(&["--create-namespace", "--set=gate=webhook"]).await?;
    Case::run(&environment, "helm", async |case: &Case| a_release_goes(case, &helm).await).await?;

    korder.run(&["install"]).await?;
    let rollout = ["rollout", "status", "deployment", "-n", names::SYSTEM_NAMESPACE, "--timeout=50s"];
    environment.kubectl().get(&rollout).await?;
    Case::run(&environment, "uninstall", async |case: &Case| {
        case.take_real_node(ROOM).await?;
        let middle = Middle::of(case).await?;
        uninstalled::killed_halfway(case, &korder).await?;
        let remembered = middle.goes_on().await?;
        uninstalled::comes_to_its_end(case, &korder).await?;
        remembered.is_all_that_is_left().await
    })
    .await?;
    cluster.stop().await.context("cannot stop the cluster")
}

async fn a_release_goes(case: &Case, helm: &Helm) -> Result<()> {
    case.take_real_node(ROOM).await?;
    let middle = Middle::of(case).await?;

    let before = uids(case).await?;
    helm.upgrade(&["--set=controller.replicas=1"]).await?;
    ensure!(uids(case).await? == before, "an upgrade has replaced orders, tickets or kinds");

    let pods: History<Pod> = History::start(Api::namespaced(case.client(), names::SYSTEM_NAMESPACE)).await?;
    let (gone, remembered) = tokio::try_join!(helm.uninstall(), async {
        controllers_are_stopped(case).await?;
        middle.goes_on().await
    })?;
    ensure!(gone.contains("uninstalled"), "{gone}");
    ensure!(pods.log().events().iter().any(|event| has_run(&event.object)), "the hook has not run as a container");
    remembered.is_all_that_is_left().await?;
    let hook =
        ["get", "job,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,networkpolicy", "-A", "-o=name"];
    let left = case.kubectl().get(&hook).await?;
    ensure!(!left.contains(HOOK), "the hook has left something:\n{left}");
    ensure!(uids(case).await?[..1] == before[..1], "the order is another one");

    helm.install(&[]).await?;
    remembered.is_served_again().await?;
    helm.uninstall().await.map(drop)
}

/// Whether the hook's program has run in a container, and ended well.
fn has_run(pod: &Pod) -> bool {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ended_well = |status: &k8s_openapi::api::core::v1::ContainerStatus| {
        let end = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        end.is_some_and(|end| end.exit_code == 0 && end.container_id.is_some())
    };
    pod.name_any().starts_with(HOOK) && containers.into_iter().any(ended_well)
}

/// The uids of the order, its tickets and the kinds.
async fn uids(case: &Case) -> Result<Vec<Option<String>>> {
    let order = case.api::<Order>().get("shelf").await?.uid();
    let tickets: Vec<_> = case.tickets.log().objects().map(|ticket| ticket.uid()).collect();
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=korder");
    let kinds = Api::<CustomResourceDefinition>::all(case.client()).list(&ours).await?.items;
    ensure!(kinds.len() == 5, "there are {} kinds", kinds.len());
    Ok([order].into_iter().chain(tickets).chain(kinds.iter().map(ResourceExt::uid)).collect())
}

/// Helm, with the chart of this version, on one cluster.
struct Helm {
    kubeconfig: PathBuf,
    /// The chart, and what Helm remembers.
    files: TempDir,
}

impl Helm {
    async fn of(korder: &Korder, kubeconfig: &Path) -> Result<Self> {
        let helm = Self { kubeconfig: kubeconfig.to_owned(), files: tempfile::tempdir()? };
        korder.chart(&helm.chart()).await?;
        Ok(helm)
    }

    fn chart(&self) -> PathBuf {
        self.files.path().join("chart")
    }

    async fn install(&self, arguments: &[&str]) -> Result<String> {
        // The kinds that a release has left are another one's.
        self.run(&["install", "--take-ownership", "--wait", "--timeout=5m"], true, arguments).await
    }

    async fn upgrade(&self, arguments: &[&str]) -> Result<String> {
        self.run(&["upgrade", "--wait", "--timeout=5m"], true, arguments).await
    }

    async fn uninstall(&self) -> Result<String> {
        self.run(&["uninstall", "--wait", "--timeout=5m"], false, &[]).await
    }

    async fn run(&self, command: &[&str], with_chart: bool, arguments: &[&str]) -> Result<String> {
        let mut helm = Command::new(HELM);
        helm.args(command).args(arguments).args(["--namespace", names::SYSTEM_NAMESPACE, "korder"]);
        if with_chart {
            helm.arg(self.chart());
        }
        helm.env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            helm.env(home, self.files.path().join(home));
        }
        let output = tokio::time::timeout(DEADLINE, helm.output()).await.context("Helm does not end")??;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`helm {}` failed:\n{stdout}{stderr}", command.join(" "));
        Ok(stdout.into_owned())
    }
}
