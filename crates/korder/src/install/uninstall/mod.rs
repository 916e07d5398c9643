//! Taking korder away: what it installed, what it made, and on request the kinds with all their objects.

mod pods;
mod stock;
mod survey;

use std::time::Duration;

use anyhow::{anyhow, bail};
use cli::Hinted;
use k8s_openapi::api::core::v1::Pod;
use korder_api::names::{LABEL_ROLE, ROLE_GUARDIAN, SYSTEM_NAMESPACE};
use korder_manifests::PART_OF;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep};

use super::effect::SETTLING;
use super::objects::{
    GATE_AND_GRANTS, INSTALLED, MADE_BY_PROGRAMS, api_of, existing, installed_by_helm, is_definition, is_gate,
    is_grant, labelled, made_by_name, shown,
};
use super::{apply, discover, gate};
use crate::told::Told as _;

pub(crate) use survey::Survey;

/// How long the namespace, with the grace periods of the pods in it, and the kinds may take to go.
const GONE_DEADLINE: Duration = Duration::from_mins(3);
/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long the pods may take that are to be let go.
const PODS_DEADLINE: Duration = Duration::from_mins(2);

/// What to take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What holds pods and places, and what the programs made for themselves; whoever installed the rest removes it.
    Pods,
    /// All that was installed.
    All {
        /// The kinds too, and with them all orders, tickets, quotas, inventories and stocks.
        kinds: bool,
    },
}

/// What was taken away, and what was not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uninstalled {
    /// The objects, as `deployment/korder-webhook`.
    pub(crate) removed: Vec<String>,
    /// How many guardian pods went.
    pub(crate) guardians: usize,
    /// How many pods no longer wait for a ticket.
    pub(crate) released: usize,
    /// What stays, and why.
    pub(crate) kept: Vec<String>,
}

/// What there is to take away: objects of the installation, and what it serves.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    ours: Vec<DynamicObject>,
    definitions: Vec<DynamicObject>,
    /// How many objects of each kind there are, by the kind's plural name.
    objects: Vec<(String, usize)>,
    survey: Survey,
}

impl Found {
    /// Whether nothing is there that this scope is about.
    pub(crate) fn is_nothing(&self, scope: Scope) -> bool {
        let kinds = scope == Scope::All { kinds: true } && !self.definitions.is_empty();
        self.ours.is_empty() && !kinds && !self.survey.holds_pods()
    }

    /// What will become of it, for whoever is asked.
    pub(crate) fn lines(&self, scope: Scope) -> Vec<String> {
        let mut lines = self.survey.lines();
        lines.push(match scope {
            Scope::All { kinds: true } => {
                format!("With the kinds these are deleted for good: {}.", counted(&self.objects))
            }
            Scope::All { kinds: false } => {
                format!("These stay as objects, and hold nothing: {}.", counted(&self.objects))
            }
            Scope::Pods => "Orders and tickets stay as objects, and hold nothing.".to_owned(),
        });
        let units = self.objects.iter().find(|(kind, _)| kind == "stocks").map_or(0, |(_, count)| *count);
        if scope == (Scope::All { kinds: true }) && units > 0 {
            lines.push(format!(
                "What {units} units of stock consist of is left where it is. To have it torn down, delete the inventories and the orders \
                 that hold units first, and wait until `kubectl get kst -A` shows none."
            ));
        }
        lines
    }
}

/// Looks what there is to take away.
pub(crate) async fn find(client: &Client, scope: Scope) -> anyhow::Result<Found> {
    let policies = gate::served(&discover(client).await?);
    let mut ours = match scope {
        Scope::All { .. } => existing(client, policies, &[INSTALLED, MADE_BY_PROGRAMS].concat()).await?,
        Scope::Pods => {
            let holding = [GATE_AND_GRANTS, MADE_BY_PROGRAMS].concat();
            existing(client, policies, &holding).await?
        }
    };
    if let (Scope::All { .. }, Some(release)) = (scope, ours.iter().find_map(installed_by_helm)) {
        bail!(Hinted::new(
            format!("korder was installed by Helm, as the release `{release}`"),
            format!(
                "remove it by `helm uninstall {release} --namespace {SYSTEM_NAMESPACE}`: that lets go of waiting pods, too"
            ),
        ));
    }
    ours.extend(made_by_name(client).await?);
    let definitions = match scope {
        Scope::All { .. } => labelled(client, "apiextensions.k8s.io/v1", "CustomResourceDefinition").await?,
        Scope::Pods => vec![],
    };
    let (objects, survey) =
        futures::future::try_join(survey::objects(client, &definitions), survey::survey(client)).await?;
    Ok(Found { ours, definitions, objects, survey })
}

fn counted(objects: &[(String, usize)]) -> String {
    let each: Vec<String> = objects.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if each.is_empty() { "none".to_owned() } else { each.join(", ") }
}

/// Takes korder away. What was done already is skipped: killed at any point, it is run again.
///
/// First the gate, so that no pod begins to wait, and the programs' rights, so that they undo nothing; then what they
/// made; the rest last.
pub(crate) async fn uninstall(
    client: &Client,
    found: Found,
    scope: Scope,
    dry_run: bool,
) -> anyhow::Result<Uninstalled> {
    let Found { ours, definitions, objects, survey } = found;
    let mut done = Uninstalled::default();
    let (first, rest): (Vec<_>, Vec<_>) = ours.into_iter().partition(|object| is_gate(object) || is_grant(object));

    remove(client, &first, dry_run, &mut done).await?;
    let trouble = let_go(client, dry_run, !first.is_empty(), &mut done).await?;
    remove(client, &rest, dry_run, &mut done).await?;

    if let Scope::All { kinds } = scope {
        if kinds {
            remove(client, &definitions, dry_run, &mut done).await?;
        } else if !definitions.is_empty() {
            done.kept.push(format!(
                "the kinds, with their objects ({}), which hold nothing until `korder install` serves them again; \
                 `korder uninstall --crds` deletes them",
                counted(&objects)
            ));
        }
        let in_namespace = if kinds { 0 } else { survey.orders_in(SYSTEM_NAMESPACE) };
        remove_namespace(client, in_namespace, dry_run, &mut done).await?;
        if kinds && !dry_run {
            gone(client, &definitions).await?;
        }
    }
    match trouble {
        None => Ok(done),
        Some(trouble) => Err(anyhow!(Hinted::new(
            format!("not all pods could be let go of: {trouble}"),
            "see what keeps them, then run `korder uninstall` again: it goes on where it stands",
        ))),
    }
}

/// Removes guardians, takes gates off and lets go of pods that produce stock until there are none; what could not be done.
///
/// API servers and the controllers learn some time after it that the gate and the rights are gone, so that pods may be
/// gated and guardians made for so long.
async fn let_go(
    client: &Client,
    dry_run: bool,
    just_stopped: bool,
    done: &mut Uninstalled,
) -> anyhow::Result<Option<String>> {
    let begun = Instant::now();
    let (mut guardians, mut released, mut untied) =
        (pods::Passed::default(), pods::Passed::default(), pods::Passed::default());
    loop {
        let gone = pods::remove_guardians(client, dry_run).await?;
        let freed = pods::release(client, dry_run).await?;
        let loose = pods::untie(client, dry_run).await?;
        let is_clean = gone.is_nothing() && freed.is_nothing() && loose.is_nothing();
        (guardians, released, untied) = (guardians.then(gone), released.then(freed), untied.then(loose));
        let is_settled = !just_stopped || begun.elapsed() > SETTLING;
        if dry_run || is_clean && is_settled || begun.elapsed() > PODS_DEADLINE {
            break;
        }
        sleep(INTERVAL).await;
    }
    (done.guardians, done.released) = (guardians.written, released.written);
    Ok(guardians.trouble().or(released.trouble()).or(untied.trouble()))
}

async fn remove(
    client: &Client,
    objects: &[DynamicObject],
    dry_run: bool,
    done: &mut Uninstalled,
) -> anyhow::Result<()> {
    for object in objects {
        apply::delete(client, object, dry_run).await?;
        done.removed.push(shown(object));
    }
    Ok(())
}

/// Removes the namespace, unless something in it is not ours.
async fn remove_namespace(client: &Client, orders: usize, dry_run: bool, done: &mut Uninstalled) -> anyhow::Result<()> {
    let namespaces = labelled(client, "v1", "Namespace").await?;
    let Some(namespace) = namespaces.iter().find(|namespace| namespace.name_any() == SYSTEM_NAMESPACE) else {
        return Ok(());
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let foreign = api
        .list(&ListParams::default().labels(&format!("{PART_OF}!=korder,{LABEL_ROLE}!={ROLE_GUARDIAN}")))
        .await
        .told(|| "list the pods of korder's namespace".into())?;
    if let Some(what) = match (foreign.items.len(), orders) {
        (0, 0) => None,
        (0, orders) => Some(format!("{orders} orders")),
        (pods, _) => Some(format!("{pods} pods that are not korder's")),
    } {
        done.kept.push(format!("the namespace `{SYSTEM_NAMESPACE}`: it holds {what}"));
        return Ok(());
    }
    remove(client, std::slice::from_ref(namespace), dry_run, done).await?;
    if dry_run { Ok(()) } else { gone(client, std::slice::from_ref(namespace)).await }
}

/// Waits until the objects are gone.
async fn gone(client: &Client, objects: &[DynamicObject]) -> anyhow::Result<()> {
    let end = Instant::now() + GONE_DEADLINE;
    for object in objects {
        while is_there(client, object).await? {
            if is_definition(object) {
                stock::untie(client).await?;
            }
            if Instant::now() > end {
                bail!(Hinted::new(
                    format!("`{}` is still being deleted after {} s", shown(object), GONE_DEADLINE.as_secs()),
                    "see what holds it: its conditions tell, `kubectl get -o yaml`; then run `korder uninstall` again",
                ));
            }
            sleep(INTERVAL).await;
        }
    }
    Ok(())
}

async fn is_there(client: &Client, object: &DynamicObject) -> anyhow::Result<bool> {
    let found = api_of(client, object).get_metadata_opt(&object.name_any()).await;
    let found = found.told(|| format!("see whether `{}` is gone", shown(object)))?;
    Ok(found.is_some_and(|found| found.uid() == object.uid()))
}
