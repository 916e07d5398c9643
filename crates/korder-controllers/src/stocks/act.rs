//! The writes for a unit, one at a time.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kooper::{Context, Failure, Key, Outcome};
use korder_api::names::{FINALIZER_OUTPUT, FINALIZER_TEARDOWN};
use korder_api::{Stock, StockPhase, StockStatus};
use korder_core::conditions::{READY, TORN_DOWN};
use korder_core::reasons;
use korder_core::stock::job::{Job, NewJob, Worker};
use korder_core::stock::output::Outputs;
use korder_core::stock::production::{self, Step};
use korder_core::stock::{Failure as Unmade, probe};
use kube::api::PostParams;
use kube::core::Request;
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};

use super::{Stocks, objects, secret};
use crate::inventories::inventory_of;
use crate::news;
use crate::write::{self, Part};

/// Makes one step. `None`: look again for the next one at once.
pub(super) async fn step(
    stocks: &Stocks,
    cx: &Context,
    stock: &Stock,
    jobs: &[Arc<Job>],
    step: Step,
) -> Result<Option<Outcome>, Failure> {
    match step {
        Step::CreateJob(body) => create_job(stocks, cx, stock, &body).await?,
        Step::DeleteJob(uid) => {
            if let Some(job) = jobs.iter().find(|job| job.metadata.uid.as_ref() == Some(&uid)) {
                write::delete(&stocks.client, &stocks.caches.jobs, job.as_ref(), false)
                    .await
                    .map_err(write::failure)?;
            }
        }
        Step::Finish(outputs) => finish(stocks, cx, stock, &outputs).await?,
        Step::MakeObjects => return objects::make(stocks, cx, stock).await,
        Step::LookForDrift => objects::look_for_drift(stocks, cx, stock).await?,
        Step::ReadObjects => return objects::read(stocks, cx, stock).await,
        Step::RemoveObjects => return objects::remove(stocks, cx, stock).await,
        Step::WriteStatus(status) => write_status(stocks, cx, stock, *status).await?,
        Step::LetGo(left) => let_go(stocks, cx, stock, left).await?,
    }
    Ok(None)
}

async fn create_job(stocks: &Stocks, cx: &Context, stock: &Stock, body: &NewJob) -> Result<(), Failure> {
    match create(stocks, stock, body).await? {
        Ok(job) => {
            stocks.caches.jobs.wrote(job);
            Ok(())
        }
        Err(unmade) => write_status(stocks, cx, stock, production::failed(stock, &unmade, cx.now())).await,
    }
}

/// Makes the Job; one that is there and is of this unit was made by a request whose reply was lost.
async fn create(stocks: &Stocks, stock: &Stock, body: &NewJob) -> Result<Result<Job, Unmade>, Failure> {
    let namespace = stock.metadata.namespace.as_deref().unwrap_or_default();
    let bytes = serde_json::to_vec(body)?;
    let request = Request::new(NewJob::url_path(&(), Some(namespace))).create(&PostParams::default(), bytes)?;
    match stocks.client.request::<Job>(request).await {
        Ok(made) => Ok(Ok(made)),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = write::api::<Job>(&stocks.client, namespace).get(body.name()).await.map_err(write::failure)?;
            // Another one is kept out of the cache, which sees only what is labelled.
            Ok(if there.is_of(stock) { Ok(there) } else { Err(production::job_exists(body.name())) })
        }
        Err(kube::Error::Api(status)) if write::is_refused(&status) => {
            Ok(Err(Unmade::new(reasons::REFUSED, format!("the job: {}", status.message))))
        }
        Err(error) => Err(write::failure(error)),
    }
}

/// Puts the outputs where they belong, and the unit on the shelf.
async fn finish(stocks: &Stocks, cx: &Context, stock: &Stock, outputs: &Outputs) -> Result<(), Failure> {
    let renewed = secret::renewed(stocks, stock, &outputs.sensitive).await?;
    let kept = match renewed {
        Ok(()) => secret::keep(stocks, stock, &outputs.sensitive).await?,
        Err(unmade) => Err(unmade),
    };
    let status = match kept {
        Ok(secret) => production::ready(stock, outputs, secret, cx.now()),
        Err(unmade) => production::failed(stock, &unmade, cx.now()),
    };
    write_status(stocks, cx, stock, status).await
}

/// Writes the status, if it is another one.
pub(super) async fn write_status(
    stocks: &Stocks,
    cx: &Context,
    stock: &Stock,
    mut status: StockStatus,
) -> Result<(), Failure> {
    let (was, is) = (stock.status.as_ref().and_then(|before| before.phase).unwrap_or_default(), status.phase);
    let comes = |phase: StockPhase| was != phase && is == Some(phase);
    if comes(StockPhase::Ready) {
        status.expiration_time = status.ready_time.as_ref().and_then(|since| expiration(stocks, stock, since.0));
    }
    if stock.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let (made, failed) = (comes(StockPhase::Ready), comes(StockPhase::Failed));
    let written = Stock { status: Some(status), ..stock.clone() };
    write::status(&stocks.client, &stocks.caches.stocks, &written).await.map_err(write::failure)?;
    if was == StockPhase::Resetting {
        if made || failed {
            stocks.metrics.reset_is_over(if made { "ready" } else { "failed" });
        }
        let why = written.status.iter().flat_map(|status| &status.conditions).find(|one| one.type_ == READY);
        if let Some(why) = why.filter(|_| failed) {
            news::tell(&cx.recorder, stock, "Reset", &why.reason, &why.message);
        }
    } else if made || failed {
        let took = stock.metadata.creation_timestamp.as_ref().map(|since| cx.now().duration_since(since.0));
        stocks.metrics.production_is_over(if made { "ready" } else { "failed" }, took.unwrap_or_default());
    }
    let verdict = |stock: &Stock| {
        let status = stock.status.as_ref()?;
        status.probe_failure_time.as_ref().max(status.probe_time.as_ref()).map(|time| (time.0, probe::failures(stock)))
    };
    if let Some((_, failures)) = verdict(&written).filter(|now| verdict(stock).as_ref() != Some(now)) {
        stocks.metrics.probe_is_over(if failures > 0 { "failed" } else { "good" });
    }
    // One that is made, or fails, is its inventory's news: there may be many.
    if let Some(why) = stuck(&written).filter(|why| stuck(stock) != Some(why)) {
        news::tell(&cx.recorder, stock, "TearDown", reasons::TEAR_DOWN_STUCK, why);
    }
    Ok(())
}

/// When a unit that came on the shelf then is too old to be given out.
fn expiration(stocks: &Stocks, stock: &Stock, since: Timestamp) -> Option<Time> {
    let inventory = stocks.caches.inventories.get(&inventory_of(stock))?;
    since.checked_add(inventory.spec.max_age.as_ref()?.get()).ok().map(Time)
}

/// Why a unit can't be torn down, as its status tells.
fn stuck(stock: &Stock) -> Option<&str> {
    let conditions = &stock.status.as_ref()?.conditions;
    let torn_down = conditions.iter().find(|one| one.type_ == TORN_DOWN && one.status == "False");
    torn_down.map(|one| one.message.as_str())
}

/// Takes the finalizer off, so that the unit goes.
async fn let_go(stocks: &Stocks, cx: &Context, stock: &Stock, left: Option<String>) -> Result<(), Failure> {
    let Some(operation) = without_finalizer(stock.finalizers(), FINALIZER_TEARDOWN) else { return Ok(()) };
    if let Some(left) = left {
        let note = format!("it goes without being torn down; what may be left of it: {left}");
        news::tell(&cx.recorder, stock, "TearDown", reasons::ABANDONED, &note);
    }
    let patched = write::patch(&stocks.client, &stocks.caches.stocks, stock, Part::Main, operation).await;
    patched.map_err(write::failure)?;
    if stock.finalizers().len() == 1 {
        stocks.caches.stocks.deleted(&Key::of(stock), stock.metadata.uid.as_deref().unwrap_or_default());
    }
    Ok(())
}

/// Lets a pod go whose output is of no use any more.
pub(super) async fn release(stocks: &Stocks, worker: &Worker) -> Result<(), Failure> {
    let Some(operation) = without_finalizer(worker.finalizers(), FINALIZER_OUTPUT) else { return Ok(()) };
    let patched = write::patch(&stocks.client, &stocks.caches.workers, worker, Part::Main, operation).await;
    patched.map_err(write::failure)
}

/// The operation that takes a finalizer off the version of an object that was looked at.
fn without_finalizer(finalizers: &[String], finalizer: &str) -> Option<Value> {
    let index = finalizers.iter().position(|there| there == finalizer)?;
    Some(json!([{"op": "remove", "path": format!("/metadata/finalizers/{index}")}]))
}
