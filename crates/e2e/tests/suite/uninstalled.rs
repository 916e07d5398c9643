//! `korder uninstall` in the middle of everything.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Environment, History, Log};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use korder_api::{TicketPhase, names};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::installation::{GATE, Korder, cluster};
use crate::pods::{is_gated, node_of};
use crate::suite::Suite;
use crate::until::{order_is_ready, pod_is_bound, pod_waits};

const SIZE: Size = Size { cpu: "100m", memory: "64Mi" };
const WAITING: usize = 20;
const CLAIMANTS: usize = 6;
/// Kinds whose objects a whole installation leaves none of, but those that define kinds.
const KINDS: &str = "deployments,services,serviceaccounts,secrets,roles,rolebindings,clusterroles,clusterrolebindings,\
                     priorityclasses,poddisruptionbudgets,networkpolicies,leases,validatingadmissionpolicies,\
                     validatingadmissionpolicybindings,mutatingwebhookconfigurations,namespaces";

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(uninstall_leaves_nothing_stuck);
}

async fn uninstall_leaves_nothing_stuck() -> Result<()> {
    let cluster = cluster().await?;
    let korder = Korder::on(&cluster).await?;
    korder.run(&["install", "--gate", "webhook"]).await?;
    let environment = Arc::new(Environment::at(&cluster.data_dir().kubeconfig()).await?);
    Case::run(&environment, "uninstall", async |case: &Case| in_the_middle(case, &korder).await).await?;
    let removed = korder.run(&["uninstall", "--crds", "--yes"]).await?;
    ensure!(removed.contains("orders.core.korder.dev removed"), "{removed}");
    cluster.stop().await.context("cannot stop the cluster")
}

async fn in_the_middle(case: &Case, korder: &Korder) -> Result<()> {
    let client = case.client();
    let mut controllers = korder.start(&client, names::CONTROLLER_NAME, &["controller"]).await?;
    let mut webhook = korder.start_webhook(&client).await?;
    case.add_nodes(1, Size { cpu: "8", memory: "16Gi" }).await?;
    case.create(&case.order("shelf", i32::try_from(CLAIMANTS)?, SIZE)).await?;
    order_is_ready(case, "shelf", i32::try_from(CLAIMANTS)?).await?;
    case.create(&case.claimant("running", "shelf", SIZE)).await?;
    let running = pod_is_bound(case, "running").await?;
    for number in 0..WAITING {
        case.create(&case.claimant(&format!("waiting-{number}"), "no-such-order", SIZE)).await?;
    }
    pod_waits(case, "waiting-0", "OrderNotFound").await?;
    for number in 0..CLAIMANTS {
        case.create(&case.claimant(&format!("claimant-{number}"), "shelf", SIZE)).await?;
    }
    // In the middle of a hand-over, somewhere.
    let claimed = |log: &Log<korder_api::Ticket>| {
        log.objects().any(|ticket| ticket.phase() == TicketPhase::Claimed).then_some(())
    };
    case.tickets.until("a ticket is claimed", claimed).await?;
    controllers.kill().await.context("cannot kill the controllers")?;
    webhook.kill().await.context("cannot kill the webhook")?;

    let told = korder.run(&["uninstall", "--dry-run"]).await?;
    ensure!(told.contains("clusterrolebinding/korder-controller-manager removed (dry run)"), "{told}");
    killed_halfway(korder, &client).await?;
    korder.run(&["uninstall", "--yes"]).await?;

    for number in 0..WAITING {
        pod_is_bound(case, &format!("waiting-{number}")).await?;
    }
    for number in 0..CLAIMANTS {
        pod_is_bound(case, &format!("claimant-{number}")).await?;
    }
    let pods: Api<Pod> = Api::all(client.clone());
    let pods = pods.list(&ListParams::default()).await?.items;
    ensure!(!pods.iter().any(is_gated), "a pod still waits behind the gate");
    let guardian = pods.iter().find(|pod| pod.labels().contains_key(names::LABEL_ROLE));
    ensure!(guardian.is_none(), "a guardian is still there: {:?}", guardian.map(ResourceExt::name_any));
    let still = pods.iter().find(|pod| pod.name_any() == "running").context("a running pod is gone")?;
    ensure!(still.uid() == running.uid() && node_of(still) == node_of(&running), "a running pod is another one now");
    let left = case.kubectl().get(&["get", KINDS, "-A", "-o=name", "-l", "app.kubernetes.io/part-of=korder"]).await?;
    ensure!(left.trim().is_empty(), "these are left:\n{left}");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    ensure!(namespaces.get_opt(names::SYSTEM_NAMESPACE).await?.is_none(), "korder's namespace is left");

    // What is kept serves again.
    korder.run(&["install", "--gate", "webhook"]).await?;
    let _webhook = korder.start_webhook(&client).await?;
    let _controllers = korder.start(&client, names::CONTROLLER_NAME, &["controller"]).await?;
    order_is_ready(case, "shelf", i32::try_from(CLAIMANTS)?).await?;
    case.create(&case.claimant("later", "shelf", SIZE)).await?;
    pod_is_bound(case, "later").await.map(drop)
}

/// Begins, and is killed as soon as the gate is gone.
async fn killed_halfway(korder: &Korder, client: &kube::Client) -> Result<()> {
    let gates: History<MutatingWebhookConfiguration> = History::start(Api::all(client.clone())).await?;
    let mut begun = korder.command(&["uninstall", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    gates.until("the gate is gone", |log| log.get(GATE).is_none().then_some(())).await?;
    // It may have come to its end by itself.
    begun.start_kill().ok();
    begun.wait().await.map(drop).context("cannot wait for `korder uninstall`")
}
