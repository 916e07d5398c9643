//! The service that a [`kube::Client`] is made of.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::client::Body;
use tower::BoxError;

use crate::hash::Hash;
use crate::refusal::{Refusal, not_simulated};
use crate::server::{Arrived, Form, Reply, answer, describe, is_not_simulated};
use crate::shared::Shared;
use crate::stream::lines;

/// The body of a reply.
pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Answers one request of an actor, taking the time that it takes. What is dropped before it arrived never happens.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    actor: Arc<str>,
    request: Request<Body>,
) -> Result<Response<ReplyBody>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    let nth = shared.next_request(&actor);
    let options = shared.options();
    let latency = options.request_latency.pick(Hash::new(options.seed).text("request").text(&actor).number(nth));
    let way_there = latency / 2;
    tokio::time::sleep(way_there).await;
    let form = Form::parse(&parts.headers);
    let reply = shared.change(|state| {
        let arrived = Arrived { actor: actor.clone(), now: shared.clock().now(), parts: &parts, body: &body };
        let answer = match form {
            Some(_) => answer(&mut state.store, &arrived),
            None => Err(not_simulated("answers in any form but JSON of objects or their metadata")),
        };
        let asked = describe(&parts.method, &parts.uri);
        if let Err(refusal) = &answer {
            note_gap(&mut state.failures, &actor, &asked, refusal);
        }
        state.record(&actor, asked.as_bytes());
        state.record(&actor, &body);
        let reply = Reply::new(answer, form.unwrap_or(Form::Whole));
        if let Reply::Full { body, .. } = &reply {
            state.record(&actor, body);
        }
        reply
    });
    let response = respond(&shared, &actor, reply, form.unwrap_or(Form::Whole))?;
    tokio::time::sleep(latency.saturating_sub(way_there)).await;
    Ok(response)
}

fn note_gap(failures: &mut Vec<String>, actor: &str, asked: &str, refusal: &Refusal) {
    if is_not_simulated(refusal) {
        failures.push(format!("`{actor}` sent `{asked}`: {}", refusal.message));
    }
}

fn respond(shared: &Arc<Shared>, actor: &Arc<str>, reply: Reply, form: Form) -> Result<Response<ReplyBody>, BoxError> {
    let (code, content_type, body) = match reply {
        Reply::Full { code, content_type, body } => {
            (code, content_type, Full::new(body).map_err(Into::into).boxed_unsync())
        }
        Reply::Watch(opened, options) => {
            let lines = lines(shared.clone(), actor.clone(), *opened, &options, form);
            let frames = lines.map(|line| Ok::<_, BoxError>(Frame::data(line)));
            (200, "application/json", StreamBody::new(frames).boxed_unsync())
        }
    };
    let date = shared.clock().now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let response =
        Response::builder().status(code).header(header::CONTENT_TYPE, content_type).header(header::DATE, date);
    Ok(response.body(body)?)
}
