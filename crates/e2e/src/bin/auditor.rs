//! Watches a cluster from outside, through its API alone, and tells in the end what was wrong.
//!
//! It follows every change of orders, tickets, pods and nodes from its start until it is interrupted, prints a report, and
//! exits with 0 only if there is nothing to object to.

use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use clap::Parser;
use cli::{OutputFormat, Printer};
use e2e::audit::{Auditor, Report};
use e2e::{Change, follow};
use futures::FutureExt as _;
use futures::future::select_all;
use jiff::Timestamp;
use kube::api::{Api, ListParams, WatchParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};

/// Watch the cluster of the current context until interrupted, and tell what was wrong
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,
    /// Form of the report
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    output: OutputFormat,
}

type Shared = Arc<Mutex<Auditor>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = arguments.global.printer();
    cli::exit_code(run(&arguments, printer))
}

fn run(arguments: &Arguments, printer: Printer) -> anyhow::Result<()> {
    let runtime = e2e::runtime()?;
    let report = runtime.block_on(audit(printer))?;
    match arguments.output {
        OutputFormat::Json => printer.json(&report)?,
        OutputFormat::Text => {
            let Report { changes, claims, handed_over, guardians, quiet_seconds, last_change, objections } = &report;
            printer.result(format_args!(
                "{changes} changes: {claims} claims, {handed_over} pods bound by a ticket, {guardians} guardians left, quiet for \
                 {quiet_seconds} s since {last_change}; {} objections",
                objections.len()
            ))?;
            for objection in objections {
                printer.result(objection)?;
            }
        }
    }
    ensure!(report.objections.is_empty(), "{} things were wrong", report.objections.len());
    Ok(())
}

async fn audit(printer: Printer) -> anyhow::Result<Report> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let client = Client::try_default().await.context("cannot find out which cluster to watch")?;
    let shared = Shared::default();
    // Nodes first: what is bound to one is judged by what it can take.
    let nodes = watch(&client, &shared, |auditor, change, node, _| auditor.see_node(change, &node)).await?;
    let orders = watch(&client, &shared, |auditor, change, order, now| auditor.see_order(change, &order, now)).await?;
    let tickets =
        watch(&client, &shared, |auditor, change, ticket, now| auditor.see_ticket(change, &ticket, now)).await?;
    let pods = watch(&client, &shared, |auditor, change, pod, now| auditor.see_pod(change, &pod, now)).await?;
    printer.note("Watching");
    tokio::select! {
        (ended, ..) = select_all([nodes, orders, tickets, pods]) => {
            let Err(broken) = ended;
            return Err(broken.context("the history has a hole"));
        }
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let auditor = shared.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(auditor.report(Timestamp::now()))
}

type Watching = futures::future::BoxFuture<'static, anyhow::Result<std::convert::Infallible>>;

/// Tells the auditor what is there, and then whatever becomes of it.
async fn watch<K>(
    client: &Client,
    shared: &Shared,
    see: impl Fn(&mut Auditor, Change, K, Timestamp) + Send + 'static,
) -> anyhow::Result<Watching>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<K> = Api::all(client.clone());
    let list = api.list(&ListParams::default()).await.with_context(|| format!("cannot list `{}`", K::plural(&())))?;
    let version = list.metadata.resource_version.unwrap_or_default();
    let shared = Arc::clone(shared);
    let tell = move |change, object| {
        see(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), change, object, Timestamp::now());
    };
    for object in list.items {
        tell(Change::Added, object);
    }
    Ok(async move { follow(&api, &WatchParams::default(), version, tell).await }.boxed())
}
