//! Names that always work: cert-manager has `orders` too, and `kubectl` picks one of the two.

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Kubectl};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use korder_api::{Order, TicketPhase};
use kube::CustomResourceExt as _;
use kube::api::{Api, ListParams};

use crate::suite::Suite;
use crate::until::{order_is_ready, pod_is_bound, ticket_is};

/// What of cert-manager's kind matters here.
const FOREIGN_ORDERS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: orders.acme.cert-manager.io
spec:
  group: acme.cert-manager.io
  scope: Namespaced
  names: {kind: Order, listKind: OrderList, plural: orders, singular: order, categories: [cert-manager]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

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
    kubectl.apply(FOREIGN_ORDERS).await?;
    let used = async {
        kubectl.get(&["wait", "--for=condition=Established", "crd/orders.acme.cert-manager.io"]).await?;
        use_names_that_always_work(case, &kubectl).await
    };
    let used = used.await;
    kubectl.get(&["delete", "crd", "orders.acme.cert-manager.io"]).await?;
    used
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
