//! The layer that does what a plan says.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::body::disturb;
use super::plan::{Effect, FaultPlan, When};
use crate::hash::Hash;
use crate::refusal::{self, Refusal};
use crate::request::RequestInfo;

/// A [`tower::Layer`] that puts the faults of a plan between a client and its API server.
///
/// One layer is one client: all services made of it count together, and crash together.
#[derive(Clone, Debug)]
pub struct FaultLayer {
    faults: Faults,
}

/// What a [`FaultLayer`] did so far.
#[derive(Clone, Debug)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    plan: FaultPlan,
    started: Instant,
    counts: Mutex<Counts>,
    crashed: AtomicBool,
    crash: Notify,
}

#[derive(Debug)]
struct Counts {
    requests: u64,
    writes: u64,
    /// For each fault of the plan, how many requests it was about, and how many it struck.
    faults: Vec<(u64, u64)>,
}

impl FaultLayer {
    /// A layer for one client, and the handle that tells what it did. Counting starts at zero.
    pub fn new(plan: FaultPlan) -> (Self, Faults) {
        let counts = Counts { requests: 0, writes: 0, faults: vec![(0, 0); plan.faults.len()] };
        let shared = Shared {
            plan,
            started: Instant::now(),
            counts: Mutex::new(counts),
            crashed: AtomicBool::new(false),
            crash: Notify::new(),
        };
        let faults = Faults { shared: Arc::new(shared) };
        (Self { faults: faults.clone() }, faults)
    }
}

impl<S> tower::Layer<S> for FaultLayer {
    type Service = FaultService<S>;

    fn layer(&self, inner: S) -> FaultService<S> {
        FaultService { inner, faults: self.faults.clone() }
    }
}

impl Faults {
    /// Waits until the client has crashed; for ever, if it never does. Then drop everything that uses the client.
    pub async fn crashed(&self) {
        let mut crash = std::pin::pin!(self.shared.crash.notified());
        // From here on no crash is missed.
        crash.as_mut().enable();
        if !self.has_crashed() {
            crash.await;
        }
    }

    /// Whether the client has crashed.
    pub fn has_crashed(&self) -> bool {
        self.shared.crashed.load(Ordering::SeqCst)
    }

    /// How many writes the client has sent, those that failed included: the points at which it could crash.
    pub fn writes(&self) -> u64 {
        self.counts().writes
    }

    /// How often the plan's fault of this index struck.
    pub fn struck(&self, fault: usize) -> u64 {
        self.counts().faults.get(fault).map_or(0, |(_, struck)| *struck)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to a request.
    fn next(&self, request: &Request<Body>) -> Option<Effect> {
        let info = RequestInfo::parse(request.method(), request.uri());
        let plan = &self.shared.plan;
        let elapsed = self.shared.started.elapsed();
        let mut counts = self.counts();
        counts.requests += 1;
        let nth_request = counts.requests;
        let info = info?;
        counts.writes += u64::from(info.verb.is_write());
        let mut effect = None;
        for (index, (fault, (about, struck))) in plan.faults.iter().zip(&mut counts.faults).enumerate() {
            if !fault.on.contains(&info) {
                continue;
            }
            *about += 1;
            let hash = || Hash::new(plan.seed).number(index as u64).number(nth_request);
            if effect.is_none() && strikes(fault.when, *about, elapsed, hash) {
                *struck += 1;
                effect = Some(fault.effect);
            }
        }
        effect
    }

    /// Nothing ever comes of this or any later request.
    async fn crash<T>(&self) -> T {
        self.shared.crashed.store(true, Ordering::SeqCst);
        self.shared.crash.notify_waiters();
        std::future::pending().await
    }
}

fn strikes(when: When, nth: u64, elapsed: Duration, hash: impl FnOnce() -> Hash) -> bool {
    match when {
        When::Always => true,
        When::Nth(wanted) => nth == wanted,
        When::Share { per_mille } => hash().between(0, 999) < u64::from(per_mille),
        When::Between { from, until } => (from..until).contains(&elapsed),
    }
}

/// The service that [`FaultLayer`] makes of another.
#[derive(Clone, Debug)]
pub struct FaultService<S> {
    inner: S,
    faults: Faults,
}

/// The body of a disturbed reply.
type ReplyBody = UnsyncBoxBody<Bytes, BoxError>;

impl<S, B> Service<Request<Body>> for FaultService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ReplyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let faults = self.faults.clone();
        if faults.has_crashed() {
            return Box::pin(std::future::pending());
        }
        let effect = faults.next(&request);
        if let Some(answer) = effect.and_then(instead) {
            return Box::pin(async move { refuse(&answer) });
        }
        if effect == Some(Effect::CrashBefore) {
            return Box::pin(async move { faults.crash().await });
        }
        let reply = self.inner.call(request);
        Box::pin(async move {
            let reply = reply.await.map_err(Into::into);
            if faults.has_crashed() {
                return std::future::pending().await;
            }
            let reply = reply?;
            match effect {
                Some(Effect::CrashAfter) => faults.crash().await,
                Some(Effect::LoseReply) => Err("the connection broke before the reply came".into()),
                Some(effect) => Ok(reply.map(|body| disturb(body.map_err(Into::into).boxed_unsync(), effect))),
                None => Ok(reply.map(|body| body.map_err(Into::into).boxed_unsync())),
            }
        })
    }
}

/// What a client is told instead of the API server's answer.
fn instead(effect: Effect) -> Option<Refusal> {
    let seconds = |wait: Duration| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
    match effect {
        Effect::Conflict => Some(refusal::injected_conflict()),
        Effect::TooManyRequests { retry_after } => Some(refusal::too_many_requests(seconds(retry_after))),
        Effect::Unavailable { retry_after } => Some(refusal::unavailable(seconds(retry_after))),
        Effect::Expired => Some(refusal::expired("too old resource version, by an injected fault")),
        _ => None,
    }
}

fn refuse(refusal: &Refusal) -> Result<Response<ReplyBody>, BoxError> {
    let mut response = Response::builder().status(refusal.code).header(header::CONTENT_TYPE, "application/json");
    let wait = refusal.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if wait > 0 {
        response = response.header(header::RETRY_AFTER, wait);
    }
    let body = Full::new(Bytes::from(refusal::body(refusal)));
    Ok(response.body(body.map_err(Into::into).boxed_unsync())?)
}
