//! Where a program's words go: results to stdout, everything else to stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// How much a program says about what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Results and errors only.
    Quiet,
    /// Also notes, warnings and progress.
    Normal,
    /// Also details.
    Verbose,
}

/// A result that could not be written to stdout.
///
/// [`exit_code`](crate::exit_code) forgives a reader that has gone (`… | head -1`), and nothing else.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub struct OutputError(#[from] pub(crate) io::Error);

/// Writes results to stdout and notes to stderr, as loud as the user asked for.
///
/// Colours and styles may be part of any text: they are removed where the stream does not take them.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    verbosity: Verbosity,
}

impl Printer {
    /// A printer of the given verbosity.
    pub fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// How much is said.
    pub fn verbosity(self) -> Verbosity {
        self.verbosity
    }

    /// Whether something that moves or redraws itself may be shown on stderr.
    pub fn is_animated(self) -> bool {
        self.verbosity > Verbosity::Quiet && io::stderr().is_terminal()
    }

    /// A line of the command's result, on stdout, whatever the verbosity.
    pub fn result(self, line: impl Display) -> Result<(), OutputError> {
        let mut stdout = anstream::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()?;
        Ok(())
    }

    /// The command's result as one JSON document on stdout.
    pub fn json(self, value: &impl Serialize) -> Result<(), OutputError> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.result(text)
    }

    /// Something worth knowing, on stderr.
    pub fn note(self, line: impl Display) {
        self.say(Verbosity::Normal, &line);
    }

    /// Something that may be wrong, on stderr.
    pub fn warning(self, line: impl Display) {
        let style = anstyle::AnsiColor::Yellow.on_default().bold();
        self.say(Verbosity::Normal, &format_args!("{style}warning:{style:#} {line}"));
    }

    /// A detail that few want to read, on stderr.
    pub fn detail(self, line: impl Display) {
        self.say(Verbosity::Verbose, &line);
    }

    /// Asks a question that is answered by yes or no, on the terminal; anything but yes is no. `None` where there is no
    /// terminal to answer on.
    pub fn confirm(self, question: impl Display) -> io::Result<Option<bool>> {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(None);
        }
        write!(anstream::stderr(), "{question} [y/N] ")?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(Some(["y", "yes"].contains(&answer.trim().to_lowercase().as_str())))
    }

    fn say(self, at_least: Verbosity, line: &dyn Display) {
        if self.verbosity >= at_least {
            // With stderr gone there is nobody left to tell.
            drop(writeln!(anstream::stderr(), "{line}"));
        }
    }
}
