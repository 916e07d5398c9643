//! `korder resource-quota`.

use anyhow::bail;
use cli::{Hinted, Printer};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use korder_api::names;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::connection::{Connection, Namespace};
use crate::install::What;
use crate::told::Told as _;
use crate::yaml;

/// The field manager of what is written.
const FIELD_MANAGER: &str = "korder-resource-quota";

/// Which quotas.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    namespace: Namespace,
    /// The ResourceQuota [default: all of the namespace]
    name: Option<String>,
    /// Write them to the cluster, instead of printing them
    #[arg(long)]
    apply: bool,
}

/// Prints them without guardians, or writes them.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { connection, namespace, name, apply } = arguments;
    let client = connection.client().await?;
    let namespace = namespace.name(&client);
    let api: Api<ResourceQuota> = Api::namespaced(client.clone(), &namespace);
    let everything = ListParams::default();
    let mut quotas = api.list(&everything).await.told(|| format!("list the quotas of `{namespace}`"))?.items;
    if let Some(name) = &name {
        quotas.retain(|quota| quota.name_any() == *name);
    }
    if quotas.is_empty() {
        let wanted =
            name.map_or_else(|| "is no ResourceQuota".to_owned(), |name| format!("is no ResourceQuota `{name}`"));
        bail!(Hinted::new(format!("there {wanted} in namespace `{namespace}`"), "name another one by `--namespace`"));
    }
    let classes: Api<PriorityClass> = Api::all(client);
    let twins = ListParams::default().labels(&format!("{}=true", names::LABEL_TWIN));
    let twins = classes.list(&twins).await.told(|| "list the priority classes of guardians".into())?;
    let mut twins: Vec<String> = twins.items.iter().map(ResourceExt::name_any).collect();
    if twins.is_empty() {
        // No ticket was made yet: the class of the pods that name none.
        twins.push(names::twin_priority_class(0));
    }
    let quotas = quotas.iter().flat_map(|quota| korder_core::limits::without_guardians(quota, twins.clone()));
    if apply {
        // The last first: what goes out of a quota is in another one by then.
        for quota in quotas.collect::<Vec<_>>().iter().rev() {
            let what = write(&api, quota).await?;
            printer.result(format_args!("resourcequota/{} {what}", quota.name_any()))?;
        }
        return Ok(());
    }
    let quotas = quotas.map(|quota| Ok(serde_json::from_value(serde_json::to_value(quota)?)?));
    let quotas = quotas.collect::<anyhow::Result<Vec<DynamicObject>>>()?;
    Ok(printer.result(yaml::documents(&quotas)?.trim_end())?)
}

/// Makes a quota, or replaces the spec of the one that is there: `kubectl apply` would leave in it what others have put there.
async fn write(api: &Api<ResourceQuota>, quota: &ResourceQuota) -> anyhow::Result<What> {
    let name = quota.name_any();
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let Some(there) = api.get_opt(&name).await.told(|| format!("read the ResourceQuota `{name}`"))? else {
        api.create(&params, quota).await.told(|| format!("create the ResourceQuota `{name}`"))?;
        return Ok(What::Created);
    };
    if there.spec == quota.spec {
        return Ok(What::Unchanged);
    }
    let patch: Patch<()> = Patch::Json(serde_json::from_value(json!([
        { "op": "test", "path": "/spec", "value": there.spec },
        { "op": "replace", "path": "/spec", "value": quota.spec },
    ]))?);
    let params = PatchParams { field_manager: params.field_manager, ..PatchParams::default() };
    api.patch(&name, &params, &patch).await.told(|| format!("change the ResourceQuota `{name}`"))?;
    Ok(What::Changed)
}
