//! Tells what korder does, on a real Kubernetes that lives as long as the story: every step is shown as the commands
//! that a user would type, and is held to what the API says. Exits with 0 only if every step was seen to hold.

mod chapter;
mod kepot;
mod objects;
mod order;
mod show;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use cli::Printer;
use tokio::signal::unix::{SignalKind, signal};

use crate::chapter::Chapter;
use crate::show::Show;
use crate::stage::{Nodes, Stage};

/// Tell what korder does, on a Kubernetes made for it
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,
    /// What to tell
    #[arg(long, default_value = chapter::ALL, value_parser = PossibleValuesParser::new(chapter::names()))]
    chapter: String,
    /// Tell it between real containers, which pull this archive of an image (or these, given again and again); needs root and
    /// what `make e2e-deps` installs
    #[arg(long, value_name = "IMAGE")]
    real_node: Vec<PathBuf>,
    /// Leave the cluster running, to look around in it
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = arguments.global.printer();
    cli::exit_code(run(&arguments, printer))
}

fn run(arguments: &Arguments, printer: Printer) -> anyhow::Result<()> {
    let runtime = e2e::runtime()?;
    chapter::chosen(&arguments.chapter).try_for_each(|chapter| runtime.block_on(tell(chapter, arguments, printer)))
}

/// Tells one chapter in a cluster of its own, which goes with it.
async fn tell(chapter: &Chapter, arguments: &Arguments, printer: Printer) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut show = Show::new(printer);
    show.title(chapter.name, chapter.title)?;
    let stage = Stage::find(&mut show, printer).await?;
    let told = tokio::select! {
        biased;
        told = perform(chapter, arguments, &stage, &mut show) => told,
        interrupted = interruption() => interrupted.and_then(|signal| Err(anyhow!("interrupted by {signal}"))),
    };
    let closed = stage.close(&mut show, arguments.keep).await;
    told.with_context(|| format!("chapter `{}` was not seen to hold", chapter.name))?;
    closed?;
    show.end(chapter.name, started.elapsed())?;
    Ok(())
}

async fn perform(chapter: &Chapter, arguments: &Arguments, stage: &Stage, show: &mut Show) -> anyhow::Result<()> {
    let nodes = match arguments.real_node.as_slice() {
        [] => Nodes::Simulated { arguments: chapter.nodes },
        images => Nodes::Real { images },
    };
    let cluster = stage.open(show, nodes).await?;
    let told = (chapter.tell)(show, &cluster).await;
    if told.is_err() {
        show.aside("this does not hold; what is there instead:")?;
        show.run("kubectl get orders.core.korder.dev,tickets,inventories,stocks,pods -A -o wide").await?;
        show.run("kubectl logs -n korder-system deployment/korder-controller-manager --tail 30").await?;
    }
    told
}

/// Waits until somebody wants this program to end; the name of the signal.
async fn interruption() -> anyhow::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}
