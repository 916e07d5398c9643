//! What the audience sees: steps, the commands that a user would type, what they print, and what was seen to hold.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, ensure};
use cli::{OutputError, Printer};
use tokio::process::Command;

const TITLE: Style = AnsiColor::Cyan.on_default().bold();
const COMMAND: Style = Style::new().bold();
const FACT: Style = AnsiColor::Green.on_default().bold();
const ASIDE: Style = Style::new().dimmed();
/// No command of the story takes longer, unless something is wrong.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// The telling of one chapter.
pub(crate) struct Show {
    printer: Printer,
    /// Variables for the commands that a user would need too, and such that no user needs.
    exports: Vec<(&'static str, OsString)>,
    unseen: Vec<(&'static str, OsString)>,
    step: Option<Instant>,
    steps: usize,
    facts: usize,
}

impl Show {
    /// A show that has not begun.
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, exports: Vec::new(), unseen: Vec::new(), step: None, steps: 0, facts: 0 }
    }

    /// Says what is going to be told.
    pub(crate) fn title(&self, chapter: &str, title: &str) -> Result<(), OutputError> {
        self.line(format_args!("{TITLE}Chapter `{chapter}`: {title}{TITLE:#}"))
    }

    /// Sets a variable for all commands from now on, and shows it.
    pub(crate) fn export(&mut self, name: &'static str, value: OsString) -> Result<(), OutputError> {
        self.command(&assignment(name, &value))?;
        self.exports.push((name, value));
        Ok(())
    }

    /// Shows again what a user must set to go on with the same commands.
    pub(crate) fn exports(&self) -> Result<(), OutputError> {
        self.exports.iter().try_for_each(|(name, value)| self.command(&assignment(name, value)))
    }

    /// Sets a variable for all commands that makes no difference to what they show.
    pub(crate) fn set(&mut self, name: &'static str, value: OsString) {
        self.unseen.push((name, value));
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, title: &str) -> Result<(), OutputError> {
        self.steps += 1;
        self.step = Some(Instant::now());
        self.line(format_args!("\n{TITLE}{}  {title}{TITLE:#}", self.steps))
    }

    /// Says something about the step.
    pub(crate) fn aside(&self, text: impl Display) -> Result<(), OutputError> {
        self.line(format_args!("   {ASIDE}{text}{ASIDE:#}"))
    }

    /// Shows a command without running it here.
    pub(crate) fn command(&self, command: &str) -> Result<(), OutputError> {
        self.line(format_args!("\n   {COMMAND}$ {command}{COMMAND:#}"))
    }

    /// Runs a command in the shell, as a user would, and shows it with what it prints.
    pub(crate) async fn run(&self, command: &str) -> anyhow::Result<()> {
        self.run_within(COMMAND_DEADLINE, command).await
    }

    /// The same for a command that may take its time.
    pub(crate) async fn run_within(&self, deadline: Duration, command: &str) -> anyhow::Result<()> {
        self.command(command)?;
        let mut shell = Command::new("sh");
        // Progress and complaints are seen at once.
        shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        shell.envs(self.exports.iter().chain(&self.unseen).map(|(name, value)| (name, value)));
        let running = shell.kill_on_drop(true).spawn().context("cannot run `sh`")?.wait_with_output();
        let output = tokio::time::timeout(deadline, running)
            .await
            .with_context(|| format!("`{command}` took more than {} s", deadline.as_secs()))?
            .context("cannot read what `sh` prints")?;
        for line in String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.is_empty()) {
            self.line(format_args!("   {line}"))?;
        }
        ensure!(output.status.success(), "`{command}` failed with {}", output.status);
        Ok(())
    }

    /// Says what was seen to hold, and how long after the beginning of the step.
    pub(crate) fn holds(&mut self, fact: impl Display) -> Result<(), OutputError> {
        self.facts += 1;
        let took = self.step.map(|begun| begun.elapsed().as_secs_f64()).unwrap_or_default();
        self.line(format_args!("   {FACT}✓{FACT:#} {fact}  {ASIDE}{took:.1} s{ASIDE:#}"))
    }

    /// Ends the show.
    pub(crate) fn end(&self, chapter: impl Display, took: Duration) -> Result<(), OutputError> {
        let Self { steps, facts, .. } = self;
        let took = took.as_secs_f64();
        self.line(format_args!(
            "\n{FACT}✓ chapter `{chapter}` holds{FACT:#}: {steps} steps, {facts} facts seen, {took:.1} s in all"
        ))
    }

    /// A line of the show.
    pub(crate) fn line(&self, line: impl Display) -> Result<(), OutputError> {
        self.printer.result(line)
    }
}

/// The command that sets a variable in a shell.
fn assignment(name: &str, value: &OsStr) -> String {
    format!("export {name}={}", value.display())
}
