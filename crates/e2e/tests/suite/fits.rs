//! Which pods fit into which tickets, and what those are told that fit none.

use anyhow::{Result, ensure};
use e2e::Case;
use e2e::objects::{self, Size};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};
use korder_api::{TicketPhase, names};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::pods::{is_pending, merged, merged_value, node_of, waits_for};
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, order_says, pod_is_bound, pod_waits, ticket_is};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;
const HOSTNAME: &str = "kubernetes.io/hostname";

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_pod_that_fits_no_ticket_waits_and_is_told_why);
    suite.add(a_pod_that_does_not_fit_beside_others_waits_and_is_told_why);
    suite.add(a_pod_whose_storage_is_not_within_reach_waits_and_is_told_why);
    suite.add(a_pod_that_can_not_be_judged_yet_waits_and_is_told_why);
    suite.add(claimants_of_one_moment_do_not_get_in_each_others_way);
    suite.add(a_waiting_pod_claims_when_what_was_in_its_way_is_gone);
    suite.add(a_claim_is_held_while_a_stronger_pod_could_use_the_place);
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
        ("pages", app(&json!({"resources": {"limits": {"hugepages-2Mi": "2Mi", "cpu": "500m"}}})), "hugepages-2Mi"),
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

async fn a_pod_that_does_not_fit_beside_others_waits_and_is_told_why(case: &Case) -> Result<()> {
    case.add_nodes(2, NODE).await?;
    let tight = Size { cpu: "1m", memory: "1Mi" };
    // On each node of the case: who has the port, who is not wanted, and who wants nobody like `rival` beside it.
    for (name, node) in [("first", 0), ("second", 1)] {
        let name_of_node = format!("{}-{node}", case.namespace());
        let there = json!({
            "metadata": {"labels": {"app": "there", "side": name}},
            "spec": merged_value(
                merged_value(
                    json!({"nodeSelector": {HOSTNAME: name_of_node}}),
                    &near("podAntiAffinity", &json!({"matchLabels": {"app": "rival"}})),
                ),
                &app(&json!({"ports": [{"containerPort": 80, "hostPort": 8080}]})),
            ),
        });
        case.create(&merged(case.pod(name, tight), &there)?).await?;
        pod_is_bound(case, name).await?;
    }
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let elsewhere = json!({"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["any"]},
    ]}]});
    let label = |operator: &str| {
        json!({"nodeSelectorTerms": [{"matchExpressions": [
            {"key": HOSTNAME, "operator": operator},
        ]}]})
    };
    let node_affinity = |terms: &Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
    let db = json!({"matchLabels": {"app": "db"}});
    let there = json!({"matchLabels": {"app": "there"}});
    let spread = |key: &str, extra: Value| {
        let spread = json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
                            "labelSelector": {"matchLabels": {"app": "there"}}});
        json!({"topologySpreadConstraints": [merged_value(spread, &extra)]})
    };
    let host_network = merged_value(app(&json!({"ports": [{"containerPort": 8080}]})), &json!({"hostNetwork": true}));
    let table = [
        ("node-field", node_affinity(&elsewhere), "node affinity"),
        ("node-label", node_affinity(&label("DoesNotExist")), "node affinity"),
        ("pod-affinity", near("podAffinity", &db), "affinity asks for"),
        ("pod-anti-affinity", near("podAntiAffinity", &there), "the pod's anti-affinity"),
        ("no-topology", spread("no.such/label", json!({})), "`no.such/label`"),
        ("host-port", app(&json!({"ports": [{"containerPort": 80, "hostPort": 8080}]})), "`8080/TCP`"),
        ("host-network", host_network, "`8080/TCP`"),
    ];
    let rival = json!({"metadata": {"labels": {"app": "rival"}}});
    case.create(&merged(case.claimant("rival", "shelf", SIZE), &rival)?).await?;
    // Both nodes have one of them, so that a third is one too many where a domain is missing.
    let third = json!({"metadata": {"labels": {"app": "there"}}, "spec": spread(HOSTNAME, json!({"minDomains": 3}))});
    case.create(&merged(case.claimant("spread", "shelf", SIZE), &third)?).await?;
    each_waits(case, &table, "NoTicketFits").await?;
    for (name, told) in [("rival", "another pod's anti-affinity"), ("spread", "its `kubernetes.io/hostname`")] {
        let message = pod_waits(case, name, "NoTicketFits").await?;
        ensure!(message.contains(told), "`{name}` is told: {message}");
    }
    no_ticket_was_spent(case)?;
    // And those with rules that are kept fit.
    let kept = [
        ("by-label", json!({"spec": node_affinity(&label("Exists"))})),
        ("near", json!({"spec": near("podAffinity", &there)})),
        ("apart", json!({"spec": near("podAntiAffinity", &db)})),
        ("even", json!({"spec": spread(HOSTNAME, json!({}))})),
        ("port", json!({"spec": app(&json!({"ports": [{"containerPort": 80, "hostPort": 8081}]}))})),
    ];
    for (name, difference) in kept {
        let small = Size { cpu: "1m", memory: "1Mi" };
        case.create(&merged(case.claimant(name, "shelf", small), &difference)?).await?;
        pod_is_bound(case, name).await?;
        order_is_ready(case, "shelf", 1).await?;
    }
    Ok(())
}

async fn a_pod_whose_storage_is_not_within_reach_waits_and_is_told_why(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let (local, zonal) = (format!("{}-local", case.namespace()), format!("{}-zonal", case.namespace()));
    let late = |name: &str, provisioner: &str, extra: Value| {
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
                           "volumeBindingMode": "WaitForFirstConsumer"});
        merged_value(class, &extra)
    };
    let zones = json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": HOSTNAME, "values": ["any"]}]}]});
    make_class(case, late(&local, "kubernetes.io/no-provisioner", json!({}))).await?;
    make_class(case, late(&zonal, "example.com/driver", zones)).await?;
    for (name, class) in [("unbound", ""), ("local", local.as_str()), ("zonal", zonal.as_str())] {
        case.create(&storage_claim(name, class)).await?;
    }
    let using = |name: &str| json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]});
    let template = json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": local,
                                   "resources": {"requests": {"storage": "1Gi"}}}});
    let table = [
        ("missing", using("none"), "claim `none` does not exist"),
        ("unbound", using("unbound"), "not bound to a volume yet"),
        ("local", using("local"), "no volume for claim `local` is free"),
        ("zonal", using("zonal"), "can be made for the node"),
        (
            "ephemeral",
            json!({"volumes": [{"name": "data", "ephemeral": {"volumeClaimTemplate": template}}]}),
            "ephemeral-data",
        ),
    ];
    each_waits(case, &table, "NoTicketFits").await?;
    no_ticket_was_spent(case)?;
    delete_class(case, &local).await?;
    delete_class(case, &zonal).await
}

async fn a_pod_that_can_not_be_judged_yet_waits_and_is_told_why(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let disk = json!({"name": "data", "iscsi": {"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2026-01.org.example:d", "lun": 0}});
    let table = [
        ("claim", json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]}), "resource claim"),
        ("disk", json!({"volumes": [disk]}), "disk"),
    ];
    each_waits(case, &table, "NotSupportedYet").await?;
    no_ticket_was_spent(case)
}

/// Two that want the same port, or nobody like themselves near, and a ticket for each, on one node.
async fn claimants_of_one_moment_do_not_get_in_each_others_way(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 4, SIZE)).await?;
    order_is_ready(case, "shelf", 4).await?;
    let port = json!({"spec": app(&json!({"ports": [{"containerPort": 80, "hostPort": 8080}]}))});
    let alone = near("podAntiAffinity", &json!({"matchLabels": {"app": "alone"}}));
    let alone = json!({"metadata": {"labels": {"app": "alone"}}, "spec": alone});
    for (kind, difference) in [("port", &port), ("alone", &alone)] {
        for number in ["a", "b"] {
            case.create(&merged(case.claimant(&format!("{kind}-{number}"), "shelf", SIZE), difference)?).await?;
        }
    }
    for kind in ["port", "alone"] {
        let one_waits = |log: &e2e::Log<Pod>| {
            let pods = ["a", "b"].map(|number| log.get(&format!("{kind}-{number}")));
            let bound = pods.iter().flatten().find(|pod| node_of(pod).is_some())?;
            let waits =
                pods.iter().flatten().find(|pod| waits_for(pod).is_some_and(|(why, _)| why == "NoTicketFits"))?;
            Some((bound.name_any(), waits.name_any()))
        };
        let (bound, waiting) =
            case.pods.until(format!("one of `{kind}` has its place and the other waits"), one_waits).await?;
        case.delete::<Pod>(&bound).await?;
        pod_is_bound(case, &waiting).await?;
    }
    Ok(())
}

async fn a_waiting_pod_claims_when_what_was_in_its_way_is_gone(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    // Its volume comes.
    let class = format!("{}-local", case.namespace());
    make_class(
        case,
        json!({"metadata": {"name": class}, "provisioner": "kubernetes.io/no-provisioner",
               "volumeBindingMode": "WaitForFirstConsumer"}),
    )
    .await?;
    case.create(&storage_claim("data", &class)).await?;
    let using = json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}});
    case.create(&merged(case.claimant("app", "shelf", SIZE), &using)?).await?;
    pod_waits(case, "app", "NoTicketFits").await?;
    let volume = serde_json::from_value(json!({
        "metadata": {"name": class},
        "spec": {
            "storageClassName": class, "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "local": {"path": "/data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": HOSTNAME, "operator": "In", "values": [format!("{}-0", case.namespace())]},
            ]}]}},
        },
    }))?;
    let volumes: Api<PersistentVolume> = Api::all(case.client());
    volumes.create(&PostParams::default(), &volume).await?;
    pod_is_bound(case, "app").await?;
    order_is_ready(case, "shelf", 1).await?;
    // Its friend comes.
    case.create(&merged(
        case.claimant("second", "shelf", SIZE),
        &json!({"spec": near("podAffinity", &json!({"matchLabels": {"app": "friend"}}))}),
    )?)
    .await?;
    pod_waits(case, "second", "NoTicketFits").await?;
    let friend = json!({"metadata": {"labels": {"app": "friend"}}});
    case.create(&merged(case.pod("friend", SIZE), &friend)?).await?;
    pod_is_bound(case, "second").await?;
    delete_class(case, &class).await?;
    volumes.delete(&class, &DeleteParams::default()).await?;
    Ok(())
}

async fn a_claim_is_held_while_a_stronger_pod_could_use_the_place(case: &Case) -> Result<()> {
    let size = Size { cpu: "2", memory: "4Gi" };
    case.add_nodes(1, Size { cpu: "4", memory: "16Gi" }).await?;
    let strong = case.add_patient_priority_class("strong", 10).await?;
    case.create(&case.order("shelf", 1, size)).await?;
    order_is_ready(case, "shelf", 1).await?;
    // What is free and the guardian's place together are enough for it.
    let rival = json!({"spec": {"priorityClassName": strong}});
    let rival = merged(case.pod("rival", Size { cpu: "3", memory: "1Gi" }), &rival)?;
    case.create(&rival).await?;
    case.pods.until("the rival finds no place", |log| log.get("rival").filter(|pod| is_pending(pod)).map(drop)).await?;
    case.create(&case.claimant("app", "shelf", size)).await?;
    let message = pod_waits(case, "app", "HigherPriorityWaiting").await?;
    ensure!(message.contains(&format!("`{}/rival`", case.namespace())), "{message}");
    event_tells(case, "Pod", "app", "HigherPriorityWaiting").await?;
    no_ticket_was_spent(case)?;
    case.delete::<Pod>("rival").await?;
    pod_is_bound(case, "app").await?;
    Ok(())
}

/// No ticket was even given away.
fn no_ticket_was_spent(case: &Case) -> Result<()> {
    let log = case.tickets.log();
    let given = log.events().iter().find(|event| event.object.phase() == TicketPhase::Claimed);
    ensure!(
        given.is_none(),
        "ticket `{}` was given away",
        given.map(|event| event.object.name_any()).unwrap_or_default()
    );
    Ok(())
}

/// Required affinity to pods, or away from them, on one node.
fn near(kind: &str, pods: &Value) -> Value {
    let rules = json!([{"topologyKey": HOSTNAME, "labelSelector": pods}]);
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": rules}}})
}

fn storage_claim(name: &str, class: &str) -> PersistentVolumeClaim {
    let claim = json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                 "resources": {"requests": {"storage": "1Gi"}}},
    });
    serde_json::from_value(claim).expect("a claim")
}

async fn make_class(case: &Case, class: Value) -> Result<()> {
    let classes: Api<StorageClass> = Api::all(case.client());
    classes.create(&PostParams::default(), &serde_json::from_value(class)?).await?;
    Ok(())
}

async fn delete_class(case: &Case, name: &str) -> Result<()> {
    let classes: Api<StorageClass> = Api::all(case.client());
    classes.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// A pod's one container with a difference.
fn app(difference: &Value) -> Value {
    let container = merged_value(json!({"name": "app", "image": "app"}), difference);
    json!({"containers": [container]})
}

/// Pods whose specs differ so from one that fits all wait for this reason, and are told what it is about, by their
/// condition and by `korder why`.
async fn each_waits(case: &Case, table: &[(&str, Value, &str)], reason: &str) -> Result<()> {
    for (name, difference, _) in table {
        case.create(&merged(case.claimant(name, "shelf", SIZE), &json!({"spec": difference}))?).await?;
    }
    for (name, _, told) in table {
        let message = pod_waits(case, name, reason).await?;
        ensure!(message.contains(told), "`{name}` is told: {message}");
        event_tells(case, "Pod", name, reason).await?;
        let why = case.korder(&["why", &format!("pod/{name}")]).await?;
        ensure!(why.contains(reason) && why.contains(told), "`korder why pod/{name}` says: {why}");
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
    // A driver that says where it has how much room, and has none: something that only the scheduler looks at.
    let full = format!("full-{}.example.com", case.namespace().rsplit('-').next().unwrap_or_default());
    let drivers: Api<CSIDriver> = Api::all(case.client());
    let driver = json!({"metadata": {"name": full}, "spec": {"storageCapacity": true}});
    drivers.create(&PostParams::default(), &serde_json::from_value(driver)?).await?;
    let class = json!({"metadata": {"name": full}, "provisioner": full, "volumeBindingMode": "WaitForFirstConsumer"});
    make_class(case, class).await?;
    case.create(&storage_claim("data", &full)).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let using = json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}});
    case.create(&merged(case.claimant("app", "shelf", SIZE), &using)?).await?;
    event_tells(case, "Ticket", "shelf-1", "HandingOver").await?;
    event_tells(case, "Ticket", "shelf-1", "GivenBack").await?;
    let event = event_tells(case, "Pod", "app", "PlaceLost").await?;
    ensure!(event.type_.as_deref() == Some("Warning"), "the event is {:?}", event.type_);
    // The order had refilled, so that it has one too many for a while.
    order_says(case, "shelf", "there is one ticket, and it is ready", |status| {
        (status.replicas, status.ready, status.used) == (1, 1, 0)
    })
    .await?;
    // Such a pod is not tried there again.
    case.create(&merged(case.claimant("twin", "shelf", SIZE), &using)?).await?;
    let message = pod_waits(case, "twin", "NoTicketFits").await?;
    ensure!(message.contains("refused such a pod"), "{message}");
    case.create(&case.claimant("other", "shelf", SIZE)).await?;
    pod_is_bound(case, "other").await?;
    delete_class(case, &full).await?;
    drivers.delete(&full, &DeleteParams::default()).await?;
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
