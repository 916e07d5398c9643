//! Watches that freeze, break or expire.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::time::{Instant, sleep_until};
use tower::BoxError;

use super::plan::Effect;
use crate::refusal;
use crate::server::error_frame;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What a fault makes of the body of a watch.
pub(super) fn disturb(body: Body, effect: Effect) -> Body {
    match effect {
        Effect::Freeze { length } => freeze(body, Instant::now() + length),
        Effect::CloseAfter { events } => cut(body, events, None),
        Effect::ExpireAfter { events } => {
            let last = error_frame(&refusal::expired("too old resource version, by an injected fault"));
            cut(body, events, Some(last))
        }
        _ => body,
    }
}

/// Holds a body back until some time; what comes in the meantime waits.
fn freeze(body: Body, until: Instant) -> Body {
    let thaw = stream::once(async move {
        sleep_until(until).await;
        body.into_data_stream()
    });
    StreamBody::new(thaw.flatten().map(|data| data.map(Frame::data))).boxed_unsync()
}

/// Lets so many lines through, then one more of one's own, and ends.
fn cut(body: Body, lines: u64, last: Option<Bytes>) -> Body {
    let state = Cut { body, left: lines, last, buffer: BytesMut::new(), whole: VecDeque::new() };
    let frames = stream::unfold(state, |mut state| async move { state.next().await.map(|frame| (frame, state)) });
    StreamBody::new(frames).boxed_unsync()
}

struct Cut {
    body: Body,
    left: u64,
    last: Option<Bytes>,
    buffer: BytesMut,
    whole: VecDeque<Bytes>,
}

impl Cut {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        loop {
            if self.left == 0 {
                return self.last.take().map(|line| Ok(Frame::data(line)));
            }
            if let Some(line) = self.whole.pop_front() {
                self.left -= 1;
                return Some(Ok(Frame::data(line)));
            }
            match self.body.frame().await? {
                Ok(frame) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(error) => return Some(Err(error)),
            }
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                self.whole.push_back(self.buffer.split_to(end + 1).freeze());
            }
        }
    }
}
