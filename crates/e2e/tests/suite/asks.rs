//! The ways in which a pod asks for a ticket.

use anyhow::{Context as _, Result, ensure};
use e2e::objects::{self, Size};
use e2e::{Case, History, Log};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use korder_api::order::{AllowedNamespaces, FromNamespaces, RefreshPolicy};
use korder_api::{TicketPhase, names};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::pods::{is_gated, node_of, waits_for};
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, pod_is_bound, pod_waits, ticket_is};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_pod_that_requires_no_ticket_takes_one_or_goes_on);
    suite.add(an_order_serves_the_namespaces_that_it_admits);
    suite.add(a_pod_names_a_ticket_or_its_labels);
    suite.add(a_pod_that_waits_too_long_does_as_it_said);
    suite.add(a_pod_of_a_job_fails_when_it_has_waited_too_long);
    suite.add(a_pod_is_told_its_place_in_line);
    suite.add(annotations_beside_the_template_are_warned_of);
    suite.add(what_a_pod_asks_for_can_be_changed_only_while_it_waits);
}

/// A pod on the test's own nodes with these annotations, keys without `korder.dev/`.
fn asking(case: &Case, name: &str, annotations: &[(&str, &str)]) -> Pod {
    objects::asking(case.pod(name, SIZE), annotations)
}

fn bound_ticket(pod: &Pod) -> Option<&str> {
    pod.annotations().get(names::ANNOTATION_BOUND_TICKET).map(String::as_str)
}

async fn a_pod_that_requires_no_ticket_takes_one_or_goes_on(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let mut order = case.order("shelf", 1, SIZE);
    order.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    case.create(&order).await?;
    order_is_ready(case, "shelf", 1).await?;
    let optional = |name: &str, order: &str| asking(case, name, &[("required", "false"), ("order", order)]);
    case.create(&optional("lucky", "shelf")).await?;
    let lucky = pod_is_bound(case, "lucky").await?;
    ensure!(bound_ticket(&lucky) == Some("shelf-1"), "the ticket that is there is not taken");
    ticket_is(case, "shelf-1", TicketPhase::Used).await?;
    for (name, order, why) in
        [("late", "shelf", "no ticket of order `shelf` is ready"), ("lost", "none", "no order `none`")]
    {
        case.create(&optional(name, order)).await?;
        let bound = pod_is_bound(case, name).await?;
        ensure!(bound_ticket(&bound).is_none() && !is_gated(&bound), "`{name}` has {:?}", bound_ticket(&bound));
        let (reason, message) = waits_for(&bound).context("the pod is not told")?;
        ensure!(reason == "WithoutTicket" && message.contains(why), "{reason}: {message}");
        event_tells(case, "Pod", name, "WithoutTicket").await?;
    }
    Ok(())
}

async fn an_order_serves_the_namespaces_that_it_admits(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let friends = case.add_namespace("friends", &[("team", case.namespace())]).await?;
    let strangers = case.add_namespace("strangers", &[]).await?;
    let mut order = case.order("shelf", 2, SIZE);
    let selector = serde_json::from_value(json!({"matchLabels": {"team": case.namespace()}}))?;
    order.spec.allowed_namespaces =
        Some(AllowedNamespaces { from: Some(FromNamespaces::Selector), selector: Some(selector) });
    case.create(&order).await?;
    order_is_ready(case, "shelf", 2).await?;

    let by_name = format!("{}/shelf", case.namespace());
    let make = async |namespace: &str, name: &str, annotations: &[(&str, &str)]| -> Result<History<Pod>> {
        let pods: Api<Pod> = Api::namespaced(case.client(), namespace);
        pods.create(&PostParams::default(), &asking(case, name, annotations)).await.context("cannot make a pod")?;
        History::start(pods).await
    };
    let ticket = |log: &Log<Pod>, name: &str| {
        let pod = log.get(name).filter(|pod| node_of(pod).is_some())?;
        Some(bound_ticket(pod).unwrap_or_default().to_owned())
    };
    for (name, annotations) in [("named", [("order", by_name.as_str())]), ("any", [("required", "true")])] {
        let pods = make(&friends, name, &annotations).await?;
        let got = pods.until(format!("`{name}` of a friend is bound"), |log| ticket(log, name)).await?;
        ensure!(got.starts_with(&format!("{by_name}-")), "`{name}` has the ticket {got:?}");
        let used = case.tickets.until("its ticket is used", |log| {
            let holds = |claim: &korder_api::ticket::ClaimRef| claim.namespace == friends && claim.name == name;
            log.objects()
                .find(|ticket| ticket.phase() == TicketPhase::Used && ticket.claim().is_some_and(holds))
                .cloned()
        });
        used.await?;
    }

    let pods = make(&strangers, "app", &[("order", &by_name)]).await?;
    let told = |log: &Log<Pod>| waits_for(log.get("app")?).map(|(why, what)| (why.to_owned(), what.to_owned()));
    let (reason, message) = pods.until("a stranger is told", told).await?;
    let wanted = format!("there is no order `{by_name}` that admits pods of namespace `{strangers}`");
    ensure!(reason == "OrderNotFound" && message.starts_with(&wanted), "{reason}: {message}");
    // Its own namespace has not the label either.
    case.create(&case.claimant("own", "shelf", SIZE)).await?;
    pod_waits(case, "own", "OrderNotFound").await?;
    let label = format!("team={}", case.namespace());
    case.kubectl().get(&["label", "namespace", &strangers, &label]).await?;
    pods.until("a stranger who has become a friend is bound", |log| ticket(log, "app")).await?;
    Ok(())
}

async fn a_pod_names_a_ticket_or_its_labels(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    for (name, zone) in [("a", "east"), ("b", "east"), ("c", "west")] {
        let mut ticket = case.ticket(name, SIZE);
        ticket.labels_mut().insert("zone".to_owned(), zone.to_owned());
        case.create(&ticket).await?;
        ticket_is(case, name, TicketPhase::Ready).await?;
    }
    for (pod, annotation, ticket) in [
        ("by-name", ("ticket", "b"), "b"),
        ("by-label", ("ticket-selector", "zone in (north, west)"), "c"),
        ("by-default", ("required", "true"), "a"),
    ] {
        case.create(&asking(case, pod, &[annotation])).await?;
        let bound = pod_is_bound(case, pod).await?;
        ensure!(bound_ticket(&bound) == Some(ticket), "`{pod}` has {:?}", bound_ticket(&bound));
    }
    case.create(&asking(case, "late", &[("ticket", "b")])).await?;
    let message = pod_waits(case, "late", "NoTicketReady").await?;
    ensure!(message.starts_with("no ticket `b` is ready"), "{message}");
    Ok(())
}

async fn a_pod_that_waits_too_long_does_as_it_said(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let waiting =
        |name: &str, then: &str| asking(case, name, &[("order", "shelf"), ("timeout", "3s"), ("on-timeout", then)]);
    for (name, then) in [("patient", "Wait"), ("hasty", "Fallback"), ("proud", "Fail")] {
        case.create(&waiting(name, then)).await?;
    }
    let message = pod_waits(case, "patient", "TicketTimedOut").await?;
    ensure!(message.starts_with("no ticket within `3s`: there is no order `shelf`"), "{message}");
    event_tells(case, "Pod", "patient", "TicketTimedOut").await?;
    let hasty = pod_is_bound(case, "hasty").await?;
    ensure!(bound_ticket(&hasty).is_none(), "{:?}", bound_ticket(&hasty));
    ensure!(waits_for(&hasty).is_some_and(|(why, _)| why == "TicketTimedOut"), "{:?}", waits_for(&hasty));
    let failed = |log: &Log<Pod>| {
        let status = log.get("proud")?.status.clone()?;
        (status.phase.as_deref() == Some("Failed")).then_some((status.reason, status.message))
    };
    let (reason, message) = case.pods.until("the pod that would fail has failed", failed).await?;
    ensure!(reason.as_deref() == Some("TicketTimedOut"), "{reason:?}: {message:?}");
    // Late, but served.
    case.create(&case.order("shelf", 1, SIZE)).await?;
    let served = pod_is_bound(case, "patient").await?;
    ensure!(bound_ticket(&served) == Some("shelf-1"), "{:?}", bound_ticket(&served));
    Ok(())
}

async fn a_pod_of_a_job_fails_when_it_has_waited_too_long(case: &Case) -> Result<()> {
    let annotations = json!({"korder.dev/timeout": "2s", "korder.dev/on-timeout": "Fail"});
    let pod = case.pod("app", SIZE);
    let mut spec = serde_json::to_value(pod.spec)?;
    spec["restartPolicy"] = json!("Never");
    let template = json!({"metadata": {"annotations": annotations}, "spec": spec});
    let job: Job = serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "app"},
        "spec": {"backoffLimit": 0, "template": template},
    }))?;
    case.create(&job).await?;
    case.kubectl().get(&["wait", "job/app", "--for=condition=Failed", "--timeout=60s"]).await?;
    let failed = |log: &Log<Pod>| {
        let timed_out = |pod: &Pod| pod.status.as_ref()?.reason.clone().filter(|reason| reason == "TicketTimedOut");
        log.events().iter().any(|event| timed_out(&event.object).is_some()).then_some(())
    };
    case.pods.until("its pod has failed for want of a ticket", failed).await?;
    // Other controllers would make another pod at once, and another.
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "app"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "set"}},
            "template": {
                "metadata": {"labels": {"app": "set"}, "annotations": annotations},
                "spec": case.pod("app", SIZE).spec,
            },
        },
    });
    case.kubectl().apply(&set.to_string()).await?;
    let refused = |log: &Log<k8s_openapi::api::events::v1::Event>| {
        let note = |event: &k8s_openapi::api::events::v1::Event| event.note.clone().unwrap_or_default();
        let told = "annotation `korder.dev/on-timeout: Fail` is refused: only a Job lets a failed pod be";
        log.objects()
            .any(|event| event.reason.as_deref() == Some("FailedCreate") && note(event).contains(told))
            .then_some(())
    };
    case.events.until("the ReplicaSet is told that its pods are refused", refused).await
}

async fn a_pod_is_told_its_place_in_line(case: &Case) -> Result<()> {
    for name in ["first", "second", "third"] {
        case.create(&case.claimant(name, "shelf", SIZE)).await?;
    }
    let mut order = case.order("shelf", 1, SIZE);
    order.spec.paused = Some(true);
    case.create(&order).await?;
    let places = |log: &Log<Pod>| {
        let place = |pod: &std::sync::Arc<Pod>| {
            let (reason, message) = waits_for(pod)?;
            let place =
                message.strip_prefix("no ticket of order `shelf` is ready; place ")?.strip_suffix(" in line")?;
            (reason == "NoTicketReady").then(|| place.to_owned())
        };
        let mut places: Vec<String> = log.objects().filter_map(place).collect();
        places.sort();
        (places == ["1", "2", "3"]).then_some(())
    };
    case.pods.until("each of three pods is told its place", places).await
}

async fn annotations_beside_the_template_are_warned_of(case: &Case) -> Result<()> {
    let pod = case.pod("app", SIZE).spec;
    let template = |annotations: serde_json::Value| json!({"metadata": {"labels": {"app": "app"}, "annotations": annotations}, "spec": pod});
    let asks = json!({"korder.dev/order": "shelf"});
    let selector = json!({"matchLabels": {"app": "app"}});
    let job = |annotations| {
        let mut template = template(annotations);
        template["spec"]["restartPolicy"] = json!("Never");
        json!({"template": template, "suspend": true})
    };
    let with = |kind: &str, annotations: serde_json::Value| match kind {
        "Job" => ("batch/v1", job(annotations)),
        "CronJob" => ("batch/v1", json!({"schedule": "0 2 * * *", "jobTemplate": {"spec": job(annotations)}})),
        "StatefulSet" => (
            "apps/v1",
            json!({"replicas": 0, "serviceName": "app", "selector": selector, "template": template(annotations)}),
        ),
        "DaemonSet" => ("apps/v1", json!({"selector": selector, "template": template(annotations)})),
        _ => ("apps/v1", json!({"replicas": 0, "selector": selector, "template": template(annotations)})),
    };
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"] {
        for (in_template, warned) in [(json!({}), true), (asks.clone(), false)] {
            let (version, spec) = with(kind, in_template);
            let metadata = json!({"name": "app", "annotations": asks});
            let object = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec});
            let dry_run = ["create", "-f", "-", "--dry-run=server"];
            let output = case.kubectl().run(&dry_run, &object.to_string()).await?;
            ensure!(output.status.success(), "{}", output.stderr);
            let told = "annotation `korder.dev/order` has no effect here: pods ask for tickets";
            ensure!(output.stderr.contains(told) == warned, "of a {kind} (warned: {warned}): {}", output.stderr);
        }
    }
    Ok(())
}

async fn what_a_pod_asks_for_can_be_changed_only_while_it_waits(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    case.create(&case.claimant("app", "shlef", SIZE)).await?;
    pod_waits(case, "app", "OrderNotFound").await?;
    case.kubectl().get(&["annotate", "--overwrite", "pod", "app", "korder.dev/order=shelf"]).await?;
    pod_is_bound(case, "app").await?;
    ticket_is(case, "shelf-1", TicketPhase::Used).await?;
    case.create(&case.pod("plain", SIZE)).await?;
    pod_is_bound(case, "plain").await?;
    for (pod, annotation) in
        [("app", "korder.dev/order=other"), ("app", "korder.dev/order-"), ("plain", "korder.dev/order=shelf")]
    {
        let output = case.kubectl().run(&["annotate", "--overwrite", "pod", pod, annotation], "").await?;
        let told = "annotation `korder.dev/order` can't be changed: a pod asks for a ticket when it is made";
        ensure!(!output.status.success() && output.stderr.contains(told), "{pod}: {}{}", output.stdout, output.stderr);
    }
    // Other annotations are its owner's.
    case.kubectl().get(&["annotate", "pod", "app", "example.com/note=mine"]).await?;
    Ok(())
}
