//! Operators: definitions, caches and controllers as one thing that runs.

use std::panic::AssertUnwindSafe;

use futures::future::{BoxFuture, try_join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tracing::info;

use crate::cache::Cache;
use crate::controller::Controller;
use crate::crd::Crd;
use crate::outcome::BoxError;
use crate::recorder::Recorder;
use crate::report::panic_message;
use crate::retriever::Object;
use crate::stop::Stop;

/// Initializes its definitions, then runs its caches and controllers until it is stopped or the first of
/// them fails, which stops all.
///
/// It is itself a [`Controller`], so that operators can be put together. Everything runs in the one
/// future of [`run`](Controller::run). When it stops, controllers finish what they have in hand before
/// caches and recorders end. It ends when its last controller has ended.
pub struct Operator {
    name: String,
    crds: Vec<Box<dyn Crd>>,
    services: Vec<Box<dyn Controller>>,
    controllers: Vec<Box<dyn Controller>>,
}

type Running = FuturesUnordered<BoxFuture<'static, Result<(), BoxError>>>;

impl Operator {
    /// An operator called `name` that does nothing yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), crds: Vec::new(), services: Vec::new(), controllers: Vec::new() }
    }

    /// Initializes `crd` before anything runs.
    #[must_use]
    pub fn crd(mut self, crd: impl Crd) -> Self {
        self.crds.push(Box::new(crd));
        self
    }

    /// Keeps `cache` up to date.
    #[must_use]
    pub fn cache<K: Object>(mut self, cache: &Cache<K>) -> Self {
        self.services.push(Box::new(cache.clone()));
        self
    }

    /// Sends what `recorder` publishes.
    #[must_use]
    pub fn recorder(mut self, recorder: &Recorder) -> Self {
        self.services.extend(recorder.controller());
        self
    }

    /// Runs `controller`.
    #[must_use]
    pub fn controller(mut self, controller: Box<dyn Controller>) -> Self {
        self.controllers.push(controller);
        self
    }

    /// Runs until `signal` comes, then stops in order: what most programs do.
    ///
    /// ```no_run
    /// # async fn with(operator: kooper::Operator) -> Result<(), kooper::BoxError> {
    /// operator.run_until(tokio::signal::ctrl_c()).await
    /// # }
    /// ```
    pub async fn run_until(self, signal: impl Future) -> Result<(), BoxError> {
        let (stopper, stop) = Stop::pair();
        let mut run = Box::new(self).run(stop);
        tokio::select! {
            biased;
            ended = &mut run => return ended,
            _ = signal => stopper.stop(),
        }
        run.await
    }

    /// Initializes all definitions, at the same time.
    ///
    /// [`run`](Controller::run) does so itself; this is for whoever wants nothing but that.
    pub async fn initialize(&self) -> Result<(), BoxError> {
        initialize(&self.crds).await
    }
}

impl Controller for Operator {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(self: Box<Self>, stop: Stop) -> BoxFuture<'static, Result<(), BoxError>> {
        let Self { name, crds, services, controllers } = *self;
        async move {
            tokio::select! {
                biased;
                () = stop.stopped() => return Ok(()),
                initialized = initialize(&crds) => initialized?,
            }
            info!(operator = name, "the operator runs");
            run_all(services, controllers, stop).await
        }
        .boxed()
    }
}

async fn initialize(crds: &[Box<dyn Crd>]) -> Result<(), BoxError> {
    try_join_all(crds.iter().map(|crd| crd.initialize())).await?;
    Ok(())
}

async fn run_all(
    services: Vec<Box<dyn Controller>>,
    controllers: Vec<Box<dyn Controller>>,
    stop: Stop,
) -> Result<(), BoxError> {
    let (stop_services, services_stop) = Stop::pair();
    let (stop_controllers, controllers_stop) = Stop::pair();
    let mut services = start(services, &services_stop);
    let mut controllers = start(controllers, &controllers_stop);
    let mut result = Ok(());
    while !controllers.is_empty() {
        let ended = tokio::select! {
            biased;
            () = stop.stopped(), if !controllers_stop.is_stopped() => {
                stop_controllers.stop();
                continue;
            }
            Some(ended) = controllers.next() => ended,
            Some(ended) = services.next() => ended,
        };
        if ended.is_err() {
            stop_controllers.stop();
        }
        result = result.and(ended);
    }
    stop_services.stop();
    while let Some(ended) = services.next().await {
        result = result.and(ended);
    }
    result
}

fn start(all: Vec<Box<dyn Controller>>, stop: &Stop) -> Running {
    all.into_iter().map(|one| contained(one, stop.clone()).boxed()).collect()
}

/// A panic in one is a failure of the operator, so that the others are stopped in order.
async fn contained(controller: Box<dyn Controller>, stop: Stop) -> Result<(), BoxError> {
    let name = controller.name().to_owned();
    let run = async move { controller.run(stop).await };
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let message = panic_message(panic.as_ref());
            Err(format!("`{name}` panicked: {message}").into())
        }
    }
}

#[cfg(test)]
mod tests;
