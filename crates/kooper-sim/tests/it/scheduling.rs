//! The scheduler, above all where a freed place is stolen and where it isn't.

use std::time::Duration;

use kooper_sim::actors::{KubeletOptions, SchedulerOptions};
use kooper_sim::{Sim, run};
use serde_json::{Value, json};

use crate::actors::{node, pod_with};
use crate::http::{Http, PODS};

const MINUTE: Duration = Duration::from_mins(1);

fn place(sim: &Sim, name: &str) -> Option<String> {
    let pod = sim.object("pods", "default", name)?;
    pod.value()["spec"]["nodeName"].as_str().map(str::to_owned)
}

fn gated(mut pod: Value) -> Value {
    pod["spec"]["schedulingGates"] = json!([{"name": "example.com/gate"}]);
    pod
}

fn class(mut pod: Value, name: &str) -> Value {
    pod["spec"]["priorityClassName"] = json!(name);
    pod
}

/// A scenario beside a scheduler and the kubelets.
fn with_scheduler<F: Future<Output = ()>>(seed: u64, scenario: impl FnOnce(Sim) -> F) {
    run(seed, |sim| async move {
        for (name, value, policy) in [("high", 100, "PreemptLowerPriority"), ("meek", 100, "Never")] {
            let class = json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
                "value": value, "preemptionPolicy": policy,
            });
            sim.create(class).unwrap();
        }
        let (scheduler, kubelet) = (sim.scheduler(SchedulerOptions::default()), sim.kubelet(KubeletOptions::default()));
        tokio::select! {
            biased;
            _ = scheduler => unreachable!(),
            _ = kubelet => unreachable!(),
            () = scenario(sim.clone()) => {}
        }
    });
}

#[test]
fn pods_go_where_they_fit() {
    with_scheduler(1, |sim| async move {
        sim.create(node("a", "1")).unwrap();
        let mut labelled = node("b", "4");
        labelled["metadata"]["labels"]["disk"] = json!("ssd");
        sim.create(labelled).unwrap();
        let mut tainted = node("c", "64");
        tainted["spec"]["taints"] = json!([{"key": "team", "value": "x", "effect": "NoSchedule"}]);
        sim.create(tainted).unwrap();
        let mut selecting = pod_with("selecting", "500m");
        selecting["spec"]["nodeSelector"] = json!({"disk": "ssd"});
        sim.create(selecting).unwrap();
        sim.create(pod_with("big", "3")).unwrap();
        let mut tolerant = pod_with("tolerant", "32");
        tolerant["spec"]["tolerations"] = json!([{"key": "team", "operator": "Exists"}]);
        sim.create(tolerant).unwrap();
        sim.wait_until("all are bound", MINUTE, |sim| {
            sim.objects("pods").iter().all(|pod| !pod.value()["spec"]["nodeName"].is_null())
        })
        .await;
        assert_eq!(["selecting", "big", "tolerant"].map(|name| place(&sim, name).unwrap()), ["b", "b", "c"]);
        sim.create(pod_with("last", "1")).unwrap();
        sim.wait_until("the last is bound", MINUTE, |sim| place(sim, "last").is_some()).await;
        assert_eq!(place(&sim, "last").unwrap(), "a");
    });
}

#[test]
fn what_fits_nowhere_says_so_and_is_tried_when_something_changes() {
    with_scheduler(2, |sim| async move {
        let http = Http::new(&sim);
        sim.create(node("a", "1")).unwrap();
        sim.create(pod_with("first", "1")).unwrap();
        sim.wait_until("the first is bound", MINUTE, |sim| place(sim, "first").is_some()).await;
        sim.create(pod_with("second", "1")).unwrap();
        tokio::time::sleep(MINUTE).await;
        let waiting = http.get(&format!("{PODS}/second")).await;
        let condition = &waiting["status"]["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Unschedulable")));
        assert_eq!(condition["message"], "0/1 nodes are available: 1 Insufficient cpu.");
        let writes = sim.revision();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(sim.revision(), writes, "it says so once");
        http.expect(200, "DELETE", &format!("{PODS}/first"), json!({})).await;
        sim.wait_until("the second is bound", MINUTE, |sim| place(sim, "second").is_some()).await;
        sim.create(pod_with("third", "1")).unwrap();
        tokio::time::sleep(MINUTE).await;
        sim.create(node("b", "1")).unwrap();
        sim.wait_until("the third is bound", MINUTE, |sim| place(sim, "third").as_deref() == Some("b")).await;
    });
}

#[test]
fn gated_pods_wait() {
    with_scheduler(3, |sim| async move {
        let http = Http::new(&sim);
        sim.create(node("a", "1")).unwrap();
        sim.create(gated(pod_with("p", "1"))).unwrap();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(place(&sim, "p"), None);
        http.expect(200, "PATCH", &format!("{PODS}/p"), json!({"spec": {"schedulingGates": null}})).await;
        sim.wait_until("it is bound", MINUTE, |sim| place(sim, "p").is_some()).await;
    });
}

#[test]
fn a_nomination_is_followed_where_it_fits() {
    with_scheduler(5, |sim| async move {
        let http = Http::new(&sim);
        sim.create(node("small", "2")).unwrap();
        sim.create(node("large", "64")).unwrap();
        for (name, cpu, expected) in [("fits", "1", "small"), ("too-big", "8", "large")] {
            sim.create(gated(pod_with(name, cpu))).unwrap();
            let status = json!({"status": {"nominatedNodeName": "small"}});
            http.expect(200, "PATCH", &format!("{PODS}/{name}/status"), status).await;
            http.expect(200, "PATCH", &format!("{PODS}/{name}"), json!({"spec": {"schedulingGates": null}})).await;
            sim.wait_until("it is bound", MINUTE, |sim| place(sim, name).is_some()).await;
            assert_eq!(place(&sim, name).unwrap(), expected);
        }
    });
}

#[test]
fn the_more_important_goes_first_and_makes_room() {
    with_scheduler(4, |sim| async move {
        sim.create(node("a", "2")).unwrap();
        sim.create(pod_with("old", "1")).unwrap();
        sim.wait_until("the first is bound", MINUTE, |sim| place(sim, "old").is_some()).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        sim.create(pod_with("young", "1")).unwrap();
        sim.wait_until("the second is bound", MINUTE, |sim| place(sim, "young").is_some()).await;
        sim.create(class(pod_with("meek", "1"), "meek")).unwrap();
        tokio::time::sleep(MINUTE).await;
        assert_eq!((place(&sim, "meek"), sim.objects("pods").len()), (None, 3), "it may not preempt");
        sim.create(class(pod_with("strong", "1"), "high")).unwrap();
        sim.wait_until("room is made", MINUTE, |sim| place(sim, "strong").is_some()).await;
        assert_eq!(place(&sim, "young"), None, "the younger had to go");
        assert!(place(&sim, "old").is_some());
    });
}

/// How capacity is handed from pods that hold it to others that wait gated, while yet others wait for any room.
#[derive(Clone, Copy)]
struct HandOver {
    count: usize,
    nominate: bool,
    /// Whether all is freed before anything is taken.
    batch: bool,
    scheduler: Fate,
}

/// What happens to the scheduler after the nominations.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Stays,
    Restarts,
    /// It restarts, then the nominated pods are touched.
    RestartsAndIsTold,
}

const KEPT: HandOver = HandOver { count: 3, nominate: true, batch: true, scheduler: Fate::Stays };

/// How many of the gated pods lost their place.
fn stolen(seed: u64, rule: HandOver) -> usize {
    run(seed, |sim| async move {
        let http = Http::new(&sim);
        sim.create(node("a", &rule.count.to_string())).unwrap();
        let guardian = |index: usize| format!("guardian-{index}");
        let claimant = |index: usize| format!("claimant-{index}");
        let all = 0..rule.count;
        let kubelet = sim.kubelet(KubeletOptions::default());
        let schedulers = async {
            let first = sim.scheduler(SchedulerOptions::default());
            let restart = sim.wait_until("the restart", MINUTE * 100, |sim| {
                rule.scheduler != Fate::Stays && sim.object("configmaps", "default", "restart").is_some()
            });
            tokio::select! { biased; _ = first => {}, () = restart => {} }
            sim.scheduler(SchedulerOptions::default()).await
        };
        let scenario = async {
            for index in all.clone() {
                sim.create(pod_with(&guardian(index), "1")).unwrap();
            }
            sim.wait_until("the guardians hold the node", MINUTE, |sim| {
                all.clone().all(|index| place(sim, &guardian(index)).is_some())
            })
            .await;
            for index in all.clone() {
                sim.create(gated(pod_with(&claimant(index), "1"))).unwrap();
                sim.create(pod_with(&format!("rival-{index}"), "1")).unwrap();
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            let path = |name: &str| format!("{PODS}/{name}");
            let nominate = json!({"status": {"nominatedNodeName": "a"}});
            let free = json!({"gracePeriodSeconds": 0});
            let ungate = json!({"spec": {"schedulingGates": null}});
            for index in all.clone().filter(|_| rule.nominate) {
                http.expect(200, "PATCH", &path(&format!("{}/status", claimant(index))), nominate.clone()).await;
            }
            if rule.scheduler != Fate::Stays {
                sim.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "restart"}})).unwrap();
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            for index in all.clone().filter(|_| rule.scheduler == Fate::RestartsAndIsTold) {
                http.expect(200, "PATCH", &path(&claimant(index)), json!({"metadata": {"annotations": {"a": "b"}}}))
                    .await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if rule.batch {
                for index in all.clone() {
                    http.expect(200, "DELETE", &path(&guardian(index)), free.clone()).await;
                }
            }
            for index in all.clone() {
                if !rule.batch {
                    http.expect(200, "DELETE", &path(&guardian(index)), free.clone()).await;
                }
                http.expect(200, "PATCH", &path(&claimant(index)), ungate.clone()).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::sleep(MINUTE).await;
            all.clone().filter(|index| place(&sim, &claimant(*index)).is_none()).count()
        };
        let rivals = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            for index in 0..100 {
                sim.create(pod_with(&format!("late-rival-{index}"), "1")).unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = kubelet => unreachable!(),
            _ = schedulers => unreachable!(),
            () = rivals => unreachable!(),
            lost = scenario => lost,
        }
    })
}

#[test]
fn who_is_nominated_in_time_keeps_the_place() {
    for seed in 0..20 {
        assert_eq!(stolen(seed, KEPT), 0, "seed {seed}");
        assert_eq!(stolen(seed, HandOver { count: 1, ..KEPT }), 0, "seed {seed}");
    }
}

#[test]
fn without_a_nomination_rivals_take_it() {
    assert!((0..5).all(|seed| stolen(seed, HandOver { nominate: false, ..KEPT }) > 0));
}

#[test]
fn overlapping_hand_overs_on_a_node_reject_each_other() {
    assert!((0..5).any(|seed| stolen(seed, HandOver { batch: false, ..KEPT }) > 0));
}

#[test]
fn a_new_scheduler_knows_nominations_of_gated_pods_once_they_are_touched() {
    assert!((0..5).all(|seed| stolen(seed, HandOver { scheduler: Fate::Restarts, ..KEPT }) > 0));
    assert!((0..5).all(|seed| stolen(seed, HandOver { scheduler: Fate::RestartsAndIsTold, ..KEPT }) == 0));
}
