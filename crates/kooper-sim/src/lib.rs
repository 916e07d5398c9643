//! A simulated Kubernetes cluster for tests of controllers: an API server in memory behind a real [`kube::Client`], in
//! virtual time, with faults, and with a scheduler, kubelets and a garbage collector where a test wants them.
//!
//! A controller that gets its client and its clock from a [`Sim`] runs unchanged, an hour in a fraction of a second, and
//! one seed is one run: every request, reply and event comes in the same order each time.
//!
//! ```
//! use std::time::Duration;
//!
//! use kooper_sim::fault::FaultPlan;
//! use kube::api::{DynamicObject, PostParams};
//! use kube::core::{ApiResource, GroupVersionKind};
//! use kube::Api;
//! use serde_json::json;
//!
//! kooper_sim::run(7, |sim| async move {
//!     let configmaps = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
//!     let wanted = DynamicObject::new("greeting", &configmaps).data(json!({"data": {"text": "hello"}}));
//!
//!     // A client that dies after its first write: the write is there, but the client never learns of it.
//!     let (client, faults) = sim.client_with("greeter", FaultPlan::crash_after_write(1));
//!     let api: Api<DynamicObject> = Api::default_namespaced_with(client, &configmaps);
//!     let params = PostParams::default();
//!     tokio::select! {
//!         biased;
//!         _ = api.create(&params, &wanted) => unreachable!("the client crashes before it gets a reply"),
//!         () = faults.crashed() => {}
//!     }
//!
//!     // Its successor finds what it did.
//!     let api: Api<DynamicObject> = Api::default_namespaced_with(sim.client("greeter"), &configmaps);
//!     assert_eq!(api.get("greeting").await.unwrap().data["data"]["text"], "hello");
//!     assert_eq!(sim.history().last().unwrap().actor.as_ref(), "greeter");
//!     assert!(sim.clock().elapsed() < Duration::from_secs(1));
//! });
//! ```
//!
//! # Guarantees
//! - **It answers like an API server** in what it covers: create, get, list, watch, the four writes, `status`, pods'
//!   `binding` and `eviction`; versions, pages, selectors, bookmarks, 410, dry runs, preconditions, finalizers, grace
//!   periods, and the codes, reasons and causes of refusals. The crate's tests of this also pass on a real API server
//!   (Kubernetes 1.36), and are to be run on both when they change: `KOOPER_SIM_KUBECONFIG=… cargo test -p kooper-sim`.
//! - **What it doesn't cover fails loudly**: with Status 501 and an entry in [`Sim::failures`], which fails [`run`].
//! - **One seed is one run**, in this process and the next, as long as the tested code keeps to the rules below.
//!   [`Sim::digest`] tells whether it did.
//! - **No event is lost or reordered** within a watch unless a [`fault`] says so, and no watch holds up another.
//! - **Every write is kept** with its actor and with the object before and after, in the order of versions:
//!   [`Sim::history`] is what oracles judge.
//!
//! # Rules for the tested code
//! No task of its own (`tokio::spawn`): a program is one future, so that dropping it is a crash. `select!` only
//! `biased`, no map whose order differs from run to run, no clock but the cluster's. Of kube-runtime 5, `watcher` keeps to
//! this and `Controller` doesn't; a backoff needs a seed for its jitter.
//!
//! # Caveats
//! - No admission but [`Sim::admit`], no authorization, no schemas: unknown fields of Kubernetes' own kinds are kept, and
//!   the schemas of custom resources have no effect. No `managedFields`.
//! - Refused as not simulated: server-side apply, strategic merge of lists other than conditions, strict field
//!   validation, `scale` and other subresources, deletion that waits for dependents or orphans them, and the deletion of
//!   namespaces and of definitions of custom resources. Kinds whose effects aren't simulated, such as ResourceQuota, aren't served until they are registered.
//! - The history is kept whole: a run of many hours needs memory for all its writes.
//! - Pods get the defaults that matter for scheduling, not all. A pod's containers do nothing; none ends by itself.
//! - The scheduler has the filters for resources, node selectors, node affinity and taints, preemption without disruption
//!   budgets, and one way to score. A pod that asks for more fails the run.

pub mod actors;
mod admission;
mod clock;
pub mod fault;
mod hash;
mod history;
mod kind;
mod names;
mod object;
mod options;
pub mod oracle;
mod refusal;
mod request;
mod selector;
mod server;
mod service;
mod shared;
mod sim;
mod store;
mod stream;

pub use admission::{AdmissionRequest, Denial};
pub use clock::Clock;
pub use history::Write;
pub use kind::{Kind, Rules};
pub use object::Object;
pub use options::{Options, Span};
pub use refusal::FieldError;
pub use request::{RequestInfo, Verb};
pub use sim::{Sim, run, run_with};
