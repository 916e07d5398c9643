//! Kooper: a toolkit for Kubernetes operators and controllers.
//!
//! It gives controllers what lies between "watch something" and "reconcile it": caches that can be trusted, a queue
//! that does not spin, a runner that contains what goes wrong, and events that users can read. It is a thin layer over
//! [`kube`]: requests, watches and types are kube's.
//!
//! # Concepts
//!
//! The words are those of the kooper document.
//!
//! | concept | here |
//! | --- | --- |
//! | **Retriever**: knows how to list and watch one kind | [`Retriever`], ready-made as [`Resources`] |
//! | **CRD**: a retriever that knows how to initialize | [`Crd`], as [`ApplyCrd`], [`VerifyCrd`]; with a retriever, [`CustomResources`] |
//! | **Handler**: called for what happens to an object | [`Handler`], made a controller by [`handle`] |
//! | **Controller**: runs until it is stopped | [`Controller`], put together by [`ControllerBuilder`] |
//! | **Operator**: controllers and CRDs as one | [`Operator`] |
//! | **Leader election**: of several processes one acts | [`Elected`], a controller around a controller |
//!
//! Between retriever and controller stands the [`Cache`]: it holds the objects, and its changes are what drives
//! controllers. A [`Handler`] is the simple form, one call for one object. Where one object is not the unit of work (all
//! claims on a node, all orders of a team), a [`Reconciler`] takes keys of any type, and functions map the changes of
//! any number of caches to keys.
//!
//! ```
//! use std::sync::Arc;
//!
//! use k8s_openapi::api::core::v1::{ConfigMap, Node};
//! use kooper::{ApplyCrd, BoxError, Cache, Context, Crd, CustomResources, Failure, Handler, Key};
//! use kooper::{Change, Operator, Outcome, Resources, Retriever, handle};
//! use kube::api::PostParams;
//! use kube::{Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// A note that is to be found as a config map.
//! #[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug)]
//! #[kube(group = "example.com", version = "v1", kind = "Note", namespaced)]
//! struct NoteSpec {
//!     text: String,
//! }
//!
//! struct Notes {
//!     client: Client,
//!     maps: Cache<ConfigMap>,
//! }
//!
//! // The handler: what is to be done for one note. No matter what has happened: the map is to be there.
//! impl Handler<Note> for Notes {
//!     async fn add(&self, _cx: Context, note: Arc<Note>) -> Result<Outcome, Failure> {
//!         if self.maps.get(&Key::of(note.as_ref())).is_some() {
//!             return Ok(Outcome::Done);
//!         }
//!         let mut map = ConfigMap::default();
//!         map.metadata.name = note.metadata.name.clone();
//!         map.metadata.owner_references = Some(note.controller_owner_ref(&()).into_iter().collect());
//!         map.data = Some([("text".to_owned(), note.spec.text.clone())].into());
//!         let api = Api::namespaced(self.client.clone(), &note.namespace().unwrap_or_default());
//!         // `?` decides what a failure means: a conflict is tried again soon, other errors with growing delay.
//!         let written = api.create(&PostParams::default(), &map).await?;
//!         self.maps.wrote(written);
//!         Ok(Outcome::Done)
//!     }
//! }
//!
//! fn operator(client: &Client) -> Operator {
//!     // The CRD, with its retriever, and a retriever of config maps.
//!     let crd = ApplyCrd::new(client.clone(), Note::crd(), "notes");
//!     let kind = CustomResources::new(Resources::<Note>::all(client.clone()), crd);
//!     let notes = Cache::builder(&kind).build();
//!     let maps = Cache::builder(&Resources::<ConfigMap>::all(client.clone())).build();
//!     // The controller: runs for notes, and for the note of a config map that has changed.
//!     let handler = Notes { client: client.clone(), maps: maps.clone() };
//!     let controller = handle("notes", &notes, handler).watches(&maps, Change::owners::<Note>).build();
//!     // The operator.
//!     Operator::new("notes").crd(kind).cache(&notes).cache(&maps).controller(controller)
//! }
//!
//! async fn run() -> Result<(), BoxError> {
//!     operator(&Client::try_default().await?).run_until(tokio::signal::ctrl_c()).await
//! }
//! # let _ = run;
//! ```
//!
//! # What it guarantees
//!
//! - **Nothing is lost.** What changes before caches are filled is reconciled when they are; what changes during a
//!   reconcile causes another; a key that fails is never dropped.
//! - **Nothing spins.** After a failure a key waits, each time longer, and no event shortens that. At the cap it is
//!   *stalled*: looked at rarely, or when something changes.
//! - **One key, one run.** A key is never reconciled twice at a time.
//! - **You read your own writes**, if you report them to the cache: see [`Cache::wrote`].
//! - **Faults stay where they are.** A panic, a reconcile that hangs, an object that can't be decoded, a watch that
//!   fails: each costs its own key, object or watch, and is logged.
//! - **Everything ends.** Every wait has a limit, every queue a bound, and what is dropped is counted.
//! - **The same again.** Fed with the same answers in the same order, it does the same: an operator is one future, without
//!   spawned tasks, wall clock, random numbers, or maps whose order differs from run to run. So it can be simulated, and
//!   a failing run can be repeated. Two things are the caller's: a [`Clock`], and a client without retries of its own
//!   (`kube::Config::default_retry = false`), which would draw random delays, and would hide from the queue that the
//!   server asks for patience.
//!
//! # What it must not know
//!
//! Any particular kind, HTTP servers, argument parsers, files. It picks no version of Kubernetes for `k8s-openapi`: the
//! program does. It does not serve metrics, or answer probes.

mod backoff;
mod cache;
mod clock;
mod conditions;
mod context;
mod controller;
mod crd;
mod election;
mod handler;
mod key;
mod operator;
mod outcome;
pub mod patch;
mod queue;
mod recorder;
mod report;
mod retriever;
mod stop;
mod sync;

pub use backoff::Backoff;
pub use cache::{Cache, CacheBuilder, Change};
pub use clock::{Clock, SteadyClock, SystemClock};
pub use conditions::{ConditionStatus, NewCondition, set_condition};
pub use context::Context;
pub use controller::{Controller, ControllerBuilder, Reconciler, WorkKey};
pub use crd::{ApplyCrd, Crd, CustomResources, VerifyCrd};
pub use election::{Elected, Leadership};
pub use handler::{Handler, HandlerReconciler, handle};
pub use key::Key;
pub use operator::Operator;
pub use outcome::{BoxError, Failure, Outcome};
pub use queue::{Job, Next, Queue};
pub use recorder::{Event, EventType, Recorder, Reporter};
pub use retriever::{Object, Resources, Retriever};
pub use stop::{Stop, Stopper};
