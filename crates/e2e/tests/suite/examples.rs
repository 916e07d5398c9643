//! The first two examples of the korder document, unchanged, where they say: in the namespace `default`.

use anyhow::{Context as _, Result, bail, ensure};
use e2e::objects::{self, OnNodesOf as _, Size};
use e2e::{Case, History, Log, Skipped};
use k8s_openapi::api::core::v1::{Node, Pod};
use korder_api::names::{ANNOTATION_BOUND_TICKET, LABEL_ORDER, guardian_name};
use korder_api::{Order, Quantity, Ticket, TicketPhase};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};

use crate::names;
use crate::pods::{is_pending, node_of};
use crate::suite::Suite;

const ORDER: &str = include_str!("../../../../examples/order.yaml");
const BUSINESS_POD: &str = include_str!("../../../../examples/business-pod.yaml");
const NODE_LABEL: &str = "node-type=compute";
/// Pods that wait for the place on the full node.
const NEIGHBOURS: usize = 4;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(an_order_becomes_tickets_and_a_pod_takes_one_on_a_full_node);
}

/// What happens in the namespace of the examples.
struct Stage<'a> {
    case: &'a Case,
    orders: History<Order>,
    tickets: History<Ticket>,
    pods: History<Pod>,
}

pub(crate) async fn an_order_becomes_tickets_and_a_pod_takes_one_on_a_full_node(case: &Case) -> Result<()> {
    let client = case.client();
    let stage = Stage {
        case,
        orders: History::start(Api::default_namespaced(client.clone())).await?,
        tickets: History::start(Api::default_namespaced(client.clone())).await?,
        pods: History::start(Api::default_namespaced(client)).await?,
    };
    // What other tests do to names and to real nodes would be seen here.
    let _alone = case.environment().cluster_wide().await;
    stage.is_free().await?;
    let played = stage.play().await;
    let cleared = stage.clear().await;
    played.and(cleared)
}

impl Stage<'_> {
    async fn is_free(&self) -> Result<()> {
        ensure!(self.orders.log().get("my-order").is_none(), "there is an order `my-order` in the namespace `default`");
        ensure!(self.pods.log().get("my-business-pod").is_none(), "there is a pod `my-business-pod` in `default`");
        let nodes: Api<Node> = Api::all(self.case.client());
        let nodes = nodes.list(&ListParams::default().labels(NODE_LABEL)).await?;
        if nodes.items.len() < 2 {
            bail!(Skipped(format!("fewer than two nodes have the label `{NODE_LABEL}`")));
        }
        Ok(())
    }

    async fn play(&self) -> Result<()> {
        let kubectl = self.case.environment().kubectl();
        kubectl.apply(ORDER).await?;
        self.orders.until("three tickets are ready", |log| is_ready(log, 3, 0)).await?;
        let held = self.ready_tickets();
        ensure!(held.len() == 3, "the order says 3, and ready are: {held:?}");
        for (ticket, node) in &held {
            self.guardian_holds(ticket, node).await?;
        }
        let (next, node) = held.first().context("no ticket")?;
        let neighbours = self.fill(node).await?;

        kubectl.apply(BUSINESS_POD).await?;
        let has_place = |log: &Log<Pod>| log.get("my-business-pod").filter(|pod| node_of(pod).is_some()).cloned();
        let pod = self.pods.until("the business pod has a place", has_place).await?;
        ensure!(node_of(&pod) == Some(node), "the pod is on {:?}, its place was on `{node}`", node_of(&pod));
        let bound = pod.annotations().get(ANNOTATION_BOUND_TICKET);
        ensure!(bound == Some(next), "the pod has the ticket {bound:?}, and `{next}` is the first to expire");
        let used = |log: &Log<Ticket>| log.get(next).filter(|ticket| ticket.phase() == TicketPhase::Used).cloned();
        let used = self.tickets.until("its ticket is used", used).await?;
        ensure!(used.claim().is_some_and(|claim| Some(&claim.uid) == pod.metadata.uid.as_ref()), "{:?}", used.claim());

        self.orders.until("the order has refilled", |log| is_ready(log, 3, 1)).await?;
        let refilled = self.ready_tickets();
        let new: Vec<_> = refilled.iter().filter(|ticket| !held.contains(ticket)).collect();
        ensure!(new.len() == 1 && new[0].1 != *node, "`{node}` is full, and the refill is {new:?}");
        for neighbour in &neighbours {
            ensure!(self.was_never_bound(neighbour), "`{neighbour}` got a place on the full node");
        }
        self.commands_of_the_document(next, node).await?;
        self.forget_the_order().await
    }

    /// The commands that the document shows for orders, tickets and pods tell what there is.
    async fn commands_of_the_document(&self, ticket: &str, node: &str) -> Result<()> {
        if names::are_ambiguous(self.case).await? {
            // `orders` may then be another group's; the test of names uses those that always work.
            return Ok(());
        }
        let guardian = guardian_name(&self.ready_tickets().first().context("no ticket is ready")?.0);
        let describe_ticket = format!("describe ticket {ticket}");
        let commands: [(&str, &[&str]); 8] = [
            ("get orders", &["STRATEGY", "READY", "USED", "my-order", "OneTime/OnClaim", "Ready"]),
            ("get tickets", &["PHASE", "HOLDER", "EXPIRES", ticket, node, "my-business-pod", "Used", "Held"]),
            ("get pods -l korder.dev/role=guardian", &[&guardian, "Running"]),
            ("get pods my-business-pod -o yaml", &["korder.dev/bound-ticket", ticket, "korder.dev/TicketBound"]),
            ("get tickets -o wide", &["ORDER", "CPU", "MEMORY", "my-order", "500m", "1Gi"]),
            ("get orders,tickets,quotas --all-namespaces", &["order.core.korder.dev/my-order", "default", ticket]),
            ("describe order my-order", &["3 of 3 tickets are ready", "TicketsIssued", "made 3 tickets", "Ready"]),
            (&describe_ticket, &["my-business-pod", node, "Held", "HandingOver", "InUse"]),
        ];
        // One that has never seen another `orders`.
        let cache = tempfile::tempdir()?;
        let kubectl = self.case.environment().kubectl().with_cache(cache.path());
        for (command, parts) in commands {
            let shown = kubectl.get(&command.split(' ').collect::<Vec<_>>()).await?;
            let missing: Vec<_> = parts.iter().filter(|part| !shown.contains(**part)).collect();
            ensure!(missing.is_empty(), "{missing:?} is missing in what `kubectl {command}` shows:\n{shown}");
        }
        Ok(())
    }

    /// Names and nodes of the tickets that are ready, in the order in which they are given away.
    fn ready_tickets(&self) -> Vec<(String, String)> {
        let log = self.tickets.log();
        let mut ready: Vec<_> = log.objects().filter(|ticket| ticket.phase() == TicketPhase::Ready).collect();
        let expires = |ticket: &Ticket| ticket.status.as_ref().and_then(|status| status.expiration_time.clone());
        ready.sort_by_key(|ticket| (expires(ticket).map(|time| time.0), ticket.name_any()));
        let node = |ticket: &Ticket| ticket.status.as_ref().and_then(|status| status.node_name.clone());
        ready.into_iter().map(|ticket| (ticket.name_any(), node(ticket).unwrap_or_default())).collect()
    }

    async fn guardian_holds(&self, ticket: &str, node: &str) -> Result<()> {
        let client = self.case.client();
        let guardian: Pod = Api::default_namespaced(client.clone()).get(&guardian_name(ticket)).await?;
        ensure!(node_of(&guardian) == Some(node), "the guardian of `{ticket}` is on {:?}", node_of(&guardian));
        let requests = guardian.spec.as_ref().and_then(|spec| spec.containers.first()?.resources.clone()?.requests);
        let requests = serde_json::to_value(requests)?;
        ensure!(requests == serde_json::json!({"cpu": "500m", "memory": "1Gi"}), "the guardian requests {requests}");
        let node = Api::<Node>::all(client).get(node).await?;
        ensure!(node.labels().get("node-type").is_some_and(|value| value == "compute"), "`{}`", node.name_any());
        Ok(())
    }

    /// Takes all that is left of a node and lets pods wait for more; their names.
    async fn fill(&self, node: &str) -> Result<Vec<String>> {
        let left = free_millicores(&self.case.client(), node).await?;
        let mut filler = objects::pod("filler", Size { cpu: "1m", memory: "1Mi" });
        let cpu = serde_json::from_value(serde_json::json!({"cpu": format!("{left}m")}))?;
        filler.spec.get_or_insert_default().containers[0].resources.get_or_insert_default().requests = Some(cpu);
        self.case.create(&filler.on_node(node)).await?;
        let full = |log: &Log<Pod>| log.get("filler").filter(|pod| node_of(pod).is_some()).map(drop);
        self.case.pods.until("the node is full", full).await?;
        let names: Vec<String> = (1..=NEIGHBOURS).map(|number| format!("neighbour-{number}")).collect();
        for name in &names {
            self.case.create(&objects::pod(name, Size::SMALL).on_node(node)).await?;
        }
        let wait = |log: &Log<Pod>| names.iter().all(|name| log.get(name).is_some_and(|pod| is_pending(pod)));
        self.case.pods.until("pods wait for a place on the node", |log| wait(log).then_some(())).await?;
        Ok(names)
    }

    fn was_never_bound(&self, pod: &str) -> bool {
        let log = self.case.pods.log();
        log.events().iter().filter(|event| event.object.name_any() == pod).all(|event| node_of(&event.object).is_none())
    }

    /// Deletes the order: what it holds goes, the pod stays.
    async fn forget_the_order(&self) -> Result<()> {
        self.case
            .environment()
            .kubectl()
            .get(&["delete", "orders.core.korder.dev", "my-order", "--wait=false"])
            .await?;
        let none = |log: &Log<Ticket>| log.objects().all(|ticket| !is_of_example(ticket.as_ref())).then_some(());
        self.tickets.until("the tickets are gone", none).await?;
        let none = |log: &Log<Pod>| log.objects().all(|pod| !is_of_example(pod.as_ref())).then_some(());
        self.pods.until("the guardians are gone", none).await?;
        let log = self.pods.log();
        let pod = log.get("my-business-pod").context("the business pod went with the order")?;
        ensure!(pod.metadata.deletion_timestamp.is_none(), "the business pod is being deleted with the order");
        Ok(())
    }

    async fn clear(&self) -> Result<()> {
        let (client, now) = (self.case.client(), DeleteParams::background().grace_period(0));
        let gone = |result: kube::Result<()>| match result {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            result => result,
        };
        gone(Api::<Pod>::default_namespaced(client.clone()).delete("my-business-pod", &now).await.map(drop))?;
        gone(Api::<Order>::default_namespaced(client).delete("my-order", &now).await.map(drop))?;
        let none = |log: &Log<Pod>| {
            let left = |pod: &Pod| is_of_example(pod) || pod.name_any() == "my-business-pod";
            log.objects().all(|pod| !left(pod)).then_some(())
        };
        self.pods.until("the pods of the example are gone", none).await
    }
}

fn is_ready(log: &Log<Order>, ready: i32, used: i32) -> Option<()> {
    let status = log.get("my-order")?.status.as_ref()?;
    (status.ready == ready && status.used == used).then_some(())
}

fn is_of_example(object: &impl kube::Resource) -> bool {
    object.meta().labels.as_ref().and_then(|labels| labels.get(LABEL_ORDER)).is_some_and(|of| of == "my-order")
}

/// The thousandths of a core of a node that no pod has requested.
async fn free_millicores(client: &kube::Client, node: &str) -> Result<i64> {
    let there = Api::<Node>::all(client.clone()).get(node).await?;
    let allocatable =
        there.status.and_then(|status| status.allocatable?.remove("cpu")).context("no CPU allocatable")?;
    let mut free = allocatable.0.parse::<Quantity>()?.millis();
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    for pod in Api::<Pod>::all(client.clone()).list(&on_node).await?.items {
        for container in pod.spec.map(|spec| spec.containers).unwrap_or_default() {
            let requests = container.resources.and_then(|resources| resources.requests).unwrap_or_default();
            if let Some(cpu) = requests.get("cpu") {
                free -= cpu.0.parse::<Quantity>()?.millis();
            }
        }
    }
    Ok(free)
}
