//! A long step that is under way.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::printer::Printer;

/// How often a terminal is redrawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a file or pipe gets another line.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

/// A long step that is under way: a spinner with the elapsed time on a terminal, a plain line now
/// and then in a file or pipe, nothing where the user asked for quiet.
///
/// Dropping it takes the spinner away, so that an error message stands alone.
pub struct Progress {
    printer: Printer,
    started: Instant,
    view: View,
}

/// What shows the progress.
enum View {
    Spinner(ProgressBar),
    Lines { last: Mutex<Instant> },
}

impl Progress {
    /// Starts to show `step`, which should read well before an ellipsis.
    pub fn start(printer: Printer, step: impl Display) -> Self {
        let started = Instant::now();
        let view = if printer.is_animated() {
            let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.set_message(step.to_string());
            bar.enable_steady_tick(FRAME);
            View::Spinner(bar)
        } else {
            printer.note(format_args!("{step} …"));
            View::Lines { last: Mutex::new(started) }
        };
        Self { printer, started, view }
    }

    /// Says how far the step has come.
    pub fn update(&self, state: impl Display) {
        match &self.view {
            View::Spinner(bar) => bar.set_message(state.to_string()),
            View::Lines { last } => {
                let now = Instant::now();
                // A panic while holding this lock leaves a valid instant behind.
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if now.duration_since(*last) >= LINE_INTERVAL {
                    *last = now;
                    let elapsed = now.duration_since(self.started).as_secs();
                    self.printer.note(format_args!("  {state} ({elapsed} s)"));
                }
            }
        }
    }

    /// Ends the step with a last line, which gets the time that it took.
    pub fn finish(self, result: impl Display) {
        if let View::Spinner(bar) = &self.view {
            bar.finish_and_clear();
        }
        let elapsed = self.started.elapsed().as_secs_f64();
        self.printer.note(format_args!("{result} ({elapsed:.1} s)"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let View::Spinner(bar) = &self.view {
            bar.finish_and_clear();
        }
    }
}
