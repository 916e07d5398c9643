//! Requests under way at the same time, in the one future of their program.

use std::future::Future;
use std::pin::Pin;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

/// Futures that run together, each with an outcome.
pub(crate) struct Pool<T> {
    futures: FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T> Pool<T> {
    pub(crate) fn new() -> Self {
        Self { futures: FuturesUnordered::new() }
    }

    pub(crate) fn push(&mut self, future: impl Future<Output = T> + Send + 'static) {
        self.futures.push(Box::pin(future));
    }

    /// The next outcome; never, if nothing runs.
    pub(crate) async fn next(&mut self) -> T {
        match self.futures.next().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }
}
