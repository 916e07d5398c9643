//! Plays korder's controllers in the simulator, and tells what was violated.

use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use cli::{Printer, Progress};
use korder_simulator::cases::Scenario;
use korder_simulator::histories::{History, Seen};
use korder_simulator::{crash_points, disturbed, drains, histories, nodes, schedulers, shelves};

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
    /// Play only what is about this
    #[arg(long, value_enum)]
    about: Option<About>,
    /// Play the random history of the seed only
    #[arg(long)]
    replay: bool,
    /// Play one run of the two claims only, by the name that a violation gives it
    #[arg(long, value_name = "RUN", conflicts_with = "replay")]
    only: Option<String>,
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
    let &Arguments { seed, histories, replay, .. } = arguments;
    let mut violations = vec![];
    let tries_hand_overs = !replay && arguments.about != Some(About::Shelves);
    if tries_hand_overs {
        violations.extend(two_claims(arguments, printer).into_iter().map(|what| format!("seed {seed}: {what}")));
    }
    if tries_hand_overs && arguments.only.is_none() {
        let progress = Progress::start(printer, "cordoning nodes, with crashes, drains, claims, and changes of mind");
        let (crashes, changes) = (drains::every_point(seed), drains::every_change_of_mind(seed));
        let (late, lost, violated) = drains::every_late_cordon(seed);
        progress.finish(format!("{} runs, {lost} places lost", crashes.0 + changes.0 + late));
        let violated = crashes.1.into_iter().chain(changes.1).chain(violated);
        violations.extend(violated.map(|what| format!("seed {seed}: {what}")));
    }
    let all = [About::Capacity, About::Shelves];
    let abouts = all.into_iter().filter(|about| arguments.about.is_none_or(|only| only == *about));
    if replay {
        for about in abouts {
            for (_, history) in about.play_all()(&[seed]) {
                let name = about.name();
                printer.result(format!("the history {seed} of {name} has the digest {:016x}", history.digest))?;
                violations.extend(history.violations.into_iter().map(|what| format!("{name} {seed}: {what}")));
            }
        }
    } else if arguments.only.is_none() {
        for about in abouts {
            violations.extend(random_histories(about, seed, histories, printer));
        }
    }
    for violation in &violations {
        printer.result(violation)?;
    }
    anyhow::ensure!(
        violations.is_empty(),
        "{} violations; to play one again: `--replay --about WHAT --seed SEED` for a history, `--only 'RUN' --pairs --seed {seed}` for a run \
         of the two claims, by what stands before the second colon",
        violations.len()
    );
    Ok(())
}

/// The scenario of two claims with everything that can go wrong in it.
fn two_claims(arguments: &Arguments, printer: Printer) -> Vec<String> {
    let scenario = Scenario { seed: arguments.seed, only: arguments.only.clone() };
    let mut violations = vec![];
    let progress = Progress::start(printer, "killing the controllers before and after each write of two claims");
    let report = crash_points::every_point(&scenario);
    progress.finish(format!("{} writes, {} runs, {} crashes", report.writes, report.runs, report.crashes));
    violations.extend(report.violations);
    let progress = Progress::start(printer, "restarting the scheduler after each write of two claims");
    let report = schedulers::every_restart(&scenario);
    progress.finish(format!("{} runs, {} in the moment that can't be protected", report.runs, report.unprotected));
    violations.extend(report.violations);
    let progress = Progress::start(printer, "two claims with failing requests and old caches");
    let report = disturbed::every_fault(&scenario, 20);
    progress.finish(format!(
        "{} runs; with conflicts on half of the writes {} writes at most, {} in a quiet run",
        report.runs, report.contended, report.quiet
    ));
    violations.extend(report.violations);
    let progress = Progress::start(printer, "a second leader that takes over after each write of two claims");
    let report = disturbed::every_takeover(&scenario);
    progress.finish(format!("{} runs", report.runs));
    violations.extend(report.violations);
    let progress = Progress::start(printer, "taking a node away after each write of two claims");
    let (runs, violated) = nodes::every_loss(&scenario);
    progress.finish(format!("{runs} runs"));
    violations.extend(violated);
    if arguments.pairs {
        let progress = Progress::start(printer, "killing the controllers twice, at every pair of points");
        let report = crash_points::every_pair(&scenario, 1);
        progress.finish(format!("{} runs, {} crashed twice", report.runs, report.crashes));
        violations.extend(report.violations);
    }
    violations
}

/// What random histories are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum About {
    /// Node capacity: orders, tickets, and pods that claim them
    Capacity,
    /// Stock: inventories, units, and orders in line
    Shelves,
}

impl About {
    const fn play_all(self) -> fn(&[u64]) -> Vec<(u64, History)> {
        match self {
            Self::Capacity => histories::play_all,
            Self::Shelves => shelves::play_all,
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

fn random_histories(about: About, first: u64, count: u64, printer: Printer) -> Vec<String> {
    let last = first + count - 1;
    let progress = Progress::start(printer, format!("random histories of {}, seeds {first} to {last}", about.name()));
    let mut seen = Seen::default();
    let mut violations = vec![];
    for seed in (first..first + count).step_by(AT_ONCE) {
        progress.update(format!("seed {seed}, {} violations", violations.len()));
        let seeds: Vec<u64> = (seed..(seed + AT_ONCE as u64).min(first + count)).collect();
        for (seed, history) in about.play_all()(&seeds) {
            violations.extend(history.violations.into_iter().map(|what| format!("{} {seed}: {what}", about.name())));
            seen += history.seen;
        }
    }
    progress.finish(format!("{count} histories of {}: {seen}", about.name()));
    violations
}

/// How many histories are played between two looks at the progress.
const AT_ONCE: usize = 50;
