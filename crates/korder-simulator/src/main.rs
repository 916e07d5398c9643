//! Plays korder's controllers in the simulator, and tells what was violated.

use std::process::ExitCode;

use clap::Parser;
use cli::{Printer, Progress};
use korder_simulator::{crash_points, disturbed, drains, histories, nodes, schedulers};

/// Play korder's controllers in a simulated cluster, with faults
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,
    /// The first seed; every run is replayed by its own
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many random histories to play
    #[arg(long, default_value_t = 100)]
    histories: u64,
    /// Play the random history of the seed only
    #[arg(long)]
    replay: bool,
    /// Kill the controllers at every pair of points too, which takes minutes
    #[arg(long)]
    pairs: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let printer = arguments.global.printer();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("KORDER_LOG"))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    cli::exit_code(run(&arguments, printer))
}

fn run(arguments: &Arguments, printer: Printer) -> anyhow::Result<()> {
    let &Arguments { seed, histories, replay, pairs, .. } = arguments;
    let mut violations = vec![];
    if !replay {
        let progress = Progress::start(printer, "killing the controllers before and after each write of two claims");
        let report = crash_points::every_point(seed);
        progress.finish(format!("{} writes, {} runs, {} crashes", report.writes, report.runs, report.crashes));
        violations.extend(report.violations.into_iter().map(|what| format!("seed {seed}: {what}")));
        let progress = Progress::start(printer, "restarting the scheduler after each write of two claims");
        let report = schedulers::every_restart(seed);
        progress.finish(format!("{} runs, {} in the moment that can't be protected", report.runs, report.unprotected));
        violations.extend(report.violations.into_iter().map(|what| format!("seed {seed}: {what}")));
    }
    if !replay {
        let progress = Progress::start(printer, "two claims with failing requests, old caches, and a second leader");
        let (faults, takeovers) = (disturbed::every_fault(seed, 20), disturbed::every_takeover(seed));
        progress.finish(format!("{} runs", faults.runs + takeovers.runs));
        let violated = faults.violations.into_iter().chain(takeovers.violations);
        violations.extend(violated.map(|what| format!("seed {seed}: {what}")));
    }
    if !replay {
        let progress = Progress::start(printer, "taking a node away after each write of two claims");
        let (runs, violated) = nodes::every_loss(seed);
        progress.finish(format!("{runs} runs"));
        violations.extend(violated.into_iter().map(|what| format!("seed {seed}: {what}")));
    }
    if !replay {
        let progress = Progress::start(printer, "cordoning nodes, with crashes, drains, claims, and changes of mind");
        let (crashes, changes) = (drains::every_point(seed), drains::every_change_of_mind(seed));
        let (late, lost, violated) = drains::every_late_cordon(seed);
        progress.finish(format!("{} runs, {lost} places lost", crashes.0 + changes.0 + late));
        let violated = crashes.1.into_iter().chain(changes.1).chain(violated);
        violations.extend(violated.map(|what| format!("seed {seed}: {what}")));
    }
    if pairs {
        let progress = Progress::start(printer, "killing the controllers twice, at every pair of points");
        let report = crash_points::every_pair(seed, 1);
        progress.finish(format!("{} runs, {} crashed twice", report.runs, report.crashes));
        violations.extend(report.violations.into_iter().map(|what| format!("seed {seed}: {what}")));
    }
    let last = if replay { seed } else { seed + histories - 1 };
    let progress = Progress::start(printer, format!("random histories of seeds {seed} to {last}"));
    for seed in seed..=last {
        progress.update(format!("seed {seed}"));
        violations.extend(histories::play(seed).into_iter().map(|what| format!("seed {seed}: {what}")));
    }
    progress.finish(format!("{} histories", last - seed + 1));
    for violation in &violations {
        printer.result(violation)?;
    }
    anyhow::ensure!(violations.is_empty(), "{} violations; `--replay --seed SEED` plays one again", violations.len());
    Ok(())
}
