//! Every change of a kind of object, as a watch tells it.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use kube::Resource;
use kube::api::{Api, ListParams, WatchParams};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Shown, follow};

/// How long things may take that take a moment: long enough for a machine that has much else to do.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made, or was there when the history began.
    Added,
    /// It was changed.
    Modified,
    /// It was removed; the event shows it as it last was.
    Deleted,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Event<K> {
    /// When this process heard of it.
    pub seen: Instant,
    /// What happened.
    pub change: Change,
    /// The object after it.
    pub object: Arc<K>,
}

impl<K: Resource> Event<K> {
    /// The resource version of the change; its order is that of all changes of all kinds in a cluster with one etcd.
    pub fn version(&self) -> u64 {
        self.object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
    }
}

/// What a [`History`] has seen so far.
#[derive(Clone, Debug)]
pub struct Log<K> {
    live: BTreeMap<String, Arc<K>>,
    events: Vec<Event<K>>,
    broken: Option<String>,
}

impl<K: Resource> Log<K> {
    fn new() -> Self {
        Self { live: BTreeMap::new(), events: Vec::new(), broken: None }
    }

    fn record(&mut self, change: Change, object: K) {
        let object = Arc::new(object);
        match change {
            Change::Added | Change::Modified => drop(self.live.insert(key(object.as_ref()), Arc::clone(&object))),
            Change::Deleted => drop(self.live.remove(&key(object.as_ref()))),
        }
        self.events.push(Event { seen: Instant::now(), change, object });
    }

    /// The object of a name that is there now; across namespaces the name is `NAMESPACE/NAME`.
    pub fn get(&self, name: &str) -> Option<&Arc<K>> {
        self.live.get(name).or_else(|| {
            let ends_with_name = |key: &&String| key.rsplit_once('/').is_some_and(|(_, last)| last == name);
            self.live.iter().find(|(key, _)| ends_with_name(key)).map(|(_, object)| object)
        })
    }

    /// The objects that are there now, by name.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<K>> {
        self.live.values()
    }

    /// All changes, in the order in which they happened.
    pub fn events(&self) -> &[Event<K>] {
        &self.events
    }
}

/// What an object is known by: `NAMESPACE/NAME`, or its name where it has no namespace.
pub(crate) fn key<K: Resource>(object: &K) -> String {
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    meta.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// Follows every change of a kind of object, from the moment it is made until it is dropped.
///
/// Nothing is left out ([`follow`]): where that can't be, the history is broken and says so to everybody who waits on it.
#[derive(Debug)]
pub struct History<K> {
    log: watch::Receiver<Log<K>>,
    reader: JoinHandle<()>,
}

impl<K> Drop for History<K> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl<K> History<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Begins with what is there now.
    pub async fn start(api: Api<K>) -> Result<Self> {
        Self::selected(api, ListParams::default()).await
    }

    /// The same for objects that a label or field selector finds.
    pub async fn selected(api: Api<K>, selector: ListParams) -> Result<Self> {
        let kind = K::kind(&());
        let list = api.list(&selector).await.with_context(|| format!("cannot list objects of kind `{kind}`"))?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut log = Log::new();
        for object in list.items {
            log.record(Change::Added, object);
        }
        let (sender, receiver) = watch::channel(log);
        let params = WatchParams {
            label_selector: selector.label_selector,
            field_selector: selector.field_selector,
            ..WatchParams::default()
        };
        let reader = tokio::spawn(async move {
            let record = |change, object| sender.send_modify(|log| log.record(change, object));
            let Err(broken) = follow(&api, &params, version, record).await;
            sender.send_modify(|log| log.broken = Some(format!("{broken:#}")));
        });
        Ok(Self { log: receiver, reader })
    }

    /// What was seen so far. Not to be held across an await: new events wait for it.
    pub fn log(&self) -> watch::Ref<'_, Log<K>> {
        self.log.borrow()
    }
}

impl<K> History<K>
where
    K: Resource<DynamicType = ()> + Shown,
{
    /// Waits until `found` finds something, looking after every change; [`DEADLINE`] at most.
    ///
    /// The error names `what` and shows the objects as they were last.
    pub async fn until<T>(&self, what: impl Display, found: impl FnMut(&Log<K>) -> Option<T>) -> Result<T> {
        self.until_within(DEADLINE, what, found).await
    }

    /// The same with a deadline of its own.
    pub async fn until_within<T>(
        &self,
        deadline: Duration,
        what: impl Display,
        mut found: impl FnMut(&Log<K>) -> Option<T>,
    ) -> Result<T> {
        let mut log = self.log.clone();
        let mut result = None;
        let mut look = |log: &Log<K>| {
            result = found(log);
            result.is_some() || log.broken.is_some()
        };
        let in_time = tokio::time::timeout(deadline, log.wait_for(&mut look)).await.is_ok();
        let last = self.log.borrow();
        match (result, &last.broken) {
            (Some(result), _) => Ok(result),
            (None, Some(broken)) => bail!("while waiting until {what}: {broken}"),
            (None, None) if in_time => bail!("while waiting until {what}: the watch has ended"),
            (None, None) => Err(anyhow!(
                "waited {} s in vain until {what}; last seen:\n{}",
                deadline.as_secs_f32(),
                last.shown(|_| true)
            )),
        }
    }
}

/// How many objects a message shows.
const SHOWN_AT_MOST: usize = 30;

impl<K: Resource<DynamicType = ()> + Shown> Log<K> {
    /// The objects that are there now and that a message is about, a line each.
    pub fn shown(&self, matters: impl Fn(&K) -> bool) -> String {
        let kind = K::kind(&());
        let line = |(name, object): (&String, &Arc<K>)| format!("  {kind} {name}: {}", object.shown());
        let mut lines: Vec<String> = self.live.iter().filter(|(_, object)| matters(object)).map(line).collect();
        if lines.is_empty() {
            lines.push(format!("  no {kind}"));
        }
        if lines.len() > SHOWN_AT_MOST {
            let rest = lines.split_off(SHOWN_AT_MOST).len();
            lines.push(format!("  … and {rest} more"));
        }
        lines.join("\n")
    }
}

impl<K: Resource<DynamicType = ()> + Shown> History<K> {
    /// The objects that are there now, a line each, for people.
    pub fn shown(&self) -> String {
        self.log.borrow().shown(|_| true)
    }
}
