//! Which accounts of which namespaces the controllers may act as: given by an installation, kept by the next ones, and taken away by
//! name where nothing needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use cli::Hinted;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::Role;
use korder_api::item::Output;
use korder_api::names::SYSTEM_NAMESPACE;
use korder_api::{Inventory, Item, Order, Stock};
use korder_core::stock::sku;
use korder_manifests::{GRANT_NAME, granted_accounts, namespace_grant};
use kube::api::{DynamicObject, ListParams, ObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::objects::{self, Kind, installed_by_helm};
use super::{Change, What, apply};
use crate::told::Told as _;

/// How many users of a grant are named.
const MAX_NAMED: usize = 5;
/// Kinds of what a grant consists of.
const KINDS: &[Kind] = &[("rbac.authorization.k8s.io/v1", "RoleBinding"), ("rbac.authorization.k8s.io/v1", "Role")];
/// Kinds of korder's programs.
const PROGRAMS: &[Kind] = &[("apps/v1", "Deployment")];

/// A service account that the controllers may act as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) account: String,
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |name: &str, dots: bool| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            name.starts_with(inner)
                && name.ends_with(inner)
                && name.len() <= if dots { 253 } else { 63 }
                && name.chars().all(|c| inner(c) || c == '-' || (dots && c == '.'))
        };
        match text.split_once('/') {
            Some((namespace, account)) if is_name(namespace, false) && is_name(account, true) => {
                Ok(Self { namespace: namespace.to_owned(), account: account.to_owned() })
            }
            _ => Err("it is not of the form `NAMESPACE/SERVICE-ACCOUNT`".to_owned()),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.account)
    }
}

/// The grants that objects give, and these.
pub(super) fn with(existing: &[DynamicObject], added: &[Grant]) -> BTreeSet<Grant> {
    let there = existing.iter().flat_map(|object| of(&object.metadata, &object.data["rules"]));
    there.chain(added.iter().cloned()).collect()
}

/// The grants that Roles give.
pub(crate) fn granted<'a>(roles: impl IntoIterator<Item = &'a Role>) -> BTreeSet<Grant> {
    roles.into_iter().flat_map(|role| of(&role.metadata, &serde_json::json!(role.rules))).collect()
}

fn of(metadata: &ObjectMeta, rules: &Value) -> Vec<Grant> {
    let accounts = granted_accounts(metadata.name.as_deref().unwrap_or_default(), rules).into_iter();
    let namespace = metadata.namespace.clone().unwrap_or_default();
    accounts.map(|account| Grant { namespace: namespace.clone(), account }).collect()
}

/// The objects that give grants.
pub(crate) fn manifests(grants: &BTreeSet<Grant>) -> Vec<DynamicObject> {
    let mut accounts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for Grant { namespace, account } in grants {
        accounts.entry(namespace).or_default().insert(account.clone());
    }
    accounts.iter().flat_map(|(namespace, accounts)| namespace_grant(namespace, accounts)).collect()
}

/// Adds grants where korder is installed already, and leaves all the rest as it is; nothing is done where it is not.
pub(crate) async fn grant(client: &Client, added: &[Grant], dry_run: bool) -> anyhow::Result<Option<Vec<Change>>> {
    let (programs, existing) =
        futures::future::try_join(objects::existing(client, None, PROGRAMS), objects::existing(client, None, KINDS))
            .await?;
    if programs.is_empty() {
        return Ok(None);
    }
    if let Some(release) = programs.iter().find_map(installed_by_helm) {
        bail!(left_to_helm(&release));
    }
    let wanted = manifests(&with(&existing, added));
    let wanted: Vec<_> = wanted
        .into_iter()
        .filter(|object| added.iter().any(|grant| object.namespace().as_deref() == Some(&grant.namespace)))
        .collect();
    Ok(Some(apply::apply(client, &wanted, &existing, dry_run).await?))
}

/// Which accounts of grants are not there yet, in words.
pub(crate) async fn without_account(client: &Client, grants: &[Grant]) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    for grant in grants {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &grant.namespace);
        let found = accounts.get_metadata_opt(&grant.account).await;
        if found.told(|| format!("see the service account `{grant}`"))?.is_none() {
            notes
                .push(format!("there is no service account `{grant}` yet: give it rights before units are made as it"));
        }
    }
    Ok(notes)
}

/// Takes grants away, all of them or, where one is not there or in use, none.
pub(crate) async fn revoke(client: &Client, revoked: &[Grant], dry_run: bool) -> anyhow::Result<Vec<Change>> {
    let existing = objects::existing(client, None, KINDS).await?;
    if let Some(release) = existing.iter().find_map(installed_by_helm) {
        bail!(left_to_helm(&release));
    }
    let mut left = with(&existing, &[]);
    for grant in revoked {
        if !left.remove(grant) {
            let all: Vec<String> = left.iter().map(|grant| format!("`{grant}`")).collect();
            let all =
                if all.is_empty() { "there is none".to_owned() } else { format!("granted are {}", all.join(", ")) };
            bail!(Hinted::new(format!("`{grant}` is not granted"), all));
        }
    }
    for grant in revoked {
        let users = users(client, grant, &left).await?;
        if !users.is_empty() {
            bail!(Hinted::new(
                format!("the grant `{grant}` is in use, by {}", some(&users)),
                format!(
                    "delete {} first, and wait until they are gone: what units consist of is torn down as `{grant}`",
                    if users.len() == 1 { "it" } else { "them" }
                ),
            ));
        }
    }
    let wanted = manifests(&left);
    let touched = |object: &&DynamicObject| {
        object.name_any() == GRANT_NAME
            && revoked.iter().any(|grant| object.namespace().as_deref() == Some(&grant.namespace))
    };
    let wanted: Vec<_> = wanted.iter().filter(touched).cloned().collect();
    let existing: Vec<_> = existing.iter().filter(touched).cloned().collect();
    let mut changes = apply::apply(client, &wanted, &existing, dry_run).await?;
    changes.extend(apply::prune(client, &wanted, &existing, dry_run).await?);
    changes.retain(|change| change.what != What::Unchanged);
    Ok(changes)
}

fn left_to_helm(release: &str) -> Hinted {
    Hinted::new(
        format!("korder was installed by Helm, as the release `{release}`"),
        format!(
            "write the grants into its values, as in `helm upgrade {release} CHART --namespace {SYSTEM_NAMESPACE} --reuse-values \
             --set 'namespaceGrants.NAMESPACE={{SERVICE-ACCOUNT}}'`"
        ),
    )
}

/// What needs a grant that is to go, as `inventory/db`; `left` are those that stay.
async fn users(client: &Client, grant: &Grant, left: &BTreeSet<Grant>) -> anyhow::Result<Vec<String>> {
    let namespace = &grant.namespace;
    let (inventories, stocks, orders) = futures::future::try_join3(
        list::<Inventory>(client, namespace),
        list::<Stock>(client, namespace),
        list::<Order>(client, namespace),
    )
    .await?;
    let is_last = !left.iter().any(|other| other.namespace == *namespace);
    let uses = |item: &Item| match need(item) {
        Need::Account => sku::account(item) == grant.account,
        Need::Secrets => is_last,
        Need::Nothing => false,
    };
    let inventories = inventories.iter().filter(|inventory| uses(&inventory.spec.item));
    let stocks = stocks.iter().filter(|stock| uses(&stock.spec.item));
    let orders = orders.iter().filter(|order| {
        let to_secret = order.spec.deliver.as_ref().is_some_and(|deliver| deliver.secret_name.is_some());
        to_secret && is_last && order.status.as_ref().is_none_or(|status| status.finish_time.is_none())
    });
    Ok(inventories
        .map(|inventory| format!("`inventory/{}`", inventory.name_any()))
        .chain(stocks.map(|stock| format!("`stock/{}`", stock.name_any())))
        .chain(orders.map(|order| format!("`order/{}`", order.name_any())))
        .collect())
}

/// What of a grant the units of an item need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To act as the item's account: it makes the objects.
    Account,
    /// To keep secrets in the namespace, whichever account the grant is for.
    Secrets,
    /// Nothing: the controllers may make Jobs everywhere.
    Nothing,
}

/// What of a grant the units of this item need.
pub(crate) fn need(item: &Item) -> Need {
    let is_sensitive = item.outputs.iter().any(Output::is_sensitive);
    if item.operation.job.is_none() {
        Need::Account
    } else if is_sensitive {
        Need::Secrets
    } else {
        Need::Nothing
    }
}

/// The objects of a kind in a namespace; none where the cluster does not have the kind.
async fn list<K>(client: &Client, namespace: &str) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned,
{
    match Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(vec![]),
        listed => Ok(listed.told(|| format!("list the {} of `{namespace}`", K::plural(&())))?.items),
    }
}

/// The first of them, and how many more there are.
fn some(all: &[String]) -> String {
    let named = all.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > MAX_NAMED { format!("{named} and {} more", all.len() - MAX_NAMED) } else { named }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grant(text: &str) -> Grant {
        text.parse().unwrap()
    }

    #[test]
    fn a_grant_names_a_namespace_and_an_account() {
        assert_eq!(grant("team-a/builder.v2").to_string(), "team-a/builder.v2");
        for bad in ["builder", "/builder", "team-a/", "team-a/*", "team.a/builder", "a/b/c", "team-a/-b", "A/b", "é/b"]
        {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_installation_keeps_what_was_granted() {
        let first = with(&[], &[grant("team-a/builder"), grant("team-b/builder")]);
        let objects = manifests(&first);
        assert_eq!(objects.len(), 4, "a Role and its binding for each namespace");
        let second = with(&objects, &[grant("team-a/deployer")]);
        let named: Vec<String> = second.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["team-a/builder", "team-a/deployer", "team-b/builder"]);
        assert_eq!(manifests(&second).len(), 4);
    }

    #[test]
    fn what_acts_as_the_account_needs_its_grant() {
        let item = |json| serde_json::from_value::<Item>(json).unwrap();
        let job = json!({ "operation": { "job": { "template": {} } } });
        assert_eq!(need(&item(job.clone())), Need::Nothing);
        let mut secretive = job;
        secretive["outputs"] = json!([{ "name": "key", "from": { "result": "key" }, "sensitive": true }]);
        assert_eq!(need(&item(secretive)), Need::Secrets);
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "$(stock.name)" } });
        assert_eq!(need(&item(json!({ "operation": { "manifests": [config] } }))), Need::Account);
    }
}
