//! One seed is one run, in this process and in another.

use std::process::Command;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kooper_sim::actors::{KubeletOptions, SchedulerOptions};
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::{Sim, run};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::actors::{node, pod_with};

/// Labels every pod that it sees without one, as a controller would, on a client with faults.
async fn labeller(sim: Sim, name: String) {
    let plan = FaultPlan::none()
        .with(Requests::writes(), When::Share { per_mille: 100 }, Effect::LoseReply)
        .with(Requests::writes(), When::Share { per_mille: 200 }, Effect::Conflict)
        .with(Requests::watches(), When::Share { per_mille: 500 }, Effect::CloseAfter { events: 7 })
        .with_seed(sim.seed());
    let (client, _) = sim.client_with(&name, plan);
    let pods: Api<Pod> = Api::default_namespaced(client);
    let mut events = watcher(pods.clone(), watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) if !pod.labels().contains_key(&name) => {
                let patch = Patch::Merge(json!({"metadata": {"labels": {&name: "seen"}}}));
                pods.patch(&pod.name_any(), &PatchParams::default(), &patch).await.ok();
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

async fn scenario(sim: &Sim) {
    for index in 0..4 {
        sim.create(node(&format!("n{index}"), "4")).unwrap();
    }
    for index in 0..60 {
        sim.create(pod_with(&format!("p{index}"), if index % 3 == 0 { "1" } else { "250m" })).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_mins(10)).await;
}

fn digest(seed: u64) -> u64 {
    run(seed, |sim| async move {
        let actors = async {
            tokio::join!(
                biased;
                sim.scheduler(SchedulerOptions::default()),
                sim.kubelet(KubeletOptions::default()),
                sim.garbage_collector(),
                labeller(sim.clone(), "one".to_owned()),
                labeller(sim.clone(), "two".to_owned()),
            )
        };
        tokio::select! {
            biased;
            _ = actors => unreachable!(),
            () = scenario(&sim) => {}
        }
        assert!(sim.history().len() > 200, "too little happened to tell runs apart");
        sim.digest()
    })
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..5 {
        assert_eq!(digest(seed), digest(seed), "seed {seed}");
    }
    assert_ne!(digest(0), digest(1));
}

const PREFIX: &str = "digest of seed 7: ";

/// What [`another_process_runs_the_same`] starts.
#[test]
#[ignore = "prints what another test reads"]
fn prints_a_digest() {
    println!("{PREFIX}{}", digest(7));
}

#[test]
fn another_process_runs_the_same() {
    let test = ["determinism::prints_a_digest", "--exact", "--ignored", "--nocapture"];
    let output = Command::new(std::env::current_exe().unwrap()).args(test).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let (_, theirs) = printed.split_once(PREFIX).unwrap_or_else(|| panic!("no digest in {printed}"));
    assert_eq!(theirs.lines().next(), Some(digest(7).to_string().as_str()));
}
