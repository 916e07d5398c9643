//! A small operator with a kind of its own: a `PodTerminator` deletes pods, one at a time, to show whether an
//! application stands it.
//!
//! ```text
//! cargo run -p kooper --example pod_terminator
//! kubectl apply -f - <<'YAML'
//! apiVersion: kooper.example.com/v1alpha1
//! kind: PodTerminator
//! metadata: {name: shop}
//! spec: {selector: {app: shop}, minimum: 2, periodSeconds: 30}
//! YAML
//! kubectl describe podterminator shop
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kooper::{
    ApplyCrd, BoxError, Cache, Clock, ConditionStatus, Context, CustomResources, Event, EventType, Failure, Handler,
    Key, NewCondition, Operator, Outcome, Recorder, Reporter, Resources, SystemClock, handle, set_condition,
};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Deletes pods of its namespace now and then.
#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug)]
#[kube(group = "kooper.example.com", version = "v1alpha1", kind = "PodTerminator", namespaced, status = "Progress")]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodTerminatorSpec {
    /// Labels of the pods that may be deleted.
    selector: BTreeMap<String, String>,
    /// How many of them are always left.
    minimum: u32,
    /// Seconds between two deletions.
    period_seconds: u32,
}

/// What a terminator has done.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// How many pods it has deleted.
    #[serde(default)]
    terminated: u64,
    /// When it deleted the last one.
    last_time: Option<Time>,
    /// Whether it can do its work.
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// Index of pods: by namespace.
const BY_NAMESPACE: &str = "namespace";

struct Terminator {
    client: Client,
    pods: Cache<Pod>,
    terminators: Cache<PodTerminator>,
}

impl Handler<PodTerminator> for Terminator {
    async fn add(&self, cx: Context, terminator: Arc<PodTerminator>) -> Result<Outcome, Failure> {
        let period = Duration::from_secs(terminator.spec.period_seconds.max(1).into());
        let mut progress = terminator.status.clone().unwrap_or_default();
        let since = progress.last_time.as_ref().map(|last| cx.now().duration_since(last.0).unsigned_abs());
        if let Some(rest) = since.and_then(|since| period.checked_sub(since)).filter(|rest| !rest.is_zero()) {
            return Ok(Outcome::After(rest));
        }
        let victims = self.candidates(&terminator);
        let enough = victims.len() > terminator.spec.minimum as usize;
        let condition = NewCondition {
            type_: "Ready".into(),
            status: ConditionStatus::from(enough),
            reason: if enough { "Terminating" } else { "TooFewPods" }.into(),
            message: format!("At least {} pods are left alone.", terminator.spec.minimum),
            observed_generation: terminator.metadata.generation,
        };
        let mut changed = set_condition(&mut progress.conditions, condition, cx.now());
        if let Some(victim) = victims.first().filter(|_| enough) {
            self.terminate(victim).await?;
            progress.terminated += 1;
            progress.last_time = Some(Time(cx.now()));
            changed = true;
            cx.recorder.publish(
                &terminator.object_ref(&()),
                Event {
                    type_: EventType::Normal,
                    reason: "Terminated".into(),
                    action: "Terminate".into(),
                    note: format!("Deleted pod `{}`.", victim.name_any()),
                },
            );
        }
        if changed {
            self.write_status(&terminator, &progress).await?;
        }
        Ok(Outcome::After(period))
    }
}

impl Terminator {
    /// The pods that may be deleted, in the order in which they would be.
    fn candidates(&self, terminator: &PodTerminator) -> Vec<Arc<Pod>> {
        let namespace = terminator.namespace().unwrap_or_default();
        let mut pods = self.pods.by_index(BY_NAMESPACE, &namespace);
        pods.retain(|pod| {
            let wanted = &terminator.spec.selector;
            pod.metadata.deletion_timestamp.is_none()
                && wanted.iter().all(|(name, value)| pod.labels().get(name) == Some(value))
        });
        pods.sort_by_key(|pod| pod.creation_timestamp().map(|time| time.0));
        pods
    }

    async fn terminate(&self, pod: &Pod) -> Result<(), Failure> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        // The uid: not another pod that has taken this one's name.
        let same = Preconditions { uid: pod.uid(), resource_version: None };
        let deleted = api.delete(&pod.name_any(), &DeleteParams::default().preconditions(same)).await?;
        // Told to the cache at once: the next look must not count it any more.
        match deleted.left() {
            Some(ending) => self.pods.wrote(ending),
            None => self.pods.deleted(&Key::of(pod), &pod.uid().unwrap_or_default()),
        }
        Ok(())
    }

    async fn write_status(&self, terminator: &PodTerminator, progress: &Progress) -> Result<(), Failure> {
        let namespace = terminator.namespace().unwrap_or_default();
        let api = Api::<PodTerminator>::namespaced(self.client.clone(), &namespace);
        // The version: if somebody was faster, this is a conflict, and tried again with what is there then.
        let patch = json!({"metadata": {"resourceVersion": terminator.resource_version()}, "status": progress});
        let written = api.patch_status(&terminator.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        self.terminators.wrote(written);
        Ok(())
    }
}

/// The kind, and how it gets into the cluster.
pub(crate) fn kind(client: &Client) -> CustomResources<PodTerminator> {
    let crd = ApplyCrd::new(client.clone(), PodTerminator::crd(), "pod-terminator");
    CustomResources::new(Resources::all(client.clone()), crd)
}

/// Caches, controller and recorder; the kind must be there.
pub(crate) fn operator(client: &Client, clock: Arc<dyn Clock>) -> Operator {
    let reporter = Reporter { controller: "kooper.example.com/pod-terminator".into(), instance: "example".into() };
    let recorder = Recorder::new(client.clone(), reporter, Arc::clone(&clock));
    let terminators = Cache::builder(&kind(client)).recorder(&recorder).build();
    let pods = Cache::builder(&Resources::<Pod>::all(client.clone()))
        .index(BY_NAMESPACE, |pod| pod.namespace().into_iter().collect())
        .build();
    let handler = Terminator { client: client.clone(), pods: pods.clone(), terminators: terminators.clone() };
    let controller = handle("terminator", &terminators, handler).reads(&pods).clock(clock).recorder(&recorder).build();
    Operator::new("pod-terminator").recorder(&recorder).cache(&terminators).cache(&pods).controller(controller)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let client = Client::try_default().await?;
    operator(&client, Arc::new(SystemClock)).crd(kind(&client)).run_until(tokio::signal::ctrl_c()).await
}
