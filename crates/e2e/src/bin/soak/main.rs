//! Mixed load and faults on an embedded cluster for some minutes, judged by the auditor.
//!
//! Orders come, go, grow and pause; pods of all kinds claim tickets and end; nodes are drained; the scheduler and the
//! controllers are killed. The auditor, a process of its own, watches the API. When the load has stopped and what it made is
//! removed, nothing may have been wrong, and nothing may be written any more.

mod faults;
mod load;

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use cli::{Printer, Progress};
use e2e::audit::Report;
use e2e::{History, Log, Up};
use futures::future::try_join;
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Order, Ticket};
use kube::api::{Api, DeleteParams, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::faults::Faults;
use crate::load::Load;

/// The nodes of the cluster; each has room for ten of the pods that the load makes.
const NODES: [&str; 3] = ["--nodes=8", "--node-cpu=5", "--node-memory=64Gi"];
/// Where the load is.
const NAMESPACE: &str = "default";
/// How long nothing may be written once all is over.
const QUIET: Duration = Duration::from_secs(30);
/// How long removing everything may take.
const CLEARING: Duration = Duration::from_mins(3);

/// Put mixed load and faults on a Kubernetes made for it, and let the auditor judge
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,
    /// How long the load lasts
    #[arg(long, default_value_t = 10, value_name = "MINUTES")]
    minutes: u64,
    /// What the load and the faults are drawn from
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = arguments.global.printer();
    cli::exit_code(run(&arguments, printer))
}

fn run(arguments: &Arguments, printer: Printer) -> anyhow::Result<()> {
    let runtime = e2e::runtime()?;
    runtime.block_on(async {
        tokio::select! {
            soaked = soak(arguments, printer) => soaked,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| bail!("interrupted")),
        }
    })
}

async fn soak(arguments: &Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { minutes, seed, global: _ } = arguments;
    let progress = Progress::start(printer, format_args!("Load and faults of seed {seed} for {minutes} min"));
    let up = Up::start(&NODES).await?;
    let kubeconfig = up.kubeconfig();
    let client = client(&kubeconfig).await?;
    let auditor = start_auditor(&kubeconfig)?;

    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let load = Load::new(client.clone(), NAMESPACE, *seed);
    let faults = Faults::new(client.clone(), up.data_dir(), up.pid()?, *seed);
    let (made, done) = Box::pin(try_join(load.run(until), faults.run(until))).await?;
    progress.finish(format_args!("Made {made}; {done}"));

    let progress = Progress::start(printer, "Removing everything, and listening for more writes");
    clear(&client).await?;
    // Not a guess at how long things take: it is what is being measured.
    tokio::time::sleep(QUIET + Duration::from_secs(5)).await;
    let report = judge(auditor).await?;
    progress.finish("Removed everything");
    up.stop().await?;

    let Report { changes, claims, handed_over, guardians, quiet_seconds, last_change, objections } = &report;
    printer.result(format_args!(
        "{changes} changes, {claims} claims, {handed_over} pods bound by a ticket; then {guardians} guardians left, quiet for \
         {quiet_seconds} s since {last_change}; {} objections",
        objections.len()
    ))?;
    for objection in objections {
        printer.result(format_args!("wrong: {objection}"))?;
    }
    ensure!(objections.is_empty(), "{} things were wrong", objections.len());
    ensure!(*guardians == 0, "{guardians} guardians are left of nothing");
    let quiet = QUIET.as_secs().cast_signed();
    ensure!(
        *quiet_seconds >= quiet,
        "{last_change} {quiet_seconds} s before the end, all was to be quiet for {quiet} s"
    );
    Ok(())
}

async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

fn start_auditor(kubeconfig: &Path) -> anyhow::Result<Child> {
    let auditor = std::env::current_exe().context("cannot find out where this program is")?.with_file_name("auditor");
    Command::new(&auditor)
        .arg("--output=json")
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run `{}`: build it with `cargo build -p e2e`", auditor.display()))
}

/// What the auditor says in the end. Its exit code says less than its report.
async fn judge(auditor: Child) -> anyhow::Result<Report> {
    let pid = auditor.id().context("the auditor has ended by itself")?;
    let pid = Pid::from_raw(pid.cast_signed()).context("the auditor has no process id")?;
    kill_process(pid, Signal::INT).context("cannot interrupt the auditor")?;
    let output =
        tokio::time::timeout(CLEARING, auditor.wait_with_output()).await.context("the auditor does not end")??;
    serde_json::from_slice(&output.stdout).context("the auditor gave no report")
}

/// Removes what the load has made, and waits until all that korder made of it is gone.
async fn clear(client: &Client) -> anyhow::Result<()> {
    let (now, all) = (DeleteParams::background().grace_period(0), ListParams::default());
    let orders: Api<Order> = Api::namespaced(client.clone(), NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let tickets: Api<Ticket> = Api::namespaced(client.clone(), NAMESPACE);
    orders.delete_collection(&now, &all).await?;
    pods.delete_collection(&now, &all).await?;
    let tickets = History::start(tickets).await?;
    let none = |log: &Log<Ticket>| log.objects().next().is_none().then_some(());
    tickets.until_within(CLEARING, "all tickets are gone", none).await?;
    let pods = History::start(pods).await?;
    let none = |log: &Log<Pod>| log.objects().next().is_none().then_some(());
    pods.until_within(CLEARING, "all pods are gone", none).await
}
