//! Kubelets, the garbage collector, and rules of one's own.

use std::time::Duration;

use kooper_sim::actors::KubeletOptions;
use kooper_sim::{Denial, FieldError, Sim, Span, Verb, run};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::{Http, PODS, SHOPS, pod, shop};

const NONE: Value = Value::Null;
const MINUTE: Duration = Duration::from_mins(1);

pub(crate) fn node(name: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "32Gi", "pods": "110"}},
    })
}

pub(crate) fn pod_with(name: &str, cpu: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    pod
}

fn on(mut pod: Value, node: &str) -> Value {
    pod["spec"]["nodeName"] = json!(node);
    pod
}

fn phase(sim: &Sim, name: &str) -> Option<String> {
    let pod = sim.object("pods", "default", name)?;
    pod.value()["status"]["phase"].as_str().map(str::to_owned)
}

async fn beside<T>(actor: impl Future, scenario: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        _ = actor => unreachable!("actors never end"),
        result = scenario => result,
    }
}

#[test]
fn bound_pods_run_and_end() {
    run(1, |sim| async move {
        sim.create(node("n", "2")).unwrap();
        sim.create(on(pod_with("p", "1"), "n")).unwrap();
        let two_seconds = Span::millis(2000, 2000);
        let kubelet = sim.kubelet(KubeletOptions { stop: two_seconds, ..KubeletOptions::default() });
        beside(kubelet, async {
            let http = Http::new(&sim);
            sim.wait_until("the pod runs", MINUTE, |sim| phase(sim, "p").as_deref() == Some("Running")).await;
            let running = http.get(&format!("{PODS}/p")).await;
            assert!(
                running["status"]["conditions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|condition| condition["type"] == "Ready")
            );
            let ended_after = async |name: &str, grace: u64| {
                let start = Instant::now();
                http.expect(200, "DELETE", &format!("{PODS}/{name}"), json!({"gracePeriodSeconds": grace})).await;
                sim.wait_until("the pod is gone", MINUTE, |sim| phase(sim, name).is_none()).await;
                start.elapsed().as_secs()
            };
            assert_eq!(ended_after("p", 30).await, 2, "its containers have stopped");
            sim.create(on(pod_with("q", "1"), "n")).unwrap();
            sim.wait_until("the next runs", MINUTE, |sim| phase(sim, "q").as_deref() == Some("Running")).await;
            assert_eq!(ended_after("q", 1).await, 1, "its time is over");
        })
        .await;
    });
}

#[test]
fn pods_wait_for_their_node() {
    run(1, |sim| async move {
        sim.create(on(pod("p"), "n")).unwrap();
        beside(sim.kubelet(KubeletOptions::default()), async {
            tokio::time::sleep(MINUTE).await;
            assert_eq!(phase(&sim, "p").as_deref(), Some("Pending"));
            sim.create(node("n", "2")).unwrap();
            sim.wait_until("the pod runs", MINUTE, |sim| phase(sim, "p").as_deref() == Some("Running")).await;
        })
        .await;
    });
}

#[test]
fn too_much_on_a_node_is_refused_and_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let failures = runtime.block_on(async {
        let sim = Sim::new(1);
        sim.create(node("n", "2")).unwrap();
        beside(sim.kubelet(KubeletOptions::default()), async {
            sim.create(on(pod_with("a", "1500m"), "n")).unwrap();
            sim.wait_until("the first runs", MINUTE, |sim| phase(sim, "a").as_deref() == Some("Running")).await;
            assert!(sim.failures().is_empty());
            sim.create(on(pod_with("b", "1"), "n")).unwrap();
            sim.wait_until("the second is refused", MINUTE, |sim| phase(sim, "b").as_deref() == Some("Failed")).await;
        })
        .await;
        sim.failures()
    });
    assert_eq!(failures.len(), 1, "{failures:#?}");
    assert!(failures[0].contains("node `n`: 2500 of `cpu` requested where there are 2000"), "{}", failures[0]);
}

fn owned(mut object: Value, owners: &[&Value]) -> Value {
    let reference = |owner: &&Value| {
        let metadata = &owner["metadata"];
        json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]})
    };
    object["metadata"]["ownerReferences"] = owners.iter().map(reference).collect();
    object
}

#[test]
fn orphans_are_collected() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        beside(sim.garbage_collector(), async {
            let first = http.expect(201, "POST", SHOPS, shop("first")).await;
            let second = http.expect(201, "POST", SHOPS, shop("second")).await;
            http.expect(201, "POST", PODS, owned(pod("p"), &[&first])).await;
            let both = http.expect(201, "POST", SHOPS, owned(shop("both"), &[&first, &second])).await;
            http.expect(201, "POST", SHOPS, owned(shop("grandchild"), &[&both])).await;
            http.expect(200, "DELETE", &format!("{SHOPS}/first"), NONE).await;
            sim.wait_until("the pod is gone", MINUTE, |sim| sim.objects("pods").is_empty()).await;
            tokio::time::sleep(MINUTE).await;
            assert_eq!(sim.objects("shops.example.com").len(), 3, "one owner is enough");
            http.expect(200, "DELETE", &format!("{SHOPS}/second"), NONE).await;
            sim.wait_until("all is gone", MINUTE, |sim| sim.objects("shops.example.com").is_empty()).await;
        })
        .await;
    });
}

#[test]
fn who_is_deleted_in_the_foreground_waits_for_what_blocks_it() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        beside(sim.garbage_collector(), async {
            let owner = http.expect(201, "POST", SHOPS, shop("owner")).await;
            let mut blocking = owned(shop("blocking"), &[&owner]);
            blocking["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = json!(true);
            blocking["metadata"]["finalizers"] = json!(["example.com/kept"]);
            http.expect(201, "POST", SHOPS, blocking).await;
            http.expect(201, "POST", SHOPS, owned(shop("other"), &[&owner])).await;
            let foreground = json!({"propagationPolicy": "Foreground"});
            let ending = http.expect(200, "DELETE", &format!("{SHOPS}/owner"), foreground.clone()).await;
            assert_eq!(ending["metadata"]["finalizers"], json!(["foregroundDeletion"]));
            tokio::time::sleep(MINUTE).await;
            assert_eq!(
                sim.objects("shops.example.com").len(),
                3,
                "one is kept, the others wait for it or for its owner"
            );
            let free = json!({"metadata": {"finalizers": null}});
            http.expect(200, "PATCH", &format!("{SHOPS}/blocking"), free).await;
            sim.wait_until("all is gone", MINUTE, |sim| sim.objects("shops.example.com").is_empty()).await;
            http.expect(201, "POST", SHOPS, shop("lonely")).await;
            http.expect(200, "DELETE", &format!("{SHOPS}/lonely"), foreground).await;
            sim.wait_until("it is gone", MINUTE, |sim| sim.objects("shops.example.com").is_empty()).await;
        })
        .await;
    });
}

#[test]
fn who_names_an_owner_that_never_was_goes_too() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        beside(sim.garbage_collector(), async {
            let elsewhere = "/apis/example.com/v1/namespaces/kube-system/shops";
            let owner = http.expect(201, "POST", elsewhere, shop("owner")).await;
            http.expect(201, "POST", SHOPS, owned(shop("other-namespace"), &[&owner])).await;
            let mut unknown = owner.clone();
            unknown["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
            http.expect(201, "POST", elsewhere, owned(shop("other-uid"), &[&unknown])).await;
            http.expect(201, "POST", elsewhere, owned(shop("rightful"), &[&owner])).await;
            tokio::time::sleep(MINUTE).await;
            let left: Vec<Value> =
                sim.objects("shops.example.com").iter().map(|shop| shop.value()["metadata"]["name"].clone()).collect();
            assert_eq!(left, ["owner", "rightful"]);
        })
        .await;
    });
}

#[test]
fn rules_of_ones_own_see_and_change_what_is_written() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        sim.admit(|request, object| {
            if request.kind.api.plural == "pods" && request.verb == Verb::Create {
                object["spec"]["schedulingGates"] = json!([{"name": "example.com/gate"}]);
            }
            if object["spec"]["town"] == "Nowhere" {
                let error = FieldError::invalid("spec.town", "\"Nowhere\"", "must be a town");
                return Err(Denial::Invalid(vec![error]));
            }
            let locked = request.old.is_some_and(|old| old["spec"]["locked"] == true);
            if locked && request.subresource.is_none() {
                Err(Denial::Forbidden("it is locked".to_owned()))
            } else {
                Ok(())
            }
        });
        let made = http.expect(201, "POST", PODS, pod("p")).await;
        assert_eq!(made["status"]["conditions"][0]["reason"], "SchedulingGated");
        let mut nowhere = shop("a");
        nowhere["spec"]["town"] = json!("Nowhere");
        let answer = http.expect(422, "POST", SHOPS, nowhere).await;
        assert_eq!(answer["details"]["causes"][0]["field"], "spec.town");
        let mut locked = shop("b");
        locked["spec"]["locked"] = json!(true);
        http.expect(201, "POST", SHOPS, locked).await;
        http.expect(403, "PATCH", &format!("{SHOPS}/b"), json!({"spec": {"locked": false}})).await;
        http.expect(200, "PATCH", &format!("{SHOPS}/b/status"), json!({"status": {"open": true}})).await;
    });
}
