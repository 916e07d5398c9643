//! `korder status`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use cli::{Answer, OutputFormat, Printer};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use korder_api::names::SYSTEM_NAMESPACE;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use serde::Serialize;

use crate::up::{Instance, State};

/// Bound of all questions to the cluster.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The exit code where nothing runs, as that of `systemctl status` (and of the Linux Standard Base).
const STOPPED: u8 = 3;

/// What to look at.
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 if it runs or is about to, 3 if it does not, 1 if that can't be told")]
pub(crate) struct Arguments {
    /// Directory of all state [default: ~/.korder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Form of what is printed
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    output: OutputFormat,
}

/// What there is to say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    status: Status,
    data_dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    objects: Option<Objects>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Running,
    Starting,
    Stopped,
}

/// What the cluster says.
#[derive(Debug, Serialize)]
struct Objects {
    nodes: Vec<Readiness>,
    programs: Vec<Readiness>,
}

/// A node or program, and whether it is ready.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Readiness {
    name: String,
    ready: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { data_dir, output } = arguments;
    let report = look(&Instance::new(data_dir)?).await?;
    match output {
        OutputFormat::Json => printer.json(&report)?,
        OutputFormat::Text => {
            for line in lines(&report) {
                printer.result(line)?;
            }
        }
    }
    if report.status == Status::Stopped { Err(Answer(STOPPED).into()) } else { Ok(()) }
}

async fn look(instance: &Instance) -> anyhow::Result<Report> {
    let pid = instance.runner()?.map(|pid| pid.as_raw_nonzero().get());
    // What a killed process has left behind says nothing of now.
    let state = if pid.is_some() { instance.state()? } else { None };
    let objects = match &state {
        Some(state) => Some(
            tokio::time::timeout(TIMEOUT, ask(state))
                .await
                .unwrap_or_else(|_| anyhow::bail!("no answer within {} s", TIMEOUT.as_secs()))
                .with_context(|| format!("cannot ask the cluster at `{}`", state.server))?,
        ),
        None => None,
    };
    let status = match (pid, &state) {
        (Some(_), Some(_)) => Status::Running,
        (Some(_), None) => Status::Starting,
        (None, _) => Status::Stopped,
    };
    Ok(Report { status, data_dir: instance.data_dir().path().to_owned(), pid, state, objects })
}

async fn ask(state: &State) -> anyhow::Result<Objects> {
    let kubeconfig = Kubeconfig::read_from(&state.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let everything = kube::api::ListParams::default();
    let nodes = Api::<Node>::all(client.clone()).list(&everything).await?;
    let programs = Api::<Deployment>::namespaced(client, SYSTEM_NAMESPACE).list(&everything).await?;
    Ok(Objects {
        nodes: nodes.items.iter().map(|node| Readiness { name: node.name_any(), ready: node_ready(node) }).collect(),
        programs: programs
            .items
            .iter()
            .map(|program| Readiness { name: program.name_any(), ready: program_ready(program) })
            .collect(),
    })
}

fn node_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn program_ready(program: &Deployment) -> bool {
    let wanted = program.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    program.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0) >= wanted
}

/// The report for people.
fn lines(report: &Report) -> Vec<String> {
    let Report { status, data_dir, pid, state, objects } = report;
    let path = data_dir.display();
    let mut lines = match (status, pid) {
        (Status::Running, Some(pid)) => vec![format!("korder runs on `{path}`, process {pid}")],
        (Status::Starting, Some(pid)) => vec![format!("korder starts or stops on `{path}`, process {pid}")],
        _ => vec![format!("korder does not run on `{path}`")],
    };
    if let Some(State { korder, kubernetes, server, metrics, kubeconfig, kubectl, ready_since }) = state {
        lines.push(format!("  version     korder {korder}, Kubernetes {kubernetes}"));
        lines.push(format!("  server      {server}"));
        lines.extend(metrics.iter().map(|metrics| format!("  metrics     {metrics}")));
        lines.push(format!("  kubeconfig  {}", kubeconfig.display()));
        lines.push(format!("  kubectl     {}", kubectl.display()));
        lines.push(format!("  ready since {ready_since:.0}"));
    }
    if let Some(Objects { nodes, programs }) = objects {
        let ready = nodes.iter().filter(|node| node.ready).count();
        lines.push(format!("  nodes       {ready} of {} ready", nodes.len()));
        for Readiness { name, ready } in programs {
            lines.push(format!("  {name}: {}", if *ready { "ready" } else { "not ready" }));
        }
    }
    lines
}
