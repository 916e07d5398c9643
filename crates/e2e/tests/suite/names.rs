//! Names that always work: cert-manager has `orders` too, and `kubectl` picks one of the two.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Kubectl};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use korder_api::{Order, TicketPhase};
use kube::CustomResourceExt as _;
use kube::api::{Api, ListParams};
use tokio::process::Command;

use crate::suite::Suite;
use crate::until::{order_is_ready, pod_is_bound, ticket_is};

/// Where cert-manager's definitions of kinds are, under `deploy/crds`.
const CERT_MANAGER: &str = "github.com/cert-manager/cert-manager@v1.21.2";
/// How long fetching them may take: a few megabytes.
const FETCH_DEADLINE: Duration = Duration::from_mins(2);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(another_group_may_have_orders_too);
}

/// Whether another group serves `orders`.
pub(crate) async fn are_ambiguous(case: &Case) -> Result<bool> {
    let definitions: Api<CustomResourceDefinition> = Api::all(case.client());
    let all = definitions.list(&ListParams::default()).await.context("cannot list the definitions of kinds")?;
    Ok(all.items.iter().any(|crd| crd.spec.names.plural == "orders" && crd.spec.group != Order::api_resource().group))
}

async fn another_group_may_have_orders_too(case: &Case) -> Result<()> {
    // Others ask for plain `orders`.
    let _alone = case.environment().cluster_wide().await;
    // What it learns here of the foreign kind must not be believed elsewhere.
    let cache = tempfile::tempdir()?;
    let kubectl = case.kubectl().with_cache(cache.path());
    if are_ambiguous(case).await? {
        return use_names_that_always_work(case, &kubectl).await;
    }
    let definitions = cert_manager_definitions().await?;
    kubectl.get(&["apply", "--server-side", "-f", &definitions]).await?;
    let used = async {
        kubectl.get(&["wait", "--for=condition=Established", "crd/orders.acme.cert-manager.io"]).await?;
        use_names_that_always_work(case, &kubectl).await
    };
    let used = used.await;
    kubectl.get(&["delete", "-f", &definitions]).await?;
    used
}

/// The folder with cert-manager's definitions, fetched with Go, which building the cluster takes anyway.
async fn cert_manager_definitions() -> Result<String> {
    let fetch = Command::new("go").args(["mod", "download", "-json", CERT_MANAGER]).kill_on_drop(true).output();
    let fetched = tokio::time::timeout(FETCH_DEADLINE, fetch).await.context("cert-manager's module does not come")?;
    let fetched = fetched.context("cannot run `go`")?;
    let told: serde_json::Value = serde_json::from_slice(&fetched.stdout).unwrap_or_default();
    let folder = told["Dir"].as_str().with_context(|| {
        let stderr = String::from_utf8_lossy(&fetched.stderr);
        format!("cannot fetch cert-manager's module: {}{stderr}", told["Error"].as_str().unwrap_or_default())
    })?;
    Ok(format!("{folder}/deploy/crds"))
}

async fn use_names_that_always_work(case: &Case, kubectl: &Kubectl) -> Result<()> {
    case.add_nodes(1, Size { cpu: "8", memory: "16Gi" }).await?;
    kubectl.apply(&serde_saphyr::to_string(&case.order("shelf", 2, Size::SMALL))?).await?;
    order_is_ready(case, "shelf", 2).await?;
    case.create(&case.claimant("app", "shelf", Size::SMALL)).await?;
    pod_is_bound(case, "app").await?;
    ticket_is(case, "shelf-3", TicketPhase::Ready).await?;
    for names in ["orders.core.korder.dev,tickets.core.korder.dev", "kord,ktk", "korder"] {
        let shown = kubectl.get(&["get", names]).await?;
        for part in ["order.core.korder.dev/shelf", "ticket.core.korder.dev/shelf-1", "OneTime/OnClaim", "app"] {
            ensure!(shown.contains(part), "`{part}` is missing in what `kubectl get {names}` shows:\n{shown}");
        }
    }
    let described = kubectl.get(&["describe", "kord", "shelf"]).await?;
    ensure!(described.contains("2 of 2 tickets are ready"), "{described}");
    kubectl.get(&["scale", "kord/shelf", "--replicas=1"]).await?;
    order_is_ready(case, "shelf", 1).await?;
    kubectl.get(&["delete", "kord", "shelf", "--wait=false"]).await?;
    case.orders.until("the order is gone", |log| log.get("shelf").is_none().then_some(())).await
}
