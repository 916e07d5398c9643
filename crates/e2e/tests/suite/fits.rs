//! Which pods fit into which tickets, and what those are told that fit none.

use anyhow::{Result, ensure};
use e2e::Case;
use e2e::objects::{self, Size};
use korder_api::{TicketPhase, names};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::pods::{merged, merged_value};
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, order_says, pod_is_bound, pod_waits, ticket_is};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_pod_that_fits_no_ticket_waits_and_is_told_why);
    suite.add(a_pod_that_can_not_be_judged_yet_waits_and_is_told_why);
    suite.add(a_pod_waits_while_the_node_is_cordoned);
    suite.add(a_pod_that_the_scheduler_refuses_gives_its_ticket_back);
    suite.add(the_least_waste_goes_first);
}

async fn a_pod_that_fits_no_ticket_waits_and_is_told_why(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let lowly = case.add_priority_class("lowly", -10).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let requests = |amounts: Value| app(&json!({"resources": {"requests": amounts}}));
    let sidecar = json!({"name": "side", "image": "side", "restartPolicy": "Always",
                         "resources": {"requests": {"cpu": "1m"}}});
    let table = [
        ("cpu", requests(json!({"cpu": "501m", "memory": "1Gi"})), "cpu"),
        ("memory", requests(json!({"cpu": "500m", "memory": "1025Mi"})), "memory"),
        ("storage", requests(json!({"cpu": "500m", "ephemeral-storage": "1"})), "ephemeral-storage"),
        ("device", app(&json!({"resources": {"limits": {"example.com/device": "1"}}})), "example.com/device"),
        ("sidecar", json!({"initContainers": [sidecar]}), "cpu"),
        ("pod-level", json!({"resources": {"requests": {"cpu": "600m"}}}), "cpu"),
        ("label", json!({"nodeSelector": {"disk": "fast"}}), "`disk=fast`"),
        ("taint", json!({"tolerations": null}), objects::OWN_NODE),
        ("priority", json!({"priorityClassName": lowly}), "-10"),
        ("scheduler", json!({"schedulerName": "another"}), "`another`"),
    ];
    each_waits(case, &table, "NoTicketFits").await?;
    // The ticket is still there for one that fits.
    case.create(&case.claimant("fits", "shelf", SIZE)).await?;
    pod_is_bound(case, "fits").await?;
    Ok(())
}

async fn a_pod_that_can_not_be_judged_yet_waits_and_is_told_why(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let nodes = json!({"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["any"]},
    ]}]});
    let pods = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}]);
    let affinity =
        |to: &str, rules: &Value| json!({"affinity": {to: {"requiredDuringSchedulingIgnoredDuringExecution": rules}}});
    let spread = json!({"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"app": "db"}}});
    let host_network = merged_value(app(&json!({"ports": [{"containerPort": 80}]})), &json!({"hostNetwork": true}));
    let table = [
        ("node-affinity", affinity("nodeAffinity", &nodes), "node affinity"),
        ("pod-affinity", affinity("podAffinity", &pods), "affinity to other pods"),
        ("pod-anti-affinity", affinity("podAntiAffinity", &pods), "affinity to other pods"),
        ("spread", json!({"topologySpreadConstraints": [spread]}), "topology spread"),
        ("host-port", app(&json!({"ports": [{"containerPort": 80, "hostPort": 80}]})), "host port"),
        ("host-network", host_network, "host port"),
        ("volume", json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}), "volume"),
        ("claim", json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]}), "resource claim"),
    ];
    each_waits(case, &table, "NotSupportedYet").await
}

/// A pod's one container with a difference.
fn app(difference: &Value) -> Value {
    let container = merged_value(json!({"name": "app", "image": "app"}), difference);
    json!({"containers": [container]})
}

/// Pods whose specs differ so from one that fits all wait for this reason, and are told what it is about.
async fn each_waits(case: &Case, table: &[(&str, Value, &str)], reason: &str) -> Result<()> {
    for (name, difference, _) in table {
        case.create(&merged(case.claimant(name, "shelf", SIZE), &json!({"spec": difference}))?).await?;
    }
    for (name, _, told) in table {
        let message = pod_waits(case, name, reason).await?;
        ensure!(message.contains(told), "`{name}` is told: {message}");
        event_tells(case, "Pod", name, reason).await?;
    }
    Ok(())
}

async fn a_pod_waits_while_the_node_is_cordoned(case: &Case) -> Result<()> {
    let node = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    case.kubectl().get(&["cordon", &node]).await?;
    case.until_node(&node, "is tainted", |node| {
        node.spec
            .iter()
            .flat_map(|spec| spec.taints.iter().flatten())
            .any(|taint| taint.key.ends_with("/unschedulable"))
    })
    .await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let message = pod_waits(case, "app", "NoTicketFits").await?;
    ensure!(message.contains("node.kubernetes.io/unschedulable"), "{message}");
    case.kubectl().get(&["uncordon", &node]).await?;
    pod_is_bound(case, "app").await?;
    Ok(())
}

async fn a_pod_that_the_scheduler_refuses_gives_its_ticket_back(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    // Who was there first wants no `rival` beside it: something that only the scheduler looks at.
    let rules = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "rival"}}}]);
    let jealous =
        json!({"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": rules}}}});
    case.create(&merged(case.pod("jealous", SIZE), &jealous)?).await?;
    pod_is_bound(case, "jealous").await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let rival = json!({"metadata": {"labels": {"app": "rival"}}});
    case.create(&merged(case.claimant("app", "shelf", SIZE), &rival)?).await?;
    event_tells(case, "Ticket", "shelf-1", "HandingOver").await?;
    event_tells(case, "Ticket", "shelf-1", "GivenBack").await?;
    let event = event_tells(case, "Pod", "app", "PlaceLost").await?;
    ensure!(event.type_.as_deref() == Some("Warning"), "the event is {:?}", event.type_);
    // The order had refilled, so that it has one too many for a while.
    order_says(case, "shelf", "there is one ticket, and it is ready", |status| {
        (status.replicas, status.ready, status.used) == (1, 1, 0)
    })
    .await?;
    Ok(())
}

async fn the_least_waste_goes_first(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    for (name, size) in
        [("large", Size { cpu: "2", memory: "4Gi" }), ("small", SIZE), ("medium", Size { cpu: "1", memory: "2Gi" })]
    {
        case.create(&case.ticket(name, size)).await?;
        ticket_is(case, name, TicketPhase::Ready).await?;
    }
    for (pod, ticket) in [("first", "small"), ("second", "medium"), ("third", "large")] {
        let mut claimant = case.pod(pod, SIZE);
        claimant.annotations_mut().insert(names::ANNOTATION_REQUIRED.to_owned(), "true".to_owned());
        case.create(&claimant).await?;
        let bound = pod_is_bound(case, pod).await?;
        let got = bound.annotations().get(names::ANNOTATION_BOUND_TICKET).map(String::as_str);
        ensure!(got == Some(ticket), "pod `{pod}` got {got:?}, and `{ticket}` wastes least");
    }
    Ok(())
}
