//! Leader election: of several processes one acts.
//!
//! The crates for it (`kube-leader-election`, `kube-coordinate`, `kubert`) judge by the clocks of others, spawn tasks, or
//! both; what is here replays in a simulation, and counts on nobody's clock.

mod rule;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{info, warn};

use self::rule::{Candidate, RENEW_DEADLINE, Step};
use crate::clock::{Clock, SystemClock};
use crate::controller::Controller;
use crate::key::Key;
use crate::outcome::BoxError;
use crate::stop::Stop;

/// How often a leader renews its Lease.
const RENEW_PERIOD: Duration = Duration::from_secs(2);
/// How often a candidate looks whether the Lease is free: so long a hand-over takes at most.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Bound of one look or renewal.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a [`Controller`], such as a whole [`Operator`](crate::Operator), while this process holds a Lease.
///
/// - **One at a time.** A leader that could not renew its Lease for 10 seconds does nothing more, however it came to that:
///   the controller is not polled again, also when the process was paused. Others take the Lease 15 seconds after they
///   have last seen it change. What a leader had sent before may still arrive, and the sleep of a whole machine counts on
///   no clock of it: writes must say what they must find.
/// - **Bounded takeover.** After a crash within 16 seconds; after an orderly stop, which gives the Lease back once all
///   work has ended, within about one.
/// - **It ends.** A controller whose Lease is lost is an error: the process is to end and begin as a candidate.
///
/// The controller is started when the Lease is there, so that it begins with what its predecessor has left.
pub struct Elected {
    member: Member,
    controller: Box<dyn Controller>,
}

/// Tells whether this process leads. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// Whether it leads now.
    pub fn is_held(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }
}

impl Elected {
    /// Runs `controller` while it holds the Lease `lease` as `identity`, which no other process may ever have.
    pub fn new(client: &Client, lease: &Key, identity: impl Into<String>, controller: Box<dyn Controller>) -> Self {
        let identity = identity.into();
        let member = Member {
            leases: Api::namespaced(client.clone(), lease.namespace.as_deref().unwrap_or("default")),
            name: lease.name.clone(),
            candidate: Candidate::new(identity),
            clock: Arc::new(SystemClock),
            written: None,
            until: watch::Sender::new(None),
        };
        Self { member, controller }
    }

    /// The clock of the times that stand in the Lease for people (the operating system's).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.member.clock = clock;
        self
    }

    /// Whether this process leads.
    pub fn leadership(&self) -> Leadership {
        Leadership(self.member.until.subscribe())
    }
}

impl Controller for Elected {
    fn name(&self) -> &str {
        self.controller.name()
    }

    fn run(self: Box<Self>, stop: Stop) -> BoxFuture<'static, Result<(), BoxError>> {
        let Self { mut member, controller } = *self;
        async move {
            let elected = tokio::select! {
                biased;
                () = stop.stopped() => false,
                () = member.elected() => true,
            };
            let term = if elected { lead(&mut member, controller, stop).await } else { Term::Over(Ok(())) };
            member.until.send_replace(None);
            match term {
                Term::Over(ended) => {
                    member.release().await;
                    ended
                }
                // What it had sent may still be on its way: nobody is to begin before the Lease has run out.
                Term::Lost(reason) => Err(reason),
            }
        }
        .boxed()
    }
}

/// How a leadership ended.
enum Term {
    /// The controller has ended, all its work done.
    Over(Result<(), BoxError>),
    /// The Lease is lost, and the controller was dropped.
    Lost(BoxError),
}

/// Runs the controller until it has ended, or the Lease is lost.
async fn lead(member: &mut Member, controller: Box<dyn Controller>, stop: Stop) -> Term {
    let (stopper, controller_stop) = Stop::pair();
    let stopping = controller_stop.clone();
    let mut until = Leadership(member.until.subscribe());
    let mut running = while_held(&mut until, controller.run(controller_stop)).boxed();
    let mut keeping = member.keep().boxed();
    loop {
        tokio::select! {
            biased;
            lost = &mut keeping => return Term::Lost(lost),
            () = stop.stopped(), if !stopping.is_stopped() => stopper.stop(),
            Some(ended) = &mut running => return Term::Over(ended),
        }
    }
}

/// Polls the controller while the Lease is held and never again after: a process that was paused for long finds its
/// time over before it does anything. Ends without a result then.
async fn while_held(
    leadership: &mut Leadership,
    mut running: BoxFuture<'static, Result<(), BoxError>>,
) -> Option<Result<(), BoxError>> {
    poll_fn(
        |context| {
            if leadership.is_held() { Pin::new(&mut running).poll(context).map(Some) } else { Poll::Ready(None) }
        },
    )
    .await
}

/// One process in the election.
struct Member {
    leases: Api<Lease>,
    name: String,
    candidate: Candidate,
    clock: Arc<dyn Clock>,
    /// The Lease as it was last written here, with the version that the next write replaces.
    written: Option<Lease>,
    /// Until when this process leads, if it does.
    until: watch::Sender<Option<Instant>>,
}

/// How an attempt to take or renew the Lease ended.
enum Standing {
    Leads,
    Waits {
        holder: String,
    },
    /// Somebody else was faster.
    Unknown,
}

impl Member {
    /// Waits until this process leads. It has no deadline: that is what it waits for.
    async fn elected(&mut self) {
        let mut told = None;
        loop {
            match timeout(REQUEST_TIMEOUT, self.attempt()).await {
                Ok(Ok(Standing::Leads)) => {
                    info!(lease = self.name, "this process leads");
                    return;
                }
                Ok(Ok(Standing::Waits { holder })) => {
                    if told.as_ref() != Some(&holder) {
                        info!(lease = self.name, holder, "another leads; this process waits");
                    }
                    told = Some(holder);
                }
                Ok(Ok(Standing::Unknown)) => {}
                Ok(Err(error)) => warn!(lease = self.name, %error, "cannot look who leads"),
                Err(_) => warn!(lease = self.name, "cannot look who leads: no answer"),
            }
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Renews the Lease until that is no longer possible; why.
    async fn keep(&mut self) -> BoxError {
        let mut trouble = "it was not tried in time".to_owned();
        loop {
            let Some(until) = *self.until.borrow() else { return "it was given back".into() };
            sleep_until(until.min(Instant::now() + RENEW_PERIOD)).await;
            if Instant::now() >= until {
                let name = &self.name;
                return format!("the Lease `{name}` was not renewed for {RENEW_DEADLINE:?}: {trouble}").into();
            }
            match timeout_at(until.min(Instant::now() + REQUEST_TIMEOUT), self.attempt()).await {
                Ok(Ok(Standing::Leads)) => {}
                Ok(Ok(Standing::Waits { holder })) => {
                    return format!("the Lease `{}` was taken by `{holder}`", self.name).into();
                }
                Ok(Ok(Standing::Unknown)) => "somebody else writes it".clone_into(&mut trouble),
                Ok(Err(error)) => {
                    warn!(lease = self.name, %error, "cannot renew the Lease");
                    trouble = error.to_string();
                }
                Err(_) => {
                    warn!(lease = self.name, "cannot renew the Lease: no answer");
                    "no answer".clone_into(&mut trouble);
                }
            }
        }
    }

    /// Looks at the Lease, and takes or renews it where that is right.
    ///
    /// Dropped halfway, or with its reply lost, it leaves at most a Lease in this process's name: the next one finds it.
    async fn attempt(&mut self) -> kube::Result<Standing> {
        let lease = match self.written.take() {
            Some(lease) => Some(lease),
            None => self.leases.get_opt(&self.name).await?,
        };
        let now = Instant::now();
        let spec = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        match self.candidate.step(spec.as_ref(), now, self.clock.now()) {
            Step::Wait { holder } => Ok(Standing::Waits { holder }),
            Step::Write(spec) => match self.write(lease, spec).await {
                Ok(written) => {
                    self.written = Some(written);
                    // From before the write: nobody can have seen it earlier.
                    self.until.send_replace(Some(now + RENEW_DEADLINE));
                    Ok(Standing::Leads)
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Standing::Unknown),
                Err(error) => Err(error),
            },
        }
    }

    /// Writes the Lease if it is still the one that was looked at.
    async fn write(&self, lease: Option<Lease>, spec: LeaseSpec) -> kube::Result<Lease> {
        if let Some(lease) = lease {
            let lease = Lease { spec: Some(spec), ..lease };
            self.leases.replace(&lease.name_any(), &PostParams::default(), &lease).await
        } else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            self.leases.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
        }
    }

    /// Gives the Lease back if it is this process's, also where it does not know that it is: so that another need not wait.
    async fn release(&self) {
        let release = async {
            let Some(lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
            let Some(free) = lease.spec.as_ref().and_then(|spec| self.candidate.released(spec)) else { return Ok(()) };
            self.write(Some(lease), free).await.map(drop)
        };
        match timeout(REQUEST_TIMEOUT, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(lease = self.name, %error, "cannot give the Lease back"),
            Err(_) => warn!(lease = self.name, "cannot give the Lease back: no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_has_lost_its_lease_is_not_polled_again() {
        let (until, held) = watch::channel(Some(Instant::now() + RENEW_DEADLINE));
        let polled = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counter = Arc::clone(&polled);
        let counting = poll_fn(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Poll::<Result<(), BoxError>>::Pending
        });
        let mut leadership = Leadership(held);
        let mut running = while_held(&mut leadership, counting.boxed()).boxed();
        assert!((&mut running).now_or_never().is_none());
        tokio::time::advance(RENEW_DEADLINE).await;
        assert!(running.now_or_never().is_some_and(|ended| ended.is_none()), "it goes on");
        assert_eq!(polled.load(std::sync::atomic::Ordering::Relaxed), 1);
        until.send_replace(None);
    }
}
