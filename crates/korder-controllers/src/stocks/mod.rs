//! Makes each unit of stock, and tears it down. It never looks at orders, and never writes a claim.

mod account;
mod act;
mod objects;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use kooper::{Change, Context, ControllerBuilder, Failure, Key, Object, Outcome, Reconciler};
use korder_api::{Stock, names};
use korder_core::namespace::Namespace;
use korder_core::stock::job::{self, Job, Worker};
use korder_core::stock::production::{self, Observed};
use kube::Client;

use crate::Config;
use crate::caches::{BY_STOCK, Caches};
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
    };
    let stocks = caches.stocks.clone();
    ControllerBuilder::new("stocks", reconciler)
        .watches(&caches.stocks, Change::keys)
        .watches(&caches.jobs, stocks_named)
        .watches(&caches.workers, stocks_named)
        .watches(&caches.namespaces, move |change: &Change<Namespace>| {
            let Some(going) = change.new.as_ref().filter(|namespace| namespace.is_going()) else { return vec![] };
            let in_it = |stock: &&Arc<Stock>| stock.metadata.namespace.as_deref() == Some(going.name());
            stocks.list().iter().filter(in_it).map(|stock| Key::of(stock.as_ref())).collect()
        })
        .reads(&caches.inventories)
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
}

/// A unit and what makes it, held while a plan is made of it.
struct Seen {
    stock: Option<Arc<Stock>>,
    job: Option<Arc<Job>>,
    workers: Vec<Arc<Worker>>,
}

impl Stocks {
    fn observe(&self, key: &Key) -> Seen {
        let Caches { stocks, jobs, workers, .. } = &self.caches;
        Seen { stock: stocks.get(key), job: jobs.get(key), workers: workers.by_index(BY_STOCK, &key.to_string()) }
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
                if job::may_go(worker, seen.stock.as_deref(), seen.job.as_deref()) {
                    act::release(self, worker).await?;
                }
            }
            let Some(stock) = &seen.stock else { return Ok(Outcome::Done) };
            let observed = Observed {
                stock,
                job: seen.job.as_deref(),
                workers: seen.workers.iter().map(AsRef::as_ref).collect(),
                namespace_is_going: self.is_namespace_going(&key),
            };
            let plan = production::plan(&observed, cx.now());
            let Some(step) = plan.step else {
                let wait = plan.wake.map(|wake| wake.duration_since(cx.now()));
                let after = |wait| Outcome::After(Duration::try_from(wait).unwrap_or_default());
                return Ok(wait.map_or(Outcome::Done, after));
            };
            if let Some(outcome) = act::step(self, &cx, stock, seen.job.as_deref(), step).await? {
                return Ok(outcome);
            }
        }
        Ok(Outcome::After(Duration::from_millis(100)))
    }
}
