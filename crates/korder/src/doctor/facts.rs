//! Reading what there is.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{LimitRange, Node, ResourceQuota};
use k8s_openapi::api::rbac::v1::Role;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::version::Info;
use korder_api::names::{ANNOTATION_RUNS_ON, GROUP, LEADER_LEASE, SYSTEM_NAMESPACE};
use korder_api::{Inventory, Order};
use korder_core::stock::sku;
use korder_manifests::{GATE_NAME, HOST_NODE, OURS, PolicyApi};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::rights;
use crate::install::{self, Effect, Grant, GrantNeed};
use crate::told::Told as _;

/// What the checks judge.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The cluster's version.
    pub(super) version: Info,
    /// In which version it has policies that change objects, if it does.
    pub(super) policies: Option<PolicyApi>,
    /// The resources that it serves: plural and group.
    pub(super) served: Vec<(String, String)>,
    /// What the user may not do that an installation needs.
    pub(super) denied: Vec<String>,
    /// Namespaces with orders; none where the user may not know.
    pub(super) ordering: Option<BTreeSet<String>>,
    /// The quotas of all namespaces; none where the user may not know.
    pub(super) quotas: Option<Vec<ResourceQuota>>,
    /// The namespaces that have limit ranges.
    pub(super) limited: BTreeSet<String>,
    /// What is there of korder.
    pub(super) korder: Korder,
    /// What the user may not look at, as `list the nodes`.
    pub(super) hidden: Vec<String>,
}

/// What is there of korder, if anything is.
#[derive(Clone, Debug)]
pub(crate) enum Korder {
    /// Nothing, on a cluster whose korder `korder up` runs or on another one.
    Absent {
        /// Whether it is one of `korder up`.
        embedded: bool,
    },
    /// The user may not know.
    Hidden,
    /// An installation.
    There(Installed),
}

/// What is there of korder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Installed {
    /// How many kinds can be used; none where the user may not know.
    pub(super) kinds: Option<usize>,
    /// Its programs.
    pub(super) programs: Vec<Program>,
    /// Which process of the controllers leads; none where they run as one on the host, or none leads.
    pub(super) leader: Option<Leader>,
    /// Whether the controllers need a leader.
    pub(super) elects: bool,
    /// The gate as a webhook, and whether the API server has been told whom to trust.
    pub(super) webhook: Option<bool>,
    /// What becomes of a pod that asks for a ticket; none where the user may not try.
    pub(super) gate: Option<Effect>,
    /// What becomes of a pod with a wrong annotation; none where the user may not try.
    pub(super) refusal: Option<Effect>,
    /// The accounts that the controllers may make units of stock as.
    pub(super) grants: BTreeSet<Grant>,
    /// Inventories, as `team-a/db`, whose units can't be made without this grant.
    pub(super) ungranted: Vec<(String, Grant)>,
}

/// A Deployment.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) wanted: i32,
    pub(super) ready: i32,
    pub(super) is_available: bool,
}

/// Who leads.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(super) holder: String,
    /// Since when it was not heard of, by this machine's clock.
    pub(super) silent: SignedDuration,
}

/// Reads what there is, as far as the user may.
pub(crate) async fn gather(client: &Client) -> anyhow::Result<Facts> {
    let version = client.apiserver_version().await.told(|| "ask the cluster for its version".into())?;
    let discovery = install::discover(client).await?;
    let policies = install::served_policies(&discovery);
    let look = Look { client, hidden: Mutex::default() };
    let (denied, quotas, limits, korder) = futures::future::try_join4(
        rights::denied(client, &discovery, policies),
        look.list::<ResourceQuota>(&ListParams::default()),
        look.list::<LimitRange>(&ListParams::default()),
        korder(&look),
    )
    .await?;
    let ordering = ordering(&look).await?;
    Ok(Facts {
        version,
        policies,
        served: install::served_resources(&discovery),
        denied,
        ordering,
        quotas,
        limited: limits.iter().flatten().filter_map(ResourceExt::namespace).collect(),
        korder,
        hidden: look.hidden.into_inner().unwrap_or_else(PoisonError::into_inner),
    })
}

/// Looks at the cluster, and remembers what it may not see.
struct Look<'a> {
    client: &'a Client,
    hidden: Mutex<Vec<String>>,
}

impl Look<'_> {
    /// All objects of a kind.
    async fn list<K>(&self, params: &ListParams) -> anyhow::Result<Option<Vec<K>>>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let list = Api::<K>::all(self.client.clone()).list(params).await;
        Ok(self.seen(list, format!("list the {}", K::plural(&())))?.map(|list| list.items))
    }

    /// An answer; none where it was refused.
    fn seen<T>(&self, answer: kube::Result<T>, doing: String) -> anyhow::Result<Option<T>> {
        match answer {
            Ok(seen) => Ok(Some(seen)),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.hide(doing);
                Ok(None)
            }
            Err(error) => Err(error).told(|| doing),
        }
    }

    fn hide(&self, doing: String) {
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner).push(doing);
    }
}

async fn korder(look: &Look<'_>) -> anyhow::Result<Korder> {
    let ours = ListParams::default().labels(OURS);
    let deployments: Api<Deployment> = Api::namespaced(look.client.clone(), SYSTEM_NAMESPACE);
    let Some(deployments) = look.seen(deployments.list(&ours).await, "list korder's Deployments".into())? else {
        return Ok(Korder::Hidden);
    };
    if deployments.items.is_empty() {
        let host = Api::<Node>::all(look.client.clone()).get_opt(HOST_NODE).await;
        let embedded = look.seen(host, "see the nodes".into())?.flatten().is_some();
        return Ok(Korder::Absent { embedded });
    }
    let kinds = look.list::<CustomResourceDefinition>(&ours).await?;
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(look.client.clone());
    let webhook = look.seen(webhooks.get_opt(GATE_NAME).await, "read the gate".into())?;
    let may_try = rights::may(look.client, "create", "", "pods").await?;
    if !may_try {
        look.hide("create pods".into());
    }
    let trusts = |webhook: MutatingWebhookConfiguration| {
        webhook.webhooks.iter().flatten().all(|webhook| webhook.client_config.ca_bundle.is_some())
    };
    let leases: Api<Lease> = Api::namespaced(look.client.clone(), SYSTEM_NAMESPACE);
    let lease = look.seen(leases.get_opt(LEADER_LEASE).await, "read the Lease of the controllers".into())?;
    let roles = look.list::<Role>(&ours).await?;
    let grants = install::granted(roles.iter().flatten());
    let runs_on_host = |program: &Deployment| program.annotations().contains_key(ANNOTATION_RUNS_ON);
    Ok(Korder::There(Installed {
        kinds: kinds.map(|kinds| kinds.iter().filter(|kind| is_established(kind)).count()),
        elects: lease.is_some() && !deployments.iter().any(runs_on_host),
        programs: deployments.iter().map(program).collect(),
        leader: lease.flatten().and_then(|lease| leader(lease, Timestamp::now())),
        gate: if may_try && webhook.is_some() { Some(install::gate_effect(look.client).await) } else { None },
        refusal: if may_try { Some(install::refusal_effect(look.client).await) } else { None },
        webhook: webhook.flatten().map(trusts),
        ungranted: ungranted(look, &grants).await?,
        grants,
    }))
}

/// The inventories whose units need a grant that is not there.
async fn ungranted(look: &Look<'_>, grants: &BTreeSet<Grant>) -> anyhow::Result<Vec<(String, Grant)>> {
    let inventories = match Api::<Inventory>::all(look.client.clone()).list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(vec![]),
        listed => look.seen(listed, "list the inventories".into())?,
    };
    let missing = |inventory: Inventory| {
        let namespace = inventory.namespace().unwrap_or_default();
        let name = format!("{namespace}/{}", inventory.name_any());
        let grant = Grant { account: sku::account(&inventory.spec.item).to_owned(), namespace };
        let is_granted = match install::grant_need(&inventory.spec.item) {
            GrantNeed::Nothing => true,
            GrantNeed::Account => grants.contains(&grant),
            GrantNeed::Secrets => grants.iter().any(|other| other.namespace == grant.namespace),
        };
        (!is_granted).then_some((name, grant))
    };
    Ok(inventories.into_iter().flat_map(|list| list.items).filter_map(missing).collect())
}

fn is_established(kind: &CustomResourceDefinition) -> bool {
    let conditions = kind.status.iter().flat_map(|status| status.conditions.iter().flatten());
    kind.spec.group == GROUP
        && conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

fn program(deployment: &Deployment) -> Program {
    let spec = deployment.spec.as_ref();
    let containers = spec.and_then(|spec| spec.template.spec.as_ref()).map(|pod| &pod.containers);
    Program {
        name: deployment.name_any(),
        image: containers.and_then(|all| all.first()?.image.clone()).unwrap_or_default(),
        wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        ready: deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0),
        is_available: install::is_available(deployment),
    }
}

fn leader(lease: Lease, now: Timestamp) -> Option<Leader> {
    let spec = lease.spec?;
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty())?;
    Some(Leader { holder, silent: spec.renew_time.map_or(SignedDuration::MAX, |at| now.duration_since(at.0)) })
}

async fn ordering(look: &Look<'_>) -> anyhow::Result<Option<BTreeSet<String>>> {
    match Api::<Order>::all(look.client.clone()).list_metadata(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Some(BTreeSet::new())),
        orders => {
            let orders = look.seen(orders, "list the orders".into())?;
            Ok(orders.map(|orders| orders.iter().filter_map(ResourceExt::namespace).collect()))
        }
    }
}
