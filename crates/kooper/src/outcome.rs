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
/// Every error becomes one by `?`. The chain of its sources is searched for a [`kube::Error`]:
///
/// | the error | becomes |
/// | --- | --- |
/// | 409, or a JSON patch whose `test` did not hold | [`Conflict`](Self::Conflict) |
/// | an answer that says how long to wait (429, 503) | [`RetryAfter`](Self::RetryAfter) |
/// | no answer; 429 and 5xx that say nothing of the kind | [`Unavailable`](Self::Unavailable) |
/// | any other | [`Retry`](Self::Retry) |
///
/// It is deliberately not an [`Error`] itself, or that conversion could not exist.
#[derive(Debug)]
pub enum Failure {
    /// Somebody else was faster. Tried again soon with fresh data. Does not count as a failure.
    Conflict(BoxError),
    /// The server is in trouble, or out of reach. Tried again with growing delay. Does not count as a failure: nothing is
    /// stalled because of an outage.
    Unavailable(BoxError),
    /// Tried again after this time. Does not count as a failure.
    RetryAfter(Duration, BoxError),
    /// Tried again with growing delay, until the key is stalled.
    Retry(BoxError),
    /// Trying again can't help until something changes: the key is stalled.
    Terminal(BoxError),
}

impl Failure {
    /// A failure that is not to be retried until something changes.
    pub fn terminal(error: impl Into<BoxError>) -> Self {
        Self::Terminal(error.into())
    }

    /// Classifies as `?` does, for errors that are boxed already.
    pub fn of(error: BoxError) -> Self {
        match find_kube_error(error.as_ref()) {
            Some(kube::Error::Api(status)) if patch::is_stale_status(status) => Self::Conflict(error),
            Some(kube::Error::Api(status)) if status.code == 429 || status.code >= 500 => match retry_after(status) {
                Some(wait) => Self::RetryAfter(wait, error),
                None => Self::Unavailable(error),
            },
            Some(kube::Error::Service(_) | kube::Error::HyperError(_)) => Self::Unavailable(error),
            _ => Self::Retry(error),
        }
    }

    /// What went wrong.
    pub fn error(&self) -> &BoxError {
        match self {
            Self::Conflict(error)
            | Self::Unavailable(error)
            | Self::RetryAfter(_, error)
            | Self::Retry(error)
            | Self::Terminal(error) => error,
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

fn find_kube_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a kube::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn retry_after(status: &kube::core::Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
