//! Makes each unit of stock, makes it like new when it was given back, checks it on the shelf, and tears it down. It never looks at orders, and never
//! writes a claim.

mod account;
mod act;
mod objects;
mod secret;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kooper::{Change, Context, ControllerBuilder, Failure, Key, Object, Outcome, Reconciler};
use korder_api::{Inventory, Stock, StockPhase, names};
use korder_core::inventory::full_name;
use korder_core::namespace::Namespace;
use korder_core::stock;
use korder_core::stock::job::{self, Job, Worker};
use korder_core::stock::production::{self, Observed};
use kube::Client;

use crate::Config;
use crate::caches::{BY_INVENTORY, BY_STOCK, Caches};
use crate::inventories::inventory_of;
use crate::metrics::Metrics;
use crate::random::Random;

/// Steps in a row for one unit; the most that any plan needs, and some.
const MAX_STEPS: usize = 6;

/// The controller of stocks.
pub fn controller(
    client: &Client,
    caches: &Caches,
    config: &Config,
    metrics: &Metrics,
) -> ControllerBuilder<Key, impl Reconciler<Key> + use<>> {
    let reconciler = Stocks {
        client: client.clone(),
        caches: caches.clone(),
        kinds: account::Kinds::default(),
        random: config.random.clone(),
        metrics: metrics.clone(),
        looked: Mutex::default(),
    };
    let (stocks, of_inventories) = (caches.stocks.clone(), caches.stocks.clone());
    ControllerBuilder::new("stocks", reconciler)
        .watches(&caches.stocks, Change::keys)
        .watches(&caches.jobs, stocks_named)
        .watches(&caches.workers, stocks_named)
        .watches(&caches.namespaces, move |change: &Change<Namespace>| {
            let Some(going) = change.new.as_ref().filter(|namespace| namespace.is_going()) else { return vec![] };
            let in_it = |stock: &&Arc<Stock>| stock.metadata.namespace.as_deref() == Some(going.name());
            stocks.list().iter().filter(in_it).map(|stock| Key::of(stock.as_ref())).collect()
        })
        // What is done for units that are made already; a status changes with every order.
        .watches(&caches.inventories, move |change: &Change<Inventory>| match (&change.old, &change.new) {
            (Some(old), Some(new)) if (&old.spec.reset, &old.spec.probe) != (&new.spec.reset, &new.spec.probe) => {
                of_inventories.by_index(BY_INVENTORY, &full_name(new)).iter().map(|one| Key::of(one.as_ref())).collect()
            }
            _ => vec![],
        })
        .concurrency(16)
}

/// The stock that an object's label names.
fn stocks_named<K: Object>(change: &Change<K>) -> Vec<Key> {
    let mut keys: Vec<Key> = change.sides().filter_map(|object| stock_named(object.as_ref())).collect();
    keys.dedup();
    keys
}

fn stock_named<K: Object>(object: &K) -> Option<Key> {
    let name = object.meta().labels.as_ref()?.get(names::LABEL_STOCK)?;
    Some(Key { namespace: object.meta().namespace.clone(), name: name.clone() })
}

/// The value of [`BY_STOCK`] for an object.
pub(crate) fn stock_value<K: Object>(object: &K) -> Vec<String> {
    stock_named(object).iter().map(ToString::to_string).collect()
}

/// The reconciler of stocks.
struct Stocks {
    client: Client,
    caches: Caches,
    kinds: account::Kinds,
    random: Random,
    metrics: Metrics,
    /// When the objects of units on the shelf were last looked at, by the uid of the unit; of others, when this process saw
    /// the unit first. Nothing else hangs on it: after a restart all are looked at in their next moment.
    looked: Mutex<BTreeMap<Key, (String, Timestamp)>>,
}

/// A unit and what makes it, held while a plan is made of it.
struct Seen {
    stock: Option<Arc<Stock>>,
    inventory: Option<Arc<Inventory>>,
    jobs: Vec<Arc<Job>>,
    workers: Vec<Arc<Worker>>,
}

impl Stocks {
    fn observe(&self, key: &Key) -> Seen {
        let Caches { stocks, inventories, jobs, workers, .. } = &self.caches;
        let (stock, named) = (stocks.get(key), key.to_string());
        let inventory = stock.as_ref().and_then(|stock| inventories.get(&inventory_of(stock)));
        Seen { stock, inventory, jobs: jobs.by_index(BY_STOCK, &named), workers: workers.by_index(BY_STOCK, &named) }
    }

    /// When the objects of a unit were last looked at.
    fn last_look(&self, key: &Key, stock: &Stock, now: Timestamp) -> Timestamp {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = stock.metadata.uid.as_deref().unwrap_or_default();
        if stock::phase(stock) != StockPhase::Ready || production::objects(stock).is_empty() {
            looked.remove(key);
            return now;
        }
        match looked.get(key) {
            Some((of, when)) if of == uid => *when,
            _ => {
                looked.insert(key.clone(), (uid.to_owned(), now));
                now
            }
        }
    }

    /// The objects of a unit were looked at.
    fn looked(&self, stock: &Stock, now: Timestamp) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.insert(Key::of(stock), (stock.metadata.uid.clone().unwrap_or_default(), now));
    }

    fn forget(&self, key: &Key) {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn is_namespace_going(&self, key: &Key) -> bool {
        let name = key.namespace.as_deref().unwrap_or_default();
        self.caches.namespaces.get(&Key::cluster(name)).is_some_and(|namespace| namespace.is_going())
    }
}

impl Reconciler<Key> for Stocks {
    async fn reconcile(&self, cx: Context, key: Key) -> Result<Outcome, Failure> {
        for _ in 0..MAX_STEPS {
            let seen = self.observe(&key);
            // Those of the last attempt, and of a stock that was made before under this name.
            for worker in &seen.workers {
                if job::may_go(worker, seen.stock.as_deref(), seen.jobs.iter().map(AsRef::as_ref)) {
                    act::release(self, worker).await?;
                }
            }
            let Some(stock) = &seen.stock else {
                self.forget(&key);
                return Ok(Outcome::Done);
            };
            let observed = Observed {
                stock,
                inventory: seen.inventory.as_deref(),
                jobs: seen.jobs.iter().map(AsRef::as_ref).collect(),
                workers: seen.workers.iter().map(AsRef::as_ref).collect(),
                namespace_is_going: self.is_namespace_going(&key),
                looked: self.last_look(&key, stock, cx.now()),
            };
            let plan = production::plan(&observed, cx.now());
            let Some(step) = plan.step else {
                let wait = plan.wake.map(|wake| wake.duration_since(cx.now()));
                let after = |wait| Outcome::After(Duration::try_from(wait).unwrap_or_default());
                return Ok(wait.map_or(Outcome::Done, after));
            };
            if let Some(outcome) = act::step(self, &cx, stock, &seen.jobs, step).await? {
                return Ok(outcome);
            }
        }
        Ok(Outcome::After(Duration::from_millis(100)))
    }
}
