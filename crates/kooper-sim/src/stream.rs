//! A watch's stream of events: the store's log, in time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use tokio::time::{Instant, sleep_until};

use crate::hash::Hash;
use crate::server::{Form, bookmark_frame, error_frame, event_frame};
use crate::shared::Shared;
use crate::store::{Event, ListOptions, Opened, Watch};

/// How long a watch lasts that doesn't say.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(30);

/// An open watch.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    actor: Arc<str>,
    /// Its number among all watches; its events' latencies hang on it.
    id: u64,
    watch: Watch,
    form: Form,
    /// What is under way to the client, each with when it arrives; but nothing overtakes what was sent before it.
    under_way: VecDeque<(Instant, Bytes)>,
    next_bookmark: Option<Instant>,
    end: Instant,
    /// After an error nothing follows.
    failed: bool,
}

/// The lines of a watch, each when it arrives at the client.
pub(crate) fn lines(
    shared: Arc<Shared>,
    actor: Arc<str>,
    opened: Opened,
    options: &ListOptions,
    form: Form,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let now = Instant::now();
    let Opened { watch, initial, marks_end_of_initial } = opened;
    let mut open = Open {
        id: shared.next_watch(),
        next_bookmark: options.allow_watch_bookmarks.then(|| now + shared.options().bookmark_interval),
        end: now + options.timeout_seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        shared,
        actor,
        watch,
        form,
        under_way: VecDeque::new(),
        failed: false,
    };
    for event in &initial {
        open.send(event);
    }
    if marks_end_of_initial {
        let bookmark = bookmark_frame(&open.watch, true, open.form);
        open.under_way.push_back((now, bookmark));
    }
    futures::stream::unfold(open, |mut open| async move {
        let line = open.next().await?;
        open.shared.record(&open.actor, &line);
        Some((line, open))
    })
}

impl Open {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.take_events();
            let now = Instant::now();
            if self.under_way.front().is_some_and(|(arrival, _)| *arrival <= now) {
                return self.under_way.pop_front().map(|(_, line)| line);
            }
            if self.under_way.is_empty() && (self.failed || self.end <= now) {
                return None;
            }
            if self.under_way.is_empty() && self.next_bookmark.is_some_and(|time| time <= now) {
                self.next_bookmark = Some(now + self.shared.options().bookmark_interval);
                return Some(bookmark_frame(&self.watch, false, self.form));
            }
            self.wait().await;
        }
    }

    /// Waits until something may have to be done.
    async fn wait(&self) {
        let arrival = self.under_way.front().map(|(arrival, _)| *arrival);
        let next = arrival.unwrap_or_else(|| self.next_bookmark.map_or(self.end, |time| time.min(self.end)));
        tokio::select! {
            biased;
            () = std::future::poll_fn(|context| self.poll_change(context)) => {}
            () = sleep_until(next) => {}
        }
    }

    fn poll_change(&self, context: &Context<'_>) -> Poll<()> {
        if self.failed {
            return Poll::Pending;
        }
        self.shared.poll_change(self.id, &self.watch, context)
    }

    fn take_events(&mut self) {
        if self.failed || self.end <= Instant::now() {
            return;
        }
        match self.shared.events(&mut self.watch) {
            Ok(events) => events.iter().for_each(|event| self.send(event)),
            Err(refusal) => {
                self.failed = true;
                self.under_way.push_back((Instant::now(), error_frame(&refusal)));
            }
        }
    }

    fn send(&mut self, event: &Event) {
        let options = self.shared.options();
        let hash = Hash::new(options.seed).text("watch").number(self.id).number(event.object.revision());
        let arrival = match event.time {
            Some(time) => self.shared.clock().instant(time) + options.watch_latency.pick(hash),
            None => Instant::now(),
        };
        self.under_way.push_back((arrival, event_frame(event, self.form)));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.forget_watch(self.id, &self.watch);
    }
}
