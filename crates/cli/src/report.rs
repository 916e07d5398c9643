//! One shape for every failure.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::printer::OutputError;

/// An error together with what the user can do about it.
///
/// The hint is kept out of the message, so that messages can be joined into one line and the hint
/// still comes last, on a line of its own.
#[derive(Debug)]
pub struct Hinted {
    error: Box<dyn Error + Send + Sync>,
    hint: String,
}

impl Hinted {
    /// Adds `hint`, a sentence without a full stop, to `error`.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: hint.into() }
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// An answer that scripts tell from others by the program's exit code. It is no failure: what there was to say is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is told by exit code {0}")]
pub struct Answer(pub u8);

/// The report of an error as text: the error, what caused it, and the hints found on the way.
///
/// ```text
/// error: cannot start the control plane
///   caused by: port 6443 is taken
/// hint: stop what listens there or choose another one with `--port`
/// ```
///
/// A cause whose text its effect already ends with is left out.
pub fn report(error: &(dyn Error + 'static)) -> String {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    let cyan = anstyle::AnsiColor::Cyan.on_default().bold();
    let mut lines = vec![format!("{red}error:{red:#} {error}")];
    let mut hints = Vec::new();
    let mut above = error.to_string();
    for link in chain(error) {
        let message = link.to_string();
        if !above.ends_with(&message) {
            lines.push(format!("  caused by: {message}"));
        }
        above = message;
        if let Some(Hinted { hint, .. }) = link.downcast_ref() {
            hints.push(format!("{cyan}hint:{cyan:#} {hint}"));
        }
    }
    lines.append(&mut hints);
    lines.join("\n")
}

/// Reports a failure on stderr and returns the program's exit code: 0 for success, 1 for failure, and that of an [`Answer`].
///
/// A reader of stdout that has gone is no failure and is not reported.
pub fn exit_code<E>(result: Result<(), E>) -> ExitCode
where
    E: AsRef<dyn Error + Send + Sync + 'static>,
{
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: &(dyn Error + 'static) = error.as_ref();
            if is_closed_output(error) {
                return ExitCode::SUCCESS;
            }
            if let Some(&Answer(code)) = chain(error).find_map(|link| link.downcast_ref()) {
                return ExitCode::from(code);
            }
            anstream::eprintln!("{}", report(error));
            ExitCode::FAILURE
        }
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn is_closed_output(error: &(dyn Error + 'static)) -> bool {
    chain(error)
        .filter_map(|link| link.downcast_ref::<OutputError>())
        .any(|OutputError(cause)| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Outer(#[source] Hinted);

    fn plain(error: &(dyn Error + 'static)) -> String {
        anstream::adapter::strip_str(&report(error)).to_string()
    }

    #[test]
    fn causes_follow_the_error_and_hints_come_last() {
        let cause = io::Error::other("port 1 is taken");
        let error = Outer(Hinted::new(cause, "choose another"));
        assert_eq!(plain(&error), "error: cannot start\n  caused by: port 1 is taken\nhint: choose another");
    }

    #[test]
    fn a_cause_that_its_effect_quotes_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read `a`: {0}")]
        struct Quoting(#[source] io::Error);
        let error = Quoting(io::Error::other("no such file"));
        assert_eq!(plain(&error), "error: cannot read `a`: no such file");
    }

    #[test]
    fn only_a_reader_of_stdout_that_has_gone_is_forgiven() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_output(&OutputError(pipe())));
        assert!(!is_closed_output(&pipe()));
        assert!(!is_closed_output(&OutputError(io::Error::other("full"))));
    }
}
