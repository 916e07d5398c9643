//! Reading what there is.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::version::Info;
use korder_api::Order;
use korder_api::names::{ANNOTATION_RUNS_ON, GROUP, LEADER_LEASE, SYSTEM_NAMESPACE};
use korder_manifests::{GATE_NAME, OURS, PolicyApi};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::rights;
use crate::install::{self, Effect};
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
    /// Namespaces with orders.
    pub(super) ordering: BTreeSet<String>,
    /// The quotas of all namespaces.
    pub(super) quotas: Vec<ResourceQuota>,
    /// The namespaces that have limit ranges.
    pub(super) limited: BTreeSet<String>,
    /// What is there of korder, if anything is.
    pub(super) installed: Option<Installed>,
}

/// What is there of korder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Installed {
    /// The kinds that can be used.
    pub(super) kinds: usize,
    /// Its programs.
    pub(super) programs: Vec<Program>,
    /// Which process of the controllers leads; none where they run as one on the host, or none leads.
    pub(super) leader: Option<Leader>,
    /// Whether the controllers need a leader.
    pub(super) elects: bool,
    /// The gate as a webhook, and whether the API server has been told whom to trust.
    pub(super) webhook: Option<bool>,
    /// What becomes of a pod that asks for a ticket.
    pub(super) gate: Effect,
    /// What becomes of a pod with a wrong annotation.
    pub(super) refusal: Effect,
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

/// Reads what there is.
pub(crate) async fn gather(client: &Client) -> anyhow::Result<Facts> {
    let version = client.apiserver_version().await.told(|| "ask the cluster for its version".into())?;
    let discovery = install::discover(client).await?;
    let policies = install::served_policies(&discovery);
    let (denied, quotas, limits, installed) = futures::future::try_join4(
        rights::denied(client, &discovery, policies),
        all::<ResourceQuota>(client, &ListParams::default()),
        all::<LimitRange>(client, &ListParams::default()),
        installed(client),
    )
    .await?;
    let ordering = if installed.is_some() { ordering(client).await? } else { BTreeSet::new() };
    Ok(Facts {
        version,
        policies,
        served: install::served_resources(&discovery),
        denied,
        ordering,
        quotas,
        limited: limits.iter().filter_map(ResourceExt::namespace).collect(),
        installed,
    })
}

async fn installed(client: &Client) -> anyhow::Result<Option<Installed>> {
    let ours = ListParams::default().labels(OURS);
    let kinds = all::<CustomResourceDefinition>(client, &ours).await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let deployments = deployments.list(&ours).await.told(|| "list korder's Deployments".into())?.items;
    if deployments.is_empty() {
        return Ok(None);
    }
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let webhook = webhooks.get_opt(GATE_NAME).await.told(|| "read the gate".into())?;
    let trusts = |webhook: MutatingWebhookConfiguration| {
        webhook.webhooks.iter().flatten().all(|webhook| webhook.client_config.ca_bundle.is_some())
    };
    let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let lease = leases.get_opt(LEADER_LEASE).await.told(|| "read the Lease of the controllers".into())?;
    Ok(Some(Installed {
        kinds: kinds.iter().filter(|kind| is_established(kind)).count(),
        elects: !deployments.iter().any(|program| program.annotations().contains_key(ANNOTATION_RUNS_ON)),
        programs: deployments.iter().map(program).collect(),
        leader: lease.and_then(|lease| leader(lease, Timestamp::now())),
        webhook: webhook.map(trusts),
        gate: install::gate_effect(client).await,
        refusal: install::refusal_effect(client).await,
    }))
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

async fn ordering(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let orders = Api::<Order>::all(client.clone()).list_metadata(&ListParams::default()).await;
    match orders {
        Ok(orders) => Ok(orders.items.iter().filter_map(ResourceExt::namespace).collect()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(BTreeSet::new()),
        Err(error) => Err(error).told(|| "list the orders".into()),
    }
}

async fn all<K>(client: &Client, params: &ListParams) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    Ok(Api::<K>::all(client.clone()).list(params).await.told(|| format!("list the {}", K::plural(&())))?.items)
}
