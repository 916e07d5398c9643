//! Handlers: controllers seen from one object.

use std::future::Future;
use std::sync::Arc;

use crate::cache::{Cache, Change};
use crate::context::Context;
use crate::controller::{ControllerBuilder, Reconciler};
use crate::key::Key;
use crate::outcome::{Failure, Outcome};
use crate::retriever::Object;

/// Called for every object of one kind that is new or has changed, and once at the start for all
/// that are there.
///
/// There is no update: a handler brings the world to the state the object asks for, whatever has
/// happened before. An asynchronous closure `|cx, object|` is a handler that does nothing on
/// deletion.
pub trait Handler<K>: Send + Sync + 'static {
    /// Brings about what `object` asks for.
    fn add(&self, cx: Context, object: Arc<K>) -> impl Future<Output = Result<Outcome, Failure>> + Send;

    /// `key` is gone. Not called for what went while the controller was not running: whoever needs
    /// certainty uses a finalizer or owner references.
    fn delete(&self, cx: Context, key: Key) -> impl Future<Output = Result<Outcome, Failure>> + Send {
        let _ = (cx, key);
        std::future::ready(Ok(Outcome::Done))
    }
}

impl<K, F, R> Handler<K> for F
where
    F: Fn(Context, Arc<K>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outcome, Failure>> + Send,
{
    fn add(&self, cx: Context, object: Arc<K>) -> impl Future<Output = Result<Outcome, Failure>> + Send {
        self(cx, object)
    }
}

/// A [`Handler`] as a [`Reconciler`] of the keys of its objects.
pub struct HandlerReconciler<K, H> {
    cache: Cache<K>,
    handler: H,
}

impl<K: Object, H: Handler<K>> Reconciler<Key> for HandlerReconciler<K, H> {
    async fn reconcile(&self, cx: Context, key: Key) -> Result<Outcome, Failure> {
        match self.cache.get(&key) {
            Some(object) => self.handler.add(cx, object).await,
            None => self.handler.delete(cx, key).await,
        }
    }
}

/// A controller called `name` that runs `handler` for the objects in `cache`.
pub fn handle<K: Object, H: Handler<K>>(
    name: impl Into<String>,
    cache: &Cache<K>,
    handler: H,
) -> ControllerBuilder<Key, HandlerReconciler<K, H>> {
    let reconciler = HandlerReconciler { cache: cache.clone(), handler };
    ControllerBuilder::new(name, reconciler).watches(cache, Change::keys)
}
