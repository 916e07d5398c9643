//! How a reconcile ends.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::patch;

/// Any error that can cross threads.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// How a reconcile ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do until something changes.
    Done,
    /// Look again after this time, or earlier when something changes.
    After(Duration),
}

/// How a reconcile failed, which decides when it is tried again.
///
/// Every error becomes one by `?`. The chain of its sources is searched for a [`kube::Error`]: a
/// conflict (409), and a JSON patch whose `test` did not hold, is a [`Conflict`](Self::Conflict); an
/// answer that says how long to wait (429, 503) is a [`RetryAfter`](Self::RetryAfter); everything
/// else is a [`Retry`](Self::Retry). It is deliberately not an [`Error`] itself, or that conversion
/// could not exist.
#[derive(Debug)]
pub enum Failure {
    /// Somebody else was faster. Tried again soon with fresh data; does not count as a failure.
    Conflict(BoxError),
    /// Tried again with growing delay.
    Retry(BoxError),
    /// Tried again after this time.
    RetryAfter(Duration, BoxError),
    /// Trying again can't help until something changes. Looked at once in a while all the same.
    Terminal(BoxError),
}

impl Failure {
    /// A failure that is not to be retried until something changes.
    pub fn terminal(error: impl Into<BoxError>) -> Self {
        Self::Terminal(error.into())
    }

    /// Classifies as `?` does, for errors that are boxed already.
    pub fn of(error: BoxError) -> Self {
        let api = find_api_error(error.as_ref());
        match api {
            Some(status) if patch::is_stale_status(status) => Self::Conflict(error),
            Some(status) => match retry_after(status) {
                Some(wait) => Self::RetryAfter(wait, error),
                None => Self::Retry(error),
            },
            None => Self::Retry(error),
        }
    }

    /// What went wrong.
    pub fn error(&self) -> &BoxError {
        match self {
            Self::Conflict(error) | Self::Retry(error) | Self::RetryAfter(_, error) | Self::Terminal(error) => error,
        }
    }
}

/// The error with all its sources, as one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::report::chain(self.error().as_ref()).fmt(f)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(Box::new(error))
    }
}

fn find_api_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a kube::core::Status> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() {
            return Some(status);
        }
        next = error.source();
    }
    None
}

fn retry_after(status: &kube::core::Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    let asks = matches!(status.code, 429 | 503) && seconds > 0;
    asks.then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
