//! korder is taken away in the middle of everything, whoever does it: what is there before, and what must hold after.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use korder_api::{Ticket, TicketPhase, names};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::wait::await_condition;

use crate::held::Held;
use crate::pods::{is_gated, node_of};
use crate::until::{order_is_ready, pod_is_bound, pod_waits};

const SIZE: Size = Size { cpu: "10m", memory: "16Mi" };
const WAITING: usize = 20;
const CLAIMANTS: i32 = 6;
/// Kinds whose objects a whole installation leaves none of, but those that define kinds, and the namespace.
const KINDS: &str = "deployments,services,serviceaccounts,secrets,roles,rolebindings,clusterroles,clusterrolebindings,\
                     priorityclasses,poddisruptionbudgets,networkpolicies,leases,validatingadmissionpolicies,\
                     validatingadmissionpolicybindings,mutatingwebhookconfigurations";

/// What is there when korder goes.
pub(crate) struct Middle<'a> {
    case: &'a Case,
    running: Arc<Pod>,
    held: Held<'a>,
}

impl<'a> Middle<'a> {
    /// A pod that runs in its ticket's place, pods that wait for an order that is not there, and pods whose tickets are
    /// claimed: their guardians can't be removed until [`Middle::goes_on`].
    ///
    /// The case must have nodes for all of them.
    pub(crate) async fn of(case: &'a Case) -> Result<Self> {
        case.create(&case.order("shelf", CLAIMANTS, SIZE)).await?;
        order_is_ready(case, "shelf", CLAIMANTS).await?;
        case.create(&case.claimant("running", "shelf", SIZE)).await?;
        let running = pod_is_bound(case, "running").await?;
        order_is_ready(case, "shelf", CLAIMANTS).await?;
        for number in 0..WAITING {
            case.create(&case.claimant(&format!("waiting-{number}"), "no-such-order", SIZE)).await?;
        }
        pod_waits(case, "waiting-0", "OrderNotFound").await?;
        let held = Held::guardians(case).await?;
        for number in 0..CLAIMANTS {
            case.create(&case.claimant(&format!("claimant-{number}"), "shelf", SIZE)).await?;
        }
        let claimed =
            |log: &Log<Ticket>| log.objects().any(|ticket| ticket.phase() == TicketPhase::Claimed).then_some(());
        case.tickets.until("a ticket is claimed", claimed).await?;
        Ok(Self { case, running, held })
    }

    /// Guardians can be removed again; what was there, to be found after.
    pub(crate) async fn goes_on(self) -> Result<Remembered<'a>> {
        let Self { case, running, held } = self;
        held.let_go().await?;
        Ok(Remembered { case, running })
    }
}

/// What must outlive korder.
pub(crate) struct Remembered<'a> {
    case: &'a Case,
    running: Arc<Pod>,
}

impl Remembered<'_> {
    /// Every pod is the scheduler's or bound, no place is held, nothing of korder is left but its kinds and their objects,
    /// and what ran runs.
    pub(crate) async fn is_all_that_is_left(&self) -> Result<()> {
        let Self { case, running } = self;
        let waited = (0..WAITING).map(|number| format!("waiting-{number}"));
        let claimed = (0..CLAIMANTS).map(|number| format!("claimant-{number}"));
        for pod in waited.chain(claimed) {
            pod_is_bound(case, &pod).await?;
        }
        let pods = Api::<Pod>::all(case.client()).list(&ListParams::default()).await?.items;
        ensure!(!pods.iter().any(is_gated), "a pod still waits behind the gate");
        let guardian = pods.iter().find(|pod| pod.labels().contains_key(names::LABEL_ROLE));
        ensure!(guardian.is_none(), "a guardian is still there: {:?}", guardian.map(ResourceExt::name_any));
        let still = pods.iter().find(|pod| pod.name_any() == "running").context("a running pod is gone")?;
        ensure!(still.uid() == running.uid() && node_of(still) == node_of(running), "a running pod is another one now");
        let ours = ["get", KINDS, "-A", "-o=name", "-l", "app.kubernetes.io/part-of=korder"];
        let left = case.kubectl().get(&ours).await?;
        ensure!(left.trim().is_empty(), "these are left:\n{left}");
        case.kubectl().get(&["get", "kord/shelf"]).await.map(drop)
    }

    /// korder is there again, and goes on with what it finds.
    pub(crate) async fn is_served_again(&self) -> Result<()> {
        let Self { case, .. } = self;
        order_is_ready(case, "shelf", CLAIMANTS).await?;
        case.create(&case.claimant("later", "shelf", SIZE)).await?;
        pod_is_bound(case, "later").await.map(drop)
    }
}

/// How long it may take to begin: Helm starts a container for it.
const BEGIN: Duration = Duration::from_mins(3);

/// Waits until the controllers may do nothing any more.
pub(crate) async fn controllers_are_stopped(case: &Case) -> Result<()> {
    let bindings: Api<ClusterRoleBinding> = Api::all(case.client());
    let gone =
        await_condition(bindings, names::CONTROLLER_NAME, |binding: Option<&ClusterRoleBinding>| binding.is_none());
    tokio::time::timeout(BEGIN, gone).await.context("the controllers have all their rights")??;
    Ok(())
}
