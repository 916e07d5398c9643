//! `korder up`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use cli::{OutputFormat, Printer};
use cluster::Version;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::up::{self, Instance, NodeArguments, Running, State, Wish};

/// What to start, and how.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Directory of all state [default: ~/.korder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Port of the API server on loopback [default: the last one, else any that is free]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Minor version of Kubernetes: 1.34, 1.35 or 1.36
    #[arg(long, env = cluster::VERSION_VARIABLE, default_value_t, value_name = "VERSION")]
    kubernetes_version: Version,
    /// Return when all is ready, and leave it running in the background
    #[arg(long)]
    detach: bool,
    /// Form of what is printed
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    output: OutputFormat,
    /// Add the context `korder` to your own kubeconfig
    #[arg(long)]
    merge_kubeconfig: bool,
    #[command(flatten)]
    nodes: NodeArguments,
    /// Set in the process that `--detach` leaves running
    #[arg(long, hide = true)]
    in_background: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments {
        data_dir,
        port,
        kubernetes_version: version,
        detach,
        output,
        merge_kubeconfig,
        nodes,
        in_background,
    } = arguments;
    let instance = Instance::new(data_dir)?;
    let wish = Wish { port, version, nodes };
    if detach {
        let state = up::start_in_background(&instance, &wish, printer).await?;
        return announce(&instance, &state, output, merge_kubeconfig, printer);
    }
    if in_background {
        up::leave_terminal()?;
    }
    let mut signals = Signals::new()?;
    let (mut running, state) = tokio::select! {
        started = Running::start(instance.clone(), &wish, printer) => started?,
        () = signals.received() => anyhow::bail!("stopped before it was ready"),
    };
    announce(&instance, &state, output, merge_kubeconfig, printer)?;
    tokio::select! {
        error = running.failed() => return Err(error),
        () = signals.received() => {}
    }
    printer.note("Stopping; the state stays for the next `korder up`");
    tokio::select! {
        stopped = running.stop() => stopped,
        () = signals.received() => anyhow::bail!("killed before it had stopped; nothing that was acknowledged is lost"),
    }
}

/// Tells the user, on one line, that all is ready.
fn announce(
    instance: &Instance,
    state: &State,
    output: OutputFormat,
    merge: bool,
    printer: Printer,
) -> anyhow::Result<()> {
    let State { korder, kubernetes, server, metrics, kubeconfig, kubectl, ready_since: _ } = state;
    if merge {
        let file = up::merge_kubeconfig(kubeconfig)?;
        printer.note(format_args!("The context `korder` is in `{}`", file.display()));
    }
    if output == OutputFormat::Json {
        return Ok(printer.json(&json!({
            "dataDir": instance.data_dir().path(),
            "korder": korder,
            "kubernetes": kubernetes,
            "server": server,
            "metrics": metrics,
            "kubeconfig": kubeconfig,
            "kubectl": kubectl,
        }))?);
    }
    let kubectl = kubectl.display();
    let access = if merge { "--context korder".to_owned() } else { format!("--kubeconfig {}", kubeconfig.display()) };
    Ok(printer.result(format_args!(
        "korder is ready: Kubernetes {kubernetes} at {server}, try `{kubectl} {access} get nodes`"
    ))?)
}

/// The signals that ask for an orderly stop.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    async fn received(&mut self) {
        let Self([interrupt, terminate, hangup]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
