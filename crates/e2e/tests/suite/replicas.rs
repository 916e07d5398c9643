//! Two processes of the controllers, of which one acts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Environment, History, Log};
use k8s_openapi::api::coordination::v1::Lease;
use korder_api::{TicketPhase, names};
use kube::api::{Api, Patch, PatchParams};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::Instant;

use crate::installation::{Korder, cluster};
use crate::suite::Suite;
use crate::until::{order_is_ready, pod_is_bound, ticket_is};

const SIZE: Size = Size::SMALL;
/// An orderly hand-over takes about a second.
const HAND_OVER: Duration = Duration::from_secs(10);
/// A process that finds its Lease lost has little left to do.
const END: Duration = Duration::from_secs(30);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(one_of_several_controllers_acts);
}

async fn one_of_several_controllers_acts() -> Result<()> {
    let cluster = cluster().await?;
    let korder = Korder::on(&cluster).await?;
    let told = korder.run(&["doctor"]).await?;
    ensure!(told.contains("your account may install korder") && told.contains("korder is not installed"), "{told}");
    korder.run(&["install", "--gate", "webhook"]).await?;
    let Err(sick) = korder.run(&["doctor"]).await else { anyhow::bail!("nobody leads, and the doctor is content") };
    ensure!(format!("{sick:#}").contains("no process of the controllers leads"), "{sick:#}");
    let _webhook = korder.start_webhook(&cluster.client()).await?;
    let environment = Arc::new(Environment::at(&cluster.data_dir().kubeconfig()).await?);
    Case::run(&environment, "replicas", async |case: &Case| leaders_change(case, &korder).await).await?;
    cluster.stop().await.context("cannot stop the cluster")
}

async fn leaders_change(case: &Case, korder: &Korder) -> Result<()> {
    let start = async |name: &str| {
        let arguments = ["controller", "--leader-elect", "--instance", name];
        korder.start(&case.client(), names::CONTROLLER_NAME, &arguments).await
    };
    let leases = History::start(Api::namespaced(case.client(), names::SYSTEM_NAMESPACE)).await?;
    case.add_nodes(1, Size { cpu: "8", memory: "16Gi" }).await?;

    let mut first = start("first").await?;
    leads(&leases, "first").await?;
    let mut second = start("second").await?;
    is_well(korder).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    nobody_takes_the_lead(case).await?;

    // As in a rolling upgrade: the next one is there before the last one goes.
    signal(&first, Signal::TERM)?;
    let stopped = Instant::now();
    leads(&leases, "second").await?;
    ensure!(stopped.elapsed() < HAND_OVER, "an orderly hand-over took {:?}", stopped.elapsed());
    ensure!(ended(&mut first).await?, "a process that was stopped ended badly");
    take(case, "app", "shelf-1").await?;

    // One that is paused for longer than its Lease, and goes on after.
    let third = start("third").await?;
    signal(&second, Signal::STOP)?;
    leads(&leases, "third").await?;
    take(case, "other", "shelf-2").await?;
    signal(&second, Signal::CONT)?;
    ensure!(!ended(&mut second).await?, "a process that has lost its Lease ended as if all were well");
    order_is_ready(case, "shelf", 2).await?;
    let holder = leases.log().get(names::LEADER_LEASE).and_then(|lease| holder(lease).map(str::to_owned));
    ensure!(holder.is_some_and(|holder| holder.starts_with("third_")), "the late one took the lead again");
    drop(third);
    Ok(())
}

/// A pod takes a ticket, which is its own then.
async fn take(case: &Case, pod: &str, ticket: &str) -> Result<()> {
    case.create(&case.claimant(pod, "shelf", SIZE)).await?;
    pod_is_bound(case, pod).await?;
    ticket_is(case, ticket, TicketPhase::Used).await?;
    order_is_ready(case, "shelf", 2).await.map(drop)
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

async fn leads(leases: &History<Lease>, name: &str) -> Result<()> {
    let leads = |log: &Log<Lease>| {
        let holder = holder(log.get(names::LEADER_LEASE)?)?;
        holder.strip_prefix(name)?.starts_with('_').then_some(())
    };
    leases.until(format!("the process `{name}` leads"), leads).await
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

fn signal(process: &Child, signal: Signal) -> Result<()> {
    let pid = process.id().context("a process of the controllers has ended by itself")?;
    let pid = Pid::from_raw(pid.cast_signed()).context("a process without an id")?;
    kill_process(pid, signal).context("cannot send a signal")
}

/// Waits for the end of a process; whether it was a good one.
async fn ended(process: &mut Child) -> Result<bool> {
    let ended = tokio::time::timeout(END, process.wait()).await.context("a process of the controllers goes on")?;
    Ok(ended?.success())
}
