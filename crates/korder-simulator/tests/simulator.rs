//! The runs of the simulator that every change must pass; `make soak` plays many more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kooper_sim::actors::JobOptions;
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::{Denial, Sim, Span, Verb, run};
use korder_api::{Ticket, names};
use korder_core::node::Node;
use korder_core::pod::Pod;
use korder_simulator::cases::Scenario;
use korder_simulator::objects::{asking, claimant, node, order, priority_class};
use korder_simulator::world::World;
use korder_simulator::{crash_points, disturbed, drains, histories, nodes, oracle, production, schedulers};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

#[test]
fn killed_before_and_after_each_write_of_a_claim_it_is_finished_or_undone() {
    let report = crash_points::every_point(&Scenario::seeded(7));
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.writes > 20, "the scenario has become empty: {report:?}");
    let points = usize::try_from(report.writes).unwrap_or_default();
    assert_eq!((report.runs, report.crashes), (2 * points, 2 * points));
}

#[test]
fn killed_twice_it_is_finished_or_undone() {
    let report = crash_points::every_pair(&Scenario::seeded(7), 71);
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.runs > 20, "{report:?}");
}

#[test]
fn a_scheduler_that_begins_in_mid_hand_over_is_told_and_no_place_is_lost() {
    let report = schedulers::every_restart(&Scenario::seeded(7));
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.runs > 20 && report.unprotected * 2 < report.runs, "{report:?}");
}

#[test]
fn a_claim_whose_node_goes_ends_on_another() {
    let (runs, violations) = nodes::every_loss(&Scenario::seeded(7));
    assert_eq!(violations, Vec::<String>::new());
    assert!(runs > 20, "{runs}");
}

#[test]
fn killed_before_and_after_each_write_of_a_move_the_ticket_is_never_without_a_place() {
    let (runs, violations) = drains::every_point(7);
    assert_eq!(violations, Vec::<String>::new());
    assert!(runs > 40, "{runs}");
}

#[test]
fn a_cordoned_node_may_be_drained_or_uncordoned_at_any_moment() {
    let (runs, violations) = drains::every_change_of_mind(7);
    assert_eq!(violations, Vec::<String>::new());
    assert!(runs > 40, "{runs}");
}

#[test]
fn a_claim_whose_node_is_cordoned_ends_on_another() {
    let (runs, lost, violations) = drains::every_late_cordon(7);
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!((runs, lost), (32, 0));
}

/// Somebody's finalizer keeps the guardians: their tickets are lost one after the other, and made up for.
#[test]
fn a_guardian_that_does_not_go_costs_its_ticket_and_not_its_pod() {
    let (violations, summary) = run(1, |sim| async move {
        assert!(sim.create(node("n", 8)).is_ok());
        let mut world = World::new(sim.clone(), FaultPlan::none());
        assert!(sim.create(order("o", 2, "Never", "1h")).is_ok());
        let ready = |sim: &Sim| {
            let tickets = sim.objects("tickets.core.korder.dev");
            tickets.iter().filter(|ticket| ticket.value()["status"]["phase"] == "Ready").count()
        };
        world.until("the order is filled", |sim| ready(sim) == 2).await;
        let pods: Api<Pod> = Api::default_namespaced(sim.client("somebody"));
        for name in ["o-1-guardian", "o-2-guardian"] {
            let hold = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
            assert!(world.during(pods.patch(name, &PatchParams::default(), &hold)).await.is_ok());
        }
        assert!(sim.create(claimant("pod", Some("o"))).is_ok());
        world.run(Duration::from_mins(5)).await;
        (oracle::judge(&sim), oracle::summary(&sim))
    });
    assert_eq!(violations, Vec::<String>::new());
    let expected = [("claimants bound", 1), ("order o: Lost", 2), ("order o: Ready", 1), ("order o: Used", 1)];
    assert_eq!(summary, expected.map(|(what, count)| (what.to_owned(), count)).into());
}

/// The other node is held by the other ticket's guardian, so that the pod gets there by that ticket only.
#[test]
fn a_pod_that_was_let_go_for_a_place_that_went_gets_one_more_ticket() {
    let (violations, summary) = run(1, |sim| async move {
        assert!(sim.create(node("n1", 1)).is_ok() && sim.create(node("n2", 1)).is_ok());
        let mut world = World::new(sim.clone(), FaultPlan::none());
        assert!(sim.create(order("o", 2, "Never", "1h")).is_ok());
        let guardians = |sim: &Sim| {
            let pods = sim.objects("pods");
            pods.iter().filter(|pod| pod.value()["status"]["phase"] == "Running").count()
        };
        world.until("both places are held", |sim| guardians(sim) == 2).await;
        assert!(sim.create(claimant("pod", Some("o"))).is_ok());
        world.until("one is free", |sim| guardians(sim) == 1).await;
        let nominated =
            sim.object("pods", "default", "pod").map(|pod| pod.value()["status"]["nominatedNodeName"].clone());
        let nodes: Api<Node> = Api::all(sim.client("somebody"));
        let gone = nominated.as_ref().and_then(|node| node.as_str()).unwrap_or_default();
        // One that runs may bind the pod before it hears of the node's end.
        world.restart_scheduler(Duration::from_secs(5));
        assert!(world.during(nodes.delete(gone, &DeleteParams::default())).await.is_ok());
        world.run(Duration::from_mins(5)).await;
        (oracle::judge(&sim), oracle::summary(&sim))
    });
    assert_eq!(violations, Vec::<String>::new());
    let expected = [("claimants bound", 1), ("order o: Pending", 1), ("order o: Used", 1)];
    assert_eq!(summary, expected.map(|(what, count)| (what.to_owned(), count)).into());
}

#[test]
fn lost_replies_conflicts_and_old_caches_change_nothing_in_the_end() {
    let report = disturbed::every_fault(&Scenario::seeded(7), 5);
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!(report.runs, 13);
}

#[test]
fn a_leader_that_comes_late_does_no_harm() {
    let report = disturbed::every_takeover(&Scenario::seeded(7));
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.runs > 20, "{report:?}");
}

#[test]
fn random_histories_violate_nothing_whatever_goes_wrong_and_whatever_users_do() {
    let mut seen = histories::Seen::default();
    for (seed, history) in histories::play_all(&(1..=25).collect::<Vec<_>>()) {
        assert_eq!(history.violations, Vec::<String>::new(), "`--replay --seed {seed}` plays it again");
        seen += history.seen;
    }
    let none: Vec<_> = ["claims", "drains", "nodes replaced", "pods replaced", "gates removed", "groups", "crashes"]
        .into_iter()
        .chain(["guardians evicted", "orders replaced", "stronger pods", "schedulers restarted", "second leaders"])
        .chain(["tickets claimed", "tickets used", "tickets expired", "tickets lost"])
        .filter(|what| !seen.0.contains_key(what))
        .collect();
    assert_eq!(none, Vec::<&str>::new(), "the histories have become empty: {seen}");
}

#[test]
fn a_history_is_the_same_whenever_its_seed_is_played() {
    for seed in [1, 3, 4, 7] {
        assert_eq!(histories::play(seed).digest, histories::play(seed).digest, "{seed}");
    }
    assert_ne!(histories::play(3).digest, histories::play(4).digest);
}

/// A short run; its digest, and its oracles' verdict.
fn digest(seed: u64) -> (u64, Vec<String>) {
    run(seed, |sim| async move {
        assert!(sim.create(node("n", 4)).is_ok());
        let mut world = World::new(sim.clone(), FaultPlan::none());
        assert!(sim.create(order("o", 3, "OnClaim", "1h")).is_ok());
        for n in 0..3 {
            assert!(sim.create(claimant(&format!("pod-{n}"), Some("o"))).is_ok());
        }
        world.run(Duration::from_mins(2)).await;
        (sim.digest(), oracle::judge(&sim))
    })
}

#[test]
fn a_seed_replays_its_run_and_another_seed_does_not() {
    let (first, violations) = digest(1);
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!(digest(1).0, first);
    assert_ne!(digest(2).0, first);
}

/// Three pods that claim all or nothing, on two nodes; what came of it, and the writes that it took, first and last.
fn group(plan: FaultPlan) -> (BTreeMap<String, usize>, Vec<String>, RangeInclusive<u64>) {
    run(3, |sim| async move {
        assert!(sim.create(node("n1", 3)).is_ok() && sim.create(node("n2", 3)).is_ok());
        let mut world = World::new(sim.clone(), plan);
        assert!(sim.create(order("o", 3, "OnClaim", "1h")).is_ok());
        let is = |sim: &Sim, phase: &str, count: usize| {
            let tickets = sim.objects("tickets.core.korder.dev");
            tickets.iter().filter(|ticket| ticket.value()["status"]["phase"] == phase).count() == count
        };
        world.until("three tickets are ready", |sim| is(sim, "Ready", 3)).await;
        let first = world.writes() + 1;
        for name in ["a", "b", "c"] {
            assert!(sim.create(asking(name, &[("order", "o"), ("group", "g"), ("group-size", "3")])).is_ok());
        }
        world.until("three tickets are used", |sim| is(sim, "Used", 3)).await;
        let writes = first..=world.writes();
        world.run(Duration::from_mins(1)).await;
        (oracle::summary(&sim), oracle::judge(&sim), writes)
    })
}

#[test]
fn a_group_is_finished_or_undone_wherever_the_controllers_are_killed() {
    let (whole, violations, writes) = group(FaultPlan::none());
    assert_eq!(violations, Vec::<String>::new());
    assert!(writes.clone().count() > 15, "the scenario has become empty: {writes:?}");
    for n in writes {
        for plan in [FaultPlan::crash_before_write(n), FaultPlan::crash_after_write(n)] {
            let (summary, violations, _) = group(plan.clone());
            assert_eq!((&summary, violations), (&whole, Vec::new()), "{plan:?}");
        }
    }
}

/// The cache of tickets learns of nothing but the controllers' own writes for a while, and the reply to a move is lost: as
/// far as the cache knows, the old guardian still is the guardian. Then the node is used again, so that its successor
/// seems to be nobody's.
#[test]
fn a_guardian_whose_move_was_lost_sight_of_stays() {
    let tickets = "tickets.core.korder.dev";
    // The first write of a status makes the ticket ready, the second moves it.
    let moves = Requests::verbs(&[Verb::Update]).of(tickets).subresource("status");
    let plan = FaultPlan::none().with(moves, When::Nth(2), Effect::LoseReply).with(
        Requests::watches().of(tickets),
        When::Always,
        Effect::Freeze { length: Duration::from_secs(20) },
    );
    let (violations, summary, guardian) = run(1, |sim| async move {
        assert!(sim.create(node("n1", 4)).is_ok());
        let mut world = World::new(sim.clone(), plan);
        assert!(sim.create(order("o", 1, "Never", "1h")).is_ok());
        let guardian = |sim: &Sim| {
            let ticket = sim.object(tickets, "default", "o-1");
            ticket.map(|ticket| ticket.value()["status"]["guardianName"].clone()).unwrap_or_default()
        };
        world.until("the ticket is ready", |sim| guardian(sim) == "o-1-guardian").await;
        assert!(sim.create(node("n2", 4)).is_ok());
        let nodes: Api<Node> = Api::all(sim.client("somebody"));
        let cordon = |cordoned: bool| Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
        assert!(world.during(nodes.patch("n1", &PatchParams::default(), &cordon(true))).await.is_ok());
        world.until("the ticket is moved", |sim| guardian(sim) == "o-1-guardian-2").await;
        assert!(world.during(nodes.patch("n1", &PatchParams::default(), &cordon(false))).await.is_ok());
        let uid = |sim: &Sim| sim.object("pods", "default", "o-1-guardian-2").map(|pod| pod.uid().to_owned());
        let before = uid(&sim);
        world.run(Duration::from_mins(2)).await;
        (oracle::judge(&sim), oracle::summary(&sim), (before, uid(&sim)))
    });
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!(summary, [("order o: Ready".to_owned(), 1)].into());
    assert!(guardian.0.is_some() && guardian.0 == guardian.1, "{guardian:?}");
}

#[test]
fn a_node_that_is_silent_for_a_minute_is_left() {
    run(1, |sim| async move {
        assert!(sim.create(node("n1", 4)).is_ok());
        let mut world = World::new(sim.clone(), FaultPlan::none());
        assert!(sim.create(order("o", 1, "Never", "1h")).is_ok());
        let place = |sim: &Sim| {
            let ticket = sim.object("tickets.core.korder.dev", "default", "o-1");
            ticket.map(|ticket| ticket.value()["status"]["nodeName"].clone()).unwrap_or_default()
        };
        world.until("the ticket is ready", |sim| place(sim) == "n1").await;
        assert!(sim.create(node("n2", 4)).is_ok());
        let nodes: Api<Node> = Api::all(sim.client("somebody"));
        let taint = json!({
            "key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": sim.clock().now().to_string(),
        });
        let silent = Patch::Merge(json!({"spec": {"taints": [taint]}}));
        assert!(world.during(nodes.patch("n1", &PatchParams::default(), &silent)).await.is_ok());
        world.run(Duration::from_secs(55)).await;
        assert_eq!(place(&sim), "n1");
        world.run(Duration::from_secs(10)).await;
        assert_eq!(place(&sim), "n2");
    });
}

#[test]
fn an_order_whose_tickets_are_refused_says_so_and_is_filled_when_they_are_let_in() {
    let (told, filled) = run(1, |sim| async move {
        assert!(sim.create(node("n", 8)).is_ok());
        let mut world = World::new(sim.clone(), FaultPlan::none());
        let open = Arc::new(AtomicBool::new(false));
        let lets_in = Arc::clone(&open);
        sim.admit(move |request, ticket| {
            let second = ticket["metadata"]["name"] == "o-2" && request.verb == Verb::Create;
            if request.kind.api.kind == "Ticket" && second && !lets_in.load(Ordering::Relaxed) {
                return Err(Denial::Forbidden("exceeded quota: few".into()));
            }
            Ok(())
        });
        assert!(sim.create(order("o", 3, "Never", "1h")).is_ok());
        let status = |sim: &Sim| {
            let order = sim.object("orders.core.korder.dev", "default", "o");
            order.map(|order| order.value()["status"].clone()).unwrap_or_default()
        };
        world.run(Duration::from_mins(1)).await;
        let told = status(&sim);
        open.store(true, Ordering::Relaxed);
        world.run(Duration::from_mins(2)).await;
        assert_eq!(oracle::judge(&sim), Vec::<String>::new());
        assert_eq!(oracle::summary(&sim), [("order o: Ready".to_owned(), 3)].into());
        (told, status(&sim))
    });
    let conditions = told["conditions"].as_array().cloned().unwrap_or_default();
    let stalled = conditions.iter().find(|condition| condition["type"] == "Stalled");
    assert!(stalled.is_some_and(|stalled| stalled["reason"] == "ResourceQuotaExceeded"), "{told}");
    assert_eq!((&filled["issued"], &filled["ready"]), (&json!(3), &json!(3)));
}

/// As `kubectl delete --cascade=orphan` leaves it: the collector has taken the ticket off its guardian. The node has room for
/// no other one.
#[test]
fn a_guardian_that_is_left_behind_without_its_ticket_goes() {
    for restarted in [false, true] {
        let (violations, summary) = run(1, |sim| async move {
            assert!(sim.create(node("n", 1)).is_ok());
            let mut world = World::new(sim.clone(), FaultPlan::none());
            assert!(sim.create(order("o", 1, "Always", "1h")).is_ok());
            let ready = |sim: &Sim, ticket: &str| {
                let ticket = sim.object("tickets.core.korder.dev", "default", ticket);
                ticket.is_some_and(|ticket| ticket.value()["status"]["phase"] == "Ready")
            };
            world.until("the ticket is ready", |sim| ready(sim, "o-1")).await;
            if restarted {
                world.restart(FaultPlan::none(), Duration::from_secs(10));
            }
            let pods: Api<Pod> = Api::default_namespaced(sim.client("collector"));
            let tickets: Api<Ticket> = Api::default_namespaced(sim.client("somebody"));
            let alone = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
            assert!(world.during(pods.patch("o-1-guardian", &PatchParams::default(), &alone)).await.is_ok());
            assert!(world.during(tickets.delete("o-1", &DeleteParams::default())).await.is_ok());
            world.until("its successor is ready", |sim| ready(sim, "o-2")).await;
            world.run(Duration::from_mins(1)).await;
            (oracle::judge(&sim), oracle::summary(&sim))
        });
        assert_eq!(violations, Vec::<String>::new());
        assert_eq!(summary, [("order o: Ready".to_owned(), 1)].into());
    }
}

#[test]
fn a_move_that_waits_for_a_priority_class_goes_on_when_it_is_there() {
    run(1, |sim| async move {
        assert!(sim.create(node("n1", 4)).is_ok() && sim.create(priority_class("high", 100)).is_ok());
        let mut world = World::new(sim.clone(), FaultPlan::none());
        let mut shelf = order("o", 1, "Never", "1h");
        shelf["spec"]["template"]["spec"]["priorityClassName"] = json!("high");
        assert!(sim.create(shelf).is_ok());
        let ticket = |sim: &Sim| {
            let ticket = sim.object("tickets.core.korder.dev", "default", "o-1");
            ticket.map(|ticket| ticket.value()["status"].clone()).unwrap_or_default()
        };
        world.until("the ticket is ready", |sim| ticket(sim)["nodeName"] == "n1").await;
        assert!(sim.create(node("n2", 4)).is_ok());
        let classes: Api<PriorityClass> = Api::all(sim.client("somebody"));
        assert!(world.during(classes.delete("high", &DeleteParams::default())).await.is_ok());
        world.run(Duration::from_secs(1)).await;
        let nodes: Api<Node> = Api::all(sim.client("somebody"));
        let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
        assert!(world.during(nodes.patch("n1", &PatchParams::default(), &cordon)).await.is_ok());
        let refused = |sim: &Sim| ticket(sim)["conditions"].to_string().contains("GuardianRefused");
        world.until("the move is refused", refused).await;
        world.run(Duration::from_mins(1)).await;
        assert!(sim.create(priority_class("high", 100)).is_ok());
        world.until("the ticket is moved", |sim| ticket(sim)["nodeName"] == "n2").await;
    });
}

#[test]
fn killed_before_and_after_each_write_units_are_made_once_and_nothing_is_left_of_them() {
    let (runs, violations) = production::every_point(7);
    assert_eq!(violations, Vec::<String>::new());
    assert!(runs > 20, "{runs}");
}

/// Fault 10 of the reliability requirements: by an hour and by a day, and back.
#[test]
fn a_clock_that_jumps_ends_nothing_too_early_and_nothing_too_late() {
    for jump in [1, 24, -1, -24] {
        run(u64::try_from(25 + jump).unwrap_or_default(), |sim| async move {
            assert!(sim.create(node("n", 8)).is_ok());
            let jobs = JobOptions { takes: Span::millis(500, 1000), failing_per_mille: 0, message: "made".to_owned() };
            let mut world = World::new(sim.clone(), FaultPlan::none()).with_jobs(jobs);
            let of_stock = |name: &str, kind: &str, spec: serde_json::Value| json!({"apiVersion": names::API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec});
            let item =
                json!({"operation": {"job": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}});
            let shelf = json!({"replicas": 3, "parallelism": 3, "maxAge": "50m", "item": item});
            assert!(sim.create(of_stock("bread", "Inventory", shelf)).is_ok());
            assert!(sim.create(order("places", 2, "Never", "50m")).is_ok());
            let guest =
                |name: &str| of_stock(name, "Order", json!({"inventoryRef": {"name": "bread"}, "holdFor": "50m"}));
            world.run(Duration::from_mins(1)).await;
            assert!(sim.create(guest("early")).is_ok());
            world.run(Duration::from_mins(1)).await;
            let shelf = |sim: &Sim| -> Vec<String> {
                let name = |object: &Arc<kooper_sim::Object>| object.value()["metadata"]["name"].to_string();
                sim.objects("stocks.core.korder.dev").iter().map(name).collect()
            };
            let told = |sim: &Sim, name: &str| {
                let order = sim.object("orders.core.korder.dev", "default", name);
                order.map(|order| order.value()["status"].clone()).unwrap_or_default()
            };
            let before = shelf(&sim);
            assert_eq!(before.len(), 4, "{before:?}");

            world.set_clock_ahead(SignedDuration::from_hours(jump));
            world.run(Duration::from_mins(10)).await;
            assert_eq!(shelf(&sim), before, "by {jump} hours: units went, or came");
            assert_eq!(
                (told(&sim, "early")["finishTime"].is_null(), &told(&sim, "places")["ready"]),
                (true, &json!(2))
            );
            // Claims go on, and what they write is right.
            assert!(sim.create(guest("late")).is_ok());
            world.run(Duration::from_mins(1)).await;
            let filled: Timestamp = told(&sim, "late")["filledTime"].as_str().unwrap().parse().unwrap();
            let off = sim.clock().now().duration_since(filled).abs();
            assert!(off < SignedDuration::from_mins(2), "by {jump} hours: filled at {filled}");

            // In its time everything ends, whether or not the clock was set right.
            world.run(Duration::from_mins(45)).await;
            assert!(!told(&sim, "early")["finishTime"].is_null(), "by {jump} hours: {}", told(&sim, "early"));
            assert_eq!(told(&sim, "places")["ready"], json!(0), "by {jump} hours: {}", told(&sim, "places"));
            assert!(told(&sim, "late")["finishTime"].is_null(), "by {jump} hours: {}", told(&sim, "late"));
            let left: Vec<String> = before.iter().filter(|one| shelf(&sim).contains(one)).cloned().collect();
            assert_eq!(
                left,
                [told(&sim, "late")["stockName"].to_string()],
                "by {jump} hours: only what is held is left"
            );
        });
    }
}
