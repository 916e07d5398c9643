//! Each rule of the hand-over that needs more than one look to be seen: what goes wrong where it is left out.

use std::time::Duration;

use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::{Sim, Verb, run};
use korder_api::{Order, Ticket};
use korder_core::pod::Pod;
use korder_simulator::objects::{asking, claimant, competitor, node, order, ticket};
use korder_simulator::oracle;
use korder_simulator::world::World;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

const TICKETS: &str = "tickets.core.korder.dev";

fn phases(sim: &Sim, phase: &str) -> usize {
    sim.objects(TICKETS).iter().filter(|ticket| ticket.value()["status"]["phase"] == phase).count()
}

fn uid(sim: &Sim, pod: &str) -> Option<String> {
    sim.object("pods", "default", pod).map(|pod| pod.uid().to_owned())
}

/// Watches of these resources deliver nothing for a time after they were opened.
fn frozen(resources: &[&str], secs: u64) -> FaultPlan {
    let freeze = Effect::Freeze { length: Duration::from_secs(secs) };
    let freeze = |plan: FaultPlan, of: &&str| plan.with(Requests::watches().of(of), When::Always, freeze);
    resources.iter().fold(FaultPlan::none(), freeze)
}

/// A world with one node of so many cores and one order, whose tickets are ready.
async fn ready(sim: &Sim, cores: u32, tickets: u32, duration: &str) -> World {
    assert!(sim.create(node("n", cores)).is_ok());
    let mut world = World::new(sim.clone(), FaultPlan::none());
    assert!(sim.create(order("o", tickets, "Never", duration)).is_ok());
    world.until("the tickets are ready", |sim| phases(sim, "Ready") == tickets as usize).await;
    world
}

async fn delete_at_once(world: &mut World, sim: &Sim, pod: &str) {
    let pods: Api<Pod> = Api::default_namespaced(sim.client("somebody"));
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    assert!(world.during(pods.delete(pod, &at_once)).await.is_ok());
}

/// The caches are behind, and the pod goes between the nomination and the end of its guardian, which takes several tries.
#[test]
fn a_guardian_stays_where_the_live_read_finds_no_pod() {
    let violations = run(1, |sim| async move {
        let mut world = ready(&sim, 1, 1, "1h").await;
        let guardian = uid(&sim, "o-1-guardian");
        let at_first = When::Between { from: Duration::ZERO, until: Duration::from_secs(5) };
        let plan = frozen(&["pods"], 20).with(Requests::verbs(&[Verb::Delete]).of("pods"), at_first, Effect::Conflict);
        world.restart(plan, Duration::from_secs(1));
        assert!(sim.create(claimant("pod", Some("o"))).is_ok());
        let nominated = |sim: &Sim| {
            let pod = sim.object("pods", "default", "pod");
            pod.is_some_and(|pod| pod.value()["status"]["nominatedNodeName"] == "n")
        };
        world.until("the pod is nominated", nominated).await;
        world.run(Duration::from_millis(300)).await;
        delete_at_once(&mut world, &sim, "pod").await;
        world.run(Duration::from_mins(2)).await;
        assert_eq!(uid(&sim, "o-1-guardian"), guardian, "the guardian went for nobody");
        assert_eq!(phases(&sim, "Ready"), 1);
        oracle::judge(&sim)
    });
    assert_eq!(violations, Vec::<String>::new());
}

/// A pod that is made anew under the same name is another one: the place of the first is not its.
#[test]
fn a_ticket_is_a_pods_and_not_a_names() {
    let violations = run(1, |sim| async move {
        let mut world = ready(&sim, 2, 1, "1h").await;
        assert!(sim.create(claimant("pod", Some("o"))).is_ok());
        world.until("it is claimed", |sim| phases(sim, "Claimed") == 1).await;
        // Controllers that begin see the second pod only.
        world.restart(FaultPlan::none(), Duration::from_secs(5));
        delete_at_once(&mut world, &sim, "pod").await;
        assert!(sim.create(claimant("pod", None)).is_ok());
        world.run(Duration::from_secs(20)).await;
        assert_eq!((phases(&sim, "Claimed"), phases(&sim, "Used")), (0, 1), "the first claim is over, the second kept");
        world.run(Duration::from_mins(2)).await;
        oracle::judge(&sim)
    });
    assert_eq!(violations, Vec::<String>::new());
}

/// While the caches are behind, the guardian goes and somebody's pod comes under its name; then the ticket expires, and its
/// guardian is to be removed.
#[test]
fn a_pod_that_came_under_the_name_of_a_guardian_is_left_alone() {
    run(1, |sim| async move {
        let mut world = ready(&sim, 1, 1, "30s").await;
        world.restart(frozen(&["pods"], 60), Duration::ZERO);
        world.run(Duration::from_secs(2)).await;
        delete_at_once(&mut world, &sim, "o-1-guardian").await;
        assert!(sim.create(competitor("o-1-guardian")).is_ok());
        let somebodys = uid(&sim, "o-1-guardian");
        world.until("the ticket has expired", |sim| phases(sim, "Expired") == 1).await;
        world.run(Duration::from_mins(2)).await;
        assert_eq!(uid(&sim, "o-1-guardian"), somebodys, "somebody's pod was removed");
    });
}

/// One leader hands a ticket over; the other, whose caches are behind, takes it for one that nobody needs any more.
#[test]
fn a_ticket_is_not_removed_from_under_its_pod() {
    let violations = run(1, |sim| async move {
        let mut world = ready(&sim, 1, 1, "1h").await;
        world.restart(frozen(&["pods", TICKETS], 60), Duration::ZERO);
        world.run(Duration::from_secs(2)).await;
        world.second_leader();
        assert!(sim.create(claimant("pod", Some("o"))).is_ok());
        world.until("it is used", |sim| phases(sim, "Used") == 1).await;
        let orders: Api<Order> = Api::default_namespaced(sim.client("somebody"));
        let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
        assert!(world.during(orders.patch("o", &PatchParams::default(), &none)).await.is_ok());
        world.run(Duration::from_mins(2)).await;
        oracle::judge_two_leaders(&sim)
    });
    assert_eq!(violations, Vec::<String>::new());
}

/// Nothing happens in the cluster that would make anybody look.
#[test]
fn a_pod_that_waits_in_vain_is_looked_at_when_its_time_is_over() {
    run(1, |sim| async move {
        let mut world = World::new(sim.clone(), FaultPlan::none());
        assert!(sim.create(order("o", 0, "Never", "1h")).is_ok());
        let patience = [("order", "o"), ("timeout", "40s"), ("on-timeout", "Fallback")];
        assert!(sim.create(asking("pod", &patience)).is_ok());
        let waits = |sim: &Sim| {
            let pod = sim.object("pods", "default", "pod");
            pod.is_some_and(|pod| pod.value()["spec"]["schedulingGates"].is_array())
        };
        world.run(Duration::from_secs(35)).await;
        assert!(waits(&sim));
        world.run(Duration::from_secs(10)).await;
        assert!(!waits(&sim));
    });
}

/// The cache of tickets learns of nothing but the controllers' own writes for a while, and the reply to a claim is lost: as
/// far as the cache knows, the pod still waits and its ticket is still ready. Nor can the ticket be read. Then one comes that
/// suits the pod better.
#[test]
fn a_pod_whose_claim_was_lost_sight_of_gets_no_second_ticket() {
    // A ticket becomes ready by the first write of a status; the second is the claim.
    let claims = Requests::verbs(&[Verb::Update]).of(TICKETS).subresource("status");
    let reads = Requests::verbs(&[Verb::Get]).of(TICKETS);
    let at_first = When::Between { from: Duration::ZERO, until: Duration::from_secs(15) };
    let plan =
        frozen(&[TICKETS], 20).with(claims, When::Nth(2), Effect::LoseReply).with(reads, at_first, Effect::LoseReply);
    let (violations, summary) = run(1, |sim| async move {
        assert!(sim.create(node("n", 4)).is_ok());
        let mut world = World::new(sim.clone(), plan);
        assert!(sim.create(order("late", 1, "Never", "1h")).is_ok());
        world.until("a ticket is ready", |sim| phases(sim, "Ready") == 1).await;
        assert!(sim.create(claimant("pod", None)).is_ok());
        world.until("it is claimed", |sim| phases(sim, "Claimed") == 1).await;
        assert!(sim.create(order("soon", 1, "Never", "30m")).is_ok());
        world.run(Duration::from_mins(2)).await;
        (oracle::judge(&sim), oracle::summary(&sim))
    });
    assert_eq!(violations, Vec::<String>::new());
    let expected = [("claimants bound", 1), ("order late: Used", 1), ("order soon: Ready", 1)];
    assert_eq!(summary, expected.map(|(what, count)| (what.to_owned(), count)).into());
}

/// The controllers die between two claims of a group, and the other ticket goes.
#[test]
fn a_group_of_which_one_can_t_have_a_ticket_gives_back_the_others() {
    let (violations, summary) = run(1, |sim| async move {
        let mut world = ready(&sim, 2, 2, "1h").await;
        let claims = Requests::verbs(&[Verb::Update]).of(TICKETS).subresource("status");
        // Both are under way at once: with the first that arrives, the other ends.
        world.restart(FaultPlan::none().with(claims, When::Nth(1), Effect::CrashAfter), Duration::ZERO);
        for name in ["a", "b"] {
            assert!(sim.create(asking(name, &[("order", "o"), ("group", "g"), ("group-size", "2")])).is_ok());
        }
        world.until("one is claimed", |sim| phases(sim, "Claimed") == 1).await;
        let left = sim.objects(TICKETS).into_iter().find(|ticket| ticket.value()["status"]["phase"] == "Ready");
        let left = left.and_then(|ticket| ticket.value()["metadata"]["name"].as_str().map(str::to_owned));
        let tickets: Api<Ticket> = Api::default_namespaced(sim.client("somebody"));
        let options = DeleteParams::default();
        assert!(world.during(tickets.delete(left.as_deref().unwrap_or_default(), &options)).await.is_ok());
        world.run(Duration::from_mins(2)).await;
        (oracle::judge(&sim), oracle::summary(&sim))
    });
    assert_eq!(violations, Vec::<String>::new());
    let expected = [("claimants waiting", 2), ("order o: Ready", 1)];
    assert_eq!(summary, expected.map(|(what, count)| (what.to_owned(), count)).into());
}

/// The cache of Leases is behind when a scheduler begins between the nomination and the end of the guardian.
#[test]
fn a_scheduler_that_nobody_has_heard_of_is_told_before_a_guardian_goes() {
    let violations = run(1, |sim| async move {
        let mut world = ready(&sim, 1, 1, "1h").await;
        assert!(sim.create(competitor("other")).is_ok());
        let at_first = When::Between { from: Duration::ZERO, until: Duration::from_secs(5) };
        let plan = frozen(&["leases.coordination.k8s.io"], 60).with(
            Requests::verbs(&[Verb::Delete]).of("pods"),
            at_first,
            Effect::Conflict,
        );
        world.restart(plan, Duration::ZERO);
        world.run(Duration::from_secs(1)).await;
        assert!(sim.create(claimant("pod", Some("o"))).is_ok());
        world.run(Duration::from_secs(1)).await;
        world.restart_scheduler(Duration::ZERO);
        world.run(Duration::from_mins(2)).await;
        let bound =
            |name: &str| sim.object("pods", "default", name).map(|pod| pod.value()["spec"]["nodeName"].is_string());
        assert_eq!([bound("pod"), bound("other")], [Some(true), Some(false)], "the place was taken");
        oracle::judge(&sim)
    });
    assert_eq!(violations, Vec::<String>::new());
}

/// One leader hands the place over; the other, whose cache does not know of the pod yet, takes it for one that is gone.
#[test]
fn a_place_that_another_leader_has_promised_is_not_given_back() {
    // It depends on who is faster.
    let violations = (1..=12).flat_map(|seed| {
        run(seed, |sim| async move {
            let mut world = ready(&sim, 1, 1, "1h").await;
            world.restart(frozen(&["pods"], 60), Duration::ZERO);
            world.run(Duration::from_secs(2)).await;
            world.second_leader();
            assert!(sim.create(claimant("pod", Some("o"))).is_ok());
            world.run(Duration::from_mins(3)).await;
            assert_eq!(phases(&sim, "Used"), 1);
            oracle::judge_two_leaders(&sim)
        })
    });
    assert_eq!(violations.collect::<Vec<_>>(), Vec::<String>::new());
}

/// One leader knows nothing of a ticket that the other gives to a pod, and sees the pod waiting.
#[test]
fn a_pod_that_has_a_ticket_by_another_leader_is_not_told_that_it_waits() {
    let violations = run(1, |sim| async move {
        assert!(sim.create(node("n", 2)).is_ok());
        let mut world = World::new(sim.clone(), frozen(&[TICKETS], 120));
        world.run(Duration::from_secs(2)).await;
        world.second_leader();
        world.run(Duration::from_secs(2)).await;
        assert!(sim.create(ticket("t")).is_ok());
        world.until("the ticket is ready", |sim| phases(sim, "Ready") == 1).await;
        let pods: Api<Pod> = Api::default_namespaced(sim.client("somebody"));
        let finalizers = |list| Patch::Merge(json!({"metadata": {"finalizers": list}}));
        let (guardian, options) = ("t-guardian", PatchParams::default());
        let (hold, let_go) = (finalizers(json!(["example.com/hold"])), finalizers(json!(null)));
        assert!(world.during(pods.patch(guardian, &options, &hold)).await.is_ok());
        assert!(sim.create(claimant("pod", None)).is_ok());
        let told = |sim: &Sim| {
            let pod = sim.object("pods", "default", "pod").map(|pod| pod.value()["status"].clone()).unwrap_or_default();
            let conditions = pod["conditions"].as_array().cloned().unwrap_or_default();
            let bound = conditions.iter().find(|one| one["type"] == "korder.dev/TicketBound").cloned();
            (pod["nominatedNodeName"] == "n", bound.map(|bound| bound["reason"].clone()))
        };
        world.until("it is promised the place", |sim| told(sim).0).await;
        // Long enough for a pod that waits to be told so.
        world.run(Duration::from_secs(10)).await;
        assert_eq!(told(&sim), (true, Some(json!("Claimed"))));
        assert!(world.during(pods.patch(guardian, &options, &let_go)).await.is_ok());
        world.run(Duration::from_mins(2)).await;
        assert_eq!(phases(&sim, "Used"), 1);
        oracle::judge_two_leaders(&sim)
    });
    assert_eq!(violations, Vec::<String>::new());
}
