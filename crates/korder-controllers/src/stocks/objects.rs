//! The objects of a unit, made, looked at and removed as its service account.
//!
//! They are of any kind, and are not watched: while a unit is made or torn down they are read again and again.

use std::time::Duration;

use jiff::Timestamp;
use kooper::{Context, Failure, Outcome};
use korder_api::Stock;
use korder_api::stock::StockObject;
use korder_core::stock::manifests::{self, Live, Progress};
use korder_core::stock::output::Outputs;
use korder_core::stock::{self, Failure as Unmade, drift, production};
use serde_json::{Map, Value};
use tracing::warn;

use super::account::{Account, Trouble};
use super::act::write_status;
use super::{Stocks, secret};
use crate::write;

/// How soon after its deletion it is looked whether an object is gone.
const GONE_POLL: Duration = Duration::from_millis(500);
/// How soon the objects of a unit that was made like new are looked at again until they are ready.
const RESET_POLL: Duration = Duration::from_secs(5);
/// How soon it is tried again to remove an object that can't be removed.
const STUCK_RETRY: Duration = Duration::from_secs(30);

/// Makes what is missing of a unit's objects, and looks how far they are.
pub(super) async fn make(stocks: &Stocks, cx: &Context, stock: &Stock) -> Result<Option<Outcome>, Failure> {
    let mut random = |length| stocks.random.text(length);
    let rendered = match manifests::rendered(stock, &mut random) {
        Ok(rendered) => rendered,
        Err(unmade) => {
            write_status(stocks, cx, stock, production::failed(stock, &unmade, cx.now())).await?;
            return Ok(None);
        }
    };
    if production::objects(stock).is_empty() {
        write_status(stocks, cx, stock, manifests::begun(stock, &rendered, cx.now())).await?;
        return Ok(None);
    }
    let account = Account::of(&stocks.client, &stocks.kinds, stock);
    let unread = |object: &StockObject| Live { object: object.clone(), value: None };
    let mut objects: Vec<Live> = production::objects(stock).iter().map(unread).collect();
    let status = match progress(&account, stock, &rendered, &mut objects).await? {
        Ok(Progress::Waiting(what)) => {
            write_status(stocks, cx, stock, manifests::waiting(stock, &objects, &what, cx.now())).await?;
            return Ok(Some(Outcome::After(manifests::look_again(stock, cx.now()))));
        }
        Ok(Progress::Ready(outputs)) => finished(stocks, stock, &objects, &outputs, cx.now()).await?,
        Err(unmade) => manifests::failed(stock, &objects, &unmade, cx.now()),
    };
    write_status(stocks, cx, stock, status).await?;
    Ok(None)
}

async fn finished(
    stocks: &Stocks,
    stock: &Stock,
    objects: &[Live],
    outputs: &Outputs,
    now: Timestamp,
) -> Result<korder_api::StockStatus, Failure> {
    Ok(match secret::keep(stocks, stock, &outputs.sensitive).await? {
        Ok(secret) => manifests::ready(stock, objects, outputs, secret, now),
        Err(unmade) => manifests::failed(stock, objects, &unmade, now),
    })
}

/// Looks how the objects are of a unit that was made like new, and puts it on the shelf when they are ready.
pub(super) async fn read(stocks: &Stocks, cx: &Context, stock: &Stock) -> Result<Option<Outcome>, Failure> {
    let account = Account::of(&stocks.client, &stocks.kinds, stock);
    let mut objects = Vec::new();
    for object in production::objects(stock) {
        match account.get(object).await {
            Ok(value) => {
                objects.push(Live { object: object.clone(), value: value.filter(|value| is_it(object, value)) });
            }
            Err(trouble) => {
                let unmade = trouble.lasting(object)?;
                write_status(stocks, cx, stock, production::failed(stock, &unmade, cx.now())).await?;
                return Ok(None);
            }
        }
    }
    let status = match look(&account, stock, &objects).await? {
        Ok(Progress::Waiting(what)) => {
            write_status(stocks, cx, stock, manifests::waiting(stock, &objects, &what, cx.now())).await?;
            return Ok(Some(Outcome::After(RESET_POLL)));
        }
        Ok(Progress::Ready(outputs)) => finished(stocks, stock, &objects, &outputs, cx.now()).await?,
        Err(unmade) => manifests::failed(stock, &objects, &unmade, cx.now()),
    };
    write_status(stocks, cx, stock, status).await?;
    Ok(None)
}

/// Looks whether the objects of a unit on the shelf are as they were, and tells if they are not.
pub(super) async fn look_for_drift(stocks: &Stocks, cx: &Context, stock: &Stock) -> Result<(), Failure> {
    let account = Account::of(&stocks.client, &stocks.kinds, stock);
    let mut objects = Vec::new();
    for object in production::objects(stock) {
        let value = match account.get(object).await {
            Ok(value) => value,
            Err(Trouble::Passing(error)) => return Err(write::failure(error)),
            // What can't be read tells nothing of the unit; nor does a version of its kind that is not served any more.
            Err(trouble) => {
                let why = trouble.lasting(object)?.message;
                warn!(stock = stock::name(stock), object = object.name, "it can't be looked at: {why}");
                continue;
            }
        };
        objects.push(Live { object: object.clone(), value });
    }
    stocks.looked(stock, cx.now());
    match drift::seen(stock, &objects, cx.now()) {
        Some(status) => write_status(stocks, cx, stock, status).await,
        None => Ok(()),
    }
}

/// Whether this is the very object that was made for the unit.
fn is_it(object: &StockObject, value: &Value) -> bool {
    value["metadata"]["uid"].as_str() == object.uid.as_deref()
}

/// Makes what is missing, in its order, and reads the rest.
async fn progress(
    account: &Account<'_>,
    stock: &Stock,
    rendered: &[Map<String, Value>],
    objects: &mut [Live],
) -> Result<Result<Progress, Unmade>, Failure> {
    for (live, body) in objects.iter_mut().zip(rendered) {
        match there(account, stock, &live.object, body).await {
            Ok(value) => live.value = value,
            Err(trouble) => return Ok(Err(trouble.lasting(&live.object)?)),
        }
    }
    look(account, stock, objects).await
}

/// How far a unit is whose objects are these.
async fn look(account: &Account<'_>, stock: &Stock, objects: &[Live]) -> Result<Result<Progress, Unmade>, Failure> {
    let own: Vec<StockObject> = objects.iter().map(|live| live.object.clone()).collect();
    let others = match manifests::others(stock, &own) {
        Ok(others) => others,
        Err(unmade) => return Ok(Err(unmade)),
    };
    let mut beside = Vec::with_capacity(others.len());
    for object in others {
        match account.get(&object).await {
            Ok(value) => beside.push(Live { object, value }),
            Err(trouble) => return Ok(Err(trouble.lasting(&object)?)),
        }
    }
    Ok(manifests::progress(stock, objects, &beside))
}

/// An object of a unit: made if it was not yet, else read; None if it was made and is gone.
async fn there(
    account: &Account<'_>,
    stock: &Stock,
    object: &StockObject,
    body: &Map<String, Value>,
) -> Result<Option<Value>, Trouble> {
    if object.uid.is_some() {
        let read = account.get(object).await?;
        return Ok(read.filter(|value| is_it(object, value)));
    }
    match account.create(object, body).await {
        // Made by a request whose reply was lost, or somebody else's.
        Err(Trouble::Exists) => {
            let read = account.get(object).await?;
            if read.as_ref().is_some_and(|value| !manifests::is_of(value, stock)) {
                Err(Trouble::Exists)
            } else {
                Ok(read)
            }
        }
        made => made.map(Some),
    }
}

/// Removes a unit's objects, the last one first, each when the one after it is gone.
pub(super) async fn remove(stocks: &Stocks, cx: &Context, stock: &Stock) -> Result<Option<Outcome>, Failure> {
    let account = Account::of(&stocks.client, &stocks.kinds, stock);
    for object in production::objects(stock).iter().rev() {
        match removed(&account, stock, object).await {
            Ok(true) => {}
            Ok(false) => return Ok(Some(Outcome::After(GONE_POLL))),
            // The API server is in trouble, not the object.
            Err(Trouble::Passing(error)) => return Err(write::failure(error)),
            Err(trouble) => {
                let unmade = trouble.lasting(object)?;
                warn!(stock = stock::name(stock), object = object.name, "{}", unmade.message);
                write_status(stocks, cx, stock, production::stuck(stock, &unmade.message, cx.now())).await?;
                return Ok(Some(Outcome::After(STUCK_RETRY)));
            }
        }
    }
    match production::gone(stock, cx.now()).step {
        Some(step) => Box::pin(super::act::step(stocks, cx, stock, &[], step)).await,
        None => Ok(None),
    }
}

/// Whether an object is gone; if not, it is deleted.
async fn removed(account: &Account<'_>, stock: &Stock, object: &StockObject) -> Result<bool, Trouble> {
    let there = match account.get(object).await {
        // It was never seen, and can't be read: it was refused when it was to be made, or would have been. One that was
        // seen may still be there in another version of its kind, and what it stands for with it.
        Err(Trouble::NotServed | Trouble::Lasting(_)) if object.uid.is_none() => None,
        read => read?,
    };
    let Some(value) = there else { return Ok(true) };
    let uid = value["metadata"]["uid"].as_str().unwrap_or_default();
    let is_ours = object.uid.as_deref().map_or_else(|| manifests::is_of(&value, stock), |known| known == uid);
    if !is_ours {
        return Ok(true);
    }
    if value["metadata"]["deletionTimestamp"].is_null() {
        account.delete(object, uid).await?;
    }
    Ok(false)
}
