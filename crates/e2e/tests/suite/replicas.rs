//! Two processes of the controllers, of which one acts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Case, Environment, History, Log};
use k8s_openapi::api::coordination::v1::Lease;
use korder_api::names;
use kube::api::{Api, Patch, PatchParams};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::Instant;

use crate::installation::{Korder, cluster, signal};
use crate::load::{AT_ONCE, Load, claims};
use crate::suite::Suite;

/// Once in so many claims the leader is paused.
const CLAIMS_PER_PAUSE: usize = 100;
/// An orderly hand-over takes about a second.
const HAND_OVER: Duration = Duration::from_secs(10);
/// A process that finds its Lease lost has little left to do.
const END: Duration = Duration::from_secs(30);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(one_of_several_controllers_acts_under_load);
}

async fn one_of_several_controllers_acts_under_load() -> Result<()> {
    let cluster = cluster().await?;
    let korder = Korder::on(&cluster).await?;
    let told = korder.run(&["doctor"]).await?;
    ensure!(told.contains("your account may install korder") && told.contains("korder is not installed"), "{told}");
    korder.run(&["install", "--gate", "webhook"]).await?;
    let Err(sick) = korder.run(&["doctor"]).await else { anyhow::bail!("nobody leads, and the doctor is content") };
    ensure!(format!("{sick:#}").contains("no process of the controllers leads"), "{sick:#}");
    let _webhook = korder.start_webhook(&cluster.client()).await?;
    let environment = Arc::new(Environment::at(&cluster.data_dir().kubeconfig()).await?);
    Case::run(&environment, "replicas", async |case: &Case| leaders_change_under_load(case, &korder).await).await?;
    cluster.stop().await.context("cannot stop the cluster")
}

/// A process of the controllers, and the name of its pod.
struct Replica {
    name: String,
    process: Child,
}

impl Replica {
    async fn start(case: &Case, korder: &Korder, name: &str) -> Result<Self> {
        let arguments = ["controller", "--leader-elect", "--instance", name];
        let process = korder.start(&case.client(), names::CONTROLLER_NAME, &arguments).await?;
        Ok(Self { name: name.to_owned(), process })
    }
}

async fn leaders_change_under_load(case: &Case, korder: &Korder) -> Result<()> {
    let leases = History::start(Api::namespaced(case.client(), names::SYSTEM_NAMESPACE)).await?;
    let first = Replica::start(case, korder, "first").await?;
    leads(&leases, |name| name == "first").await?;
    let mut replicas = vec![first, Replica::start(case, korder, "second").await?];
    is_well(korder).await?;
    let load = Load::start(case).await?;
    nobody_takes_the_lead(case).await?;
    let claims = claims()?;
    let pauses = (claims / CLAIMS_PER_PAUSE).max(1);
    let fault = async |load: &Load<'_>| {
        are_upgraded(case, korder, load, &leases, &mut replicas).await?;
        for pause in 0..pauses {
            load.until_served(pause * CLAIMS_PER_PAUSE).await?;
            is_paused(load, &leases, &mut replicas).await?;
            replicas.push(Replica::start(case, korder, &format!("after-{pause}")).await?);
        }
        Ok(())
    };
    load.run(&format!("Both controllers replaced, then the leader paused {pauses} times"), claims, fault).await
}

/// As a Deployment does it: the next one is there before the last one goes.
async fn are_upgraded(
    case: &Case,
    korder: &Korder,
    load: &Load<'_>,
    leases: &History<Lease>,
    replicas: &mut Vec<Replica>,
) -> Result<()> {
    for name in ["third", "fourth"] {
        replicas.push(Replica::start(case, korder, name).await?);
        let mut old = replicas.remove(0);
        let led = leader(&leases.log());
        load.amid_a_hand_over().await?;
        signal(&old.process, Signal::TERM)?;
        let stopped = Instant::now();
        if led.as_ref() == Some(&old.name) {
            leads(leases, |leader| leader != old.name).await?;
            ensure!(stopped.elapsed() < HAND_OVER, "an orderly hand-over took {:?}", stopped.elapsed());
        }
        ensure!(ended(&mut old.process).await?, "a process that was stopped ended badly");
        load.until_served(load.served() + AT_ONCE).await?;
    }
    leads(leases, |leader| ["third", "fourth"].contains(&leader)).await
}

/// The leader is paused for longer than its Lease in the middle of a hand-over, and goes on after.
async fn is_paused(load: &Load<'_>, leases: &History<Lease>, replicas: &mut Vec<Replica>) -> Result<()> {
    let paused = leader(&leases.log()).context("nobody leads")?;
    let index = replicas.iter().position(|replica| replica.name == paused).context("a stranger leads")?;
    let mut late = replicas.remove(index);
    load.amid_a_hand_over().await?;
    signal(&late.process, Signal::STOP)?;
    leads(leases, |leader| leader != paused).await?;
    load.until_served(load.served() + AT_ONCE).await?;
    signal(&late.process, Signal::CONT)?;
    ensure!(!ended(&mut late.process).await?, "a process that has lost its Lease ended as if all were well");
    ensure!(leader(&leases.log()).is_some_and(|leader| leader != paused), "the late one took the lead again");
    Ok(())
}

/// Once the pods of the programs are there, every check is content.
async fn is_well(korder: &Korder) -> Result<()> {
    let mut last: Vec<Value> = Vec::new();
    let well = async {
        loop {
            let output = korder.command(&["doctor", "--output=json"]).output().await?;
            last = serde_json::from_slice(&output.stdout).context("the doctor's answer is no JSON")?;
            // Of names it always warns: Kubernetes has a short name `quota`.
            let is_well = last.iter().all(|finding| finding["level"] == "ok" || finding["check"] == "names");
            ensure!(output.status.success() || !is_well, "the doctor is content and fails");
            if is_well {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let ended = tokio::time::timeout(END * 2, well).await;
    ended.with_context(|| format!("the doctor is not content: {}", json!(last)))?
}

async fn nobody_takes_the_lead(case: &Case) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(case.client(), names::SYSTEM_NAMESPACE);
    let mine = Patch::Merge(json!({"spec": {"holderIdentity": "me"}}));
    let Err(refused) = leases.patch(names::LEADER_LEASE, &PatchParams::default(), &mine).await else {
        anyhow::bail!("somebody has taken the lead by hand")
    };
    ensure!(refused.to_string().contains("is korder's own"), "{refused}");
    Ok(())
}

/// A process leads whose pod's name is as asked.
async fn leads(leases: &History<Lease>, is: impl Fn(&str) -> bool) -> Result<()> {
    let leads = |log: &Log<Lease>| is(&leader(log)?).then_some(());
    leases.until("another process leads", leads).await
}

/// The name of the pod that leads.
fn leader(log: &Log<Lease>) -> Option<String> {
    let holder = log.get(names::LEADER_LEASE)?.spec.as_ref()?.holder_identity.as_deref()?;
    holder.split_once('_').map(|(name, _)| name.to_owned())
}

/// Waits for the end of a process; whether it was a good one.
async fn ended(process: &mut Child) -> Result<bool> {
    let ended = tokio::time::timeout(END, process.wait()).await.context("a process of the controllers goes on")?;
    Ok(ended?.success())
}
