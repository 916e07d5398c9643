//! How a unit that was given back is made like new.
//!
//! Its inventory writes that it is nobody's and that it is to be reset, with a number that grows each time. The Job is named
//! after that number, so that the end of an earlier one never counts for a later time. A unit that can't be made like new is
//! torn down as one that could not be made.

use jiff::Timestamp;
use korder_api::item::Output;
use korder_api::{Inventory, Item, Stock, StockStatus};

use super::failure::Failure;
use super::job::{self, Worker};
use super::output::{self, Outputs};
use super::production::{self, Observed, Plan, Step};
use super::run::{self, Run};
use super::status;
use crate::reasons;

/// The number of the last time that a unit was given back.
pub(super) fn number(stock: &Stock) -> i32 {
    stock.status.as_ref().and_then(|status| status.resets).unwrap_or(0)
}

/// Whether a unit of this item can be nobody's secret again: each sensitive output has to be given anew.
pub fn can_renew(item: &Item) -> bool {
    item.outputs.iter().all(|output| !output.is_sensitive() || output.from.result.is_some())
}

/// The status of a unit that was given back and is to be made like new: nobody holds it any more.
pub fn begun(stock: &Stock, now: Timestamp) -> StockStatus {
    status::resetting(stock, number(stock).saturating_add(1), now)
}

/// The status of a unit that can't be made like new.
pub(super) fn failed(stock: &Stock, failure: &Failure, now: Timestamp) -> StockStatus {
    let failure = Failure::new(reasons::RESET_FAILED, failure.message.as_str());
    status::failed(stock, production::objects(stock).to_vec(), &failure, now)
}

/// What comes next for a unit that is being made like new.
pub(super) fn plan(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let stock = seen.stock;
    let fail = |why: String| Plan::status(stock, failed(stock, &Failure::new(reasons::RESET_FAILED, why), now));
    // Without its inventory it goes.
    let Some(inventory) = seen.inventory else { return Plan::default() };
    let Some(reset) = &inventory.spec.reset else {
        return fail("its inventory has no `reset` any more".to_owned());
    };
    let name = job::reset_name(stock, number(stock));
    if let Some(old) = seen.old_job(Some(&name)) {
        return old;
    }
    match run::of(seen, &name, now) {
        Run::Missing => {
            production::create_job(seen, job::of(stock, name, reset, !stock.spec.item.outputs.is_empty()), now)
        }
        Run::Foreign => fail(production::job_exists(&name).message),
        Run::Running { trouble: Some(trouble), .. } => production::told(stock, &trouble, now),
        Run::Running { trouble: None, wake } => Plan { step: None, wake },
        Run::Succeeded(done) => restored(stock, inventory, done, now),
        Run::Completed(_) if stock.spec.item.outputs.is_empty() => back(stock, Outputs::default()),
        Run::Completed(completed) => match production::without_pod(completed, now) {
            Ok(wait) => wait,
            Err(failure) => Plan::status(stock, failed(stock, &failure, now)),
        },
        Run::Failed(why) => fail(why),
    }
}

/// The Job has done it: what its result has of the outputs is renewed.
fn restored(stock: &Stock, inventory: &Inventory, done: &Worker, now: Timestamp) -> Plan {
    let container = inventory.spec.reset.as_ref().map(job::output_container).unwrap_or_default();
    let (message, containers) = done.result(container);
    match output::renewed(message, containers, &stock.spec.item.outputs) {
        Ok(outputs) => back(stock, outputs),
        Err(failure) => Plan::status(stock, failed(stock, &failure, now)),
    }
}

/// Puts the unit back on the shelf, with what was renewed of its outputs and what was not.
fn back(stock: &Stock, renewed: Outputs) -> Plan {
    if !production::objects(stock).is_empty() {
        return Step::ReadObjects.into();
    }
    let was = |output: &&Output| !output.is_sensitive() && !renewed.plain.contains_key(&output.name);
    let before = stock.status.as_ref().map(|status| &status.outputs);
    let kept = stock.spec.item.outputs.iter().filter(was);
    let kept = kept.filter_map(|output| Some((output.name.clone(), before?.get(&output.name)?.clone())));
    let mut outputs = Outputs { plain: kept.collect(), sensitive: renewed.sensitive };
    outputs.plain.extend(renewed.plain);
    Step::Finish(outputs).into()
}

#[cfg(test)]
mod tests;
