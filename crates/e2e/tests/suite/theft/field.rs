//! Full nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::objects::{self, Size};
use e2e::{Case, Log};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::{Node, Pod};
use korder_api::{Order, names};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::pods::node_of;

/// Guardians on each node.
pub(super) const GUARDIANS: usize = 8;
/// What each place is; [`GUARDIANS`] of them fill a node.
pub(super) const PLACE: Size = Size::SMALL;
const NODE: Size = Size { cpu: "4", memory: "8Gi" };

/// Nodes that have room for [`GUARDIANS`] places each.
pub(super) struct Field<'a> {
    /// The test.
    pub(super) case: &'a Case,
    /// Names of the nodes.
    pub(super) nodes: Vec<String>,
}

impl<'a> Field<'a> {
    pub(super) async fn new(case: &'a Case, nodes: usize) -> Result<Self> {
        Ok(Self { case, nodes: case.add_nodes(nodes, NODE).await? })
    }

    /// How many places there are in all.
    pub(super) fn places(&self) -> usize {
        self.nodes.len() * GUARDIANS
    }

    /// Waits until all places are taken.
    pub(super) async fn is_full(&self) -> Result<()> {
        let full = |log: &Log<Pod>| {
            let mut running: BTreeMap<&str, usize> = BTreeMap::new();
            for pod in log.objects().filter(|pod| is_running(pod)) {
                *running.entry(node_of(pod)?).or_default() += 1;
            }
            self.nodes.iter().all(|node| running.get(node.as_str()) == Some(&GUARDIANS)).then_some(())
        };
        self.case.pods.until(format!("{GUARDIANS} guardians run on each node"), full).await
    }

    /// Removes orders and pods, and waits until they are gone.
    pub(super) async fn clear(&self) -> Result<()> {
        let (now, all) = (DeleteParams::background().grace_period(0), ListParams::default());
        self.case.api::<Order>().delete_collection(&now, &all).await?;
        self.case.tickets.until("the tickets are gone", |log| log.objects().next().is_none().then_some(())).await?;
        self.case.api::<Pod>().delete_collection(&now, &all).await?;
        self.case.pods.until("the pods are gone", |log| log.objects().next().is_none().then_some(())).await
    }

    /// Refuses that anybody deletes guardians, from when this returns until [`Field::let_guardians_go`].
    pub(super) async fn hold_guardians(&self) -> Result<()> {
        let name = self.case.namespace();
        let policy = json!({
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["DELETE"],
                }]},
                "validations": [{"expression": format!("oldObject.metadata.namespace != '{name}'")}],
            },
        });
        let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        let params = PostParams::default();
        self.policies().create(&params, &serde_json::from_value(policy)?).await?;
        self.bindings().create(&params, &serde_json::from_value(binding)?).await?;
        let guardian = self.case.pods.log().objects().find(|pod| is_guardian(pod)).map(|pod| pod.name_any());
        let guardian = guardian.context("there is no guardian")?;
        let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
        // Nothing tells when the API server heeds a new policy.
        let refused = async {
            while self.case.api::<Pod>().delete(&guardian, &dry).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), refused).await.context("the policy is not heeded")
    }

    /// So many claimants are nominated.
    pub(super) async fn claimants_are_nominated(&self, count: usize) -> Result<()> {
        let nominated = |log: &Log<Pod>| {
            let node = |pod: &Pod| pod.status.as_ref()?.nominated_node_name.clone();
            (log.objects().filter(|pod| node(pod).is_some()).count() == count).then_some(())
        };
        self.case.pods.until(format!("{count} claimants are nominated"), nominated).await
    }

    /// Lets guardians be deleted again.
    pub(super) async fn let_guardians_go(&self) -> Result<()> {
        let name = self.case.namespace();
        self.bindings().delete(name, &DeleteParams::default()).await?;
        self.policies().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    fn policies(&self) -> Api<ValidatingAdmissionPolicy> {
        Api::all(self.case.client())
    }

    fn bindings(&self) -> Api<ValidatingAdmissionPolicyBinding> {
        Api::all(self.case.client())
    }

    pub(super) async fn node_objects(&self) -> Result<Vec<Node>> {
        let own = ListParams::default().labels(&format!("{}={}", objects::OWN_NODE, self.case.namespace()));
        Ok(Api::<Node>::all(self.case.client()).list(&own).await?.items)
    }
}

fn is_guardian(pod: &Pod) -> bool {
    pod.labels().get(names::LABEL_ROLE).is_some_and(|role| role == names::ROLE_GUARDIAN)
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}
