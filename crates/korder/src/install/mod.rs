//! Puts korder on a cluster, and takes it away again.
//!
//! Everything is applied by server-side apply under one field manager, so that installing again mends what was
//! changed and upgrading removes what is no longer part of korder. `korder up` and `korder install` share this code.

mod apply;
mod clashes;
mod credentials;
mod effect;
mod gate;
mod grants;
mod objects;
mod ready;
mod uninstall;
mod version;

use std::fmt;
use std::time::Duration;

use anyhow::bail;
use cli::Hinted;
use korder_manifests::{Gate, Profile};
use kube::api::PatchParams;
use kube::{Client, Discovery};

use crate::told::Told as _;

pub(crate) use clashes::{clashes as name_clashes, served_resources};
pub(crate) use credentials::service_account_kubeconfig;
pub(crate) use effect::{Effect, of_gate as gate_effect, of_refusal as refusal_effect};
pub(crate) use gate::{GateForm, served as served_policies};
pub(crate) use grants::{
    Grant, Need as GrantNeed, grant, granted, manifests as grant_manifests, need as grant_need, revoke, without_account,
};
pub(crate) use ready::{is_available, wait_ready};
pub(crate) use uninstall::{Scope, find, uninstall};
pub(crate) use version::{TESTED_MINORS, check as check_version, minor};

/// The image of this version.
pub(crate) const IMAGE: &str = concat!("korder:", env!("CARGO_PKG_VERSION"));
/// The field manager of everything that is installed.
const FIELD_MANAGER: &str = "korder-install";
/// Bound of a whole installation; it takes a second where the cluster answers well.
const DEADLINE: Duration = Duration::from_mins(3);

/// Parameters of a patch of ours that is no apply.
fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// What to install, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where the programs run.
    pub(crate) profile: Profile,
    /// The form of the gate; where not given, a policy if the cluster can, else a webhook.
    pub(crate) gate: Option<GateForm>,
    /// Accounts that the controllers may act as, besides those of before.
    pub(crate) grants: Vec<Grant>,
    /// Ask the cluster what would come of it and change nothing.
    pub(crate) dry_run: bool,
}

/// What was done.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    /// Version of the cluster, as `v1.36.3`.
    pub(crate) kubernetes: String,
    /// The form that the gate took.
    pub(crate) gate: Gate,
    /// What became of each object.
    pub(crate) changes: Vec<Change>,
    /// What the user should know about the cluster.
    pub(crate) notes: Vec<String>,
}

/// What became of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Kind and name, as `deployment/korder-webhook`.
    pub(crate) object: String,
    /// What was done to it.
    pub(crate) what: What,
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It was not there.
    Created,
    /// It was different.
    Changed,
    /// It was as it should be.
    Unchanged,
    /// It is not part of korder any more.
    Removed,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
        })
    }
}

/// Installs korder, or brings it up to date.
///
/// Returns when the kinds can be used and the policies have effect. The programs may still be starting; with the gate
/// as a webhook, pods that ask for a ticket are refused until it runs.
pub(crate) async fn install(client: &Client, options: &Options) -> anyhow::Result<Installed> {
    match tokio::time::timeout(DEADLINE, install_unbounded(client, options)).await {
        Ok(result) => result,
        Err(_) => bail!(Hinted::new(
            format!("the installation is not done after {} s", DEADLINE.as_secs()),
            "see whether the cluster answers (`kubectl get --raw /readyz?verbose`), then install again: \
             what is there stays"
        )),
    }
}

async fn install_unbounded(client: &Client, options: &Options) -> anyhow::Result<Installed> {
    let kubernetes = client.apiserver_version().await.told(|| "ask the cluster for its version".into())?;
    version::check(&kubernetes)?;
    let discovery = discover(client).await?;
    let gate = gate::choose(options.gate, gate::served(&discovery))?;
    let existing = objects::existing(client, gate::served(&discovery), objects::INSTALLED).await?;
    if matches!(options.profile, Profile::InCluster { .. }) && existing.iter().any(objects::runs_on_host) {
        bail!(Hinted::new(
            "this is an embedded cluster whose korder runs on the host, started by `korder up`",
            "`korder up` keeps it up to date; to run korder as pods instead, `korder uninstall` first"
        ));
    }
    if let Some(release) = existing.iter().find_map(objects::installed_by_helm) {
        bail!(Hinted::new(
            format!("korder was installed by Helm, as the release `{release}`"),
            "bring it up to date by `helm upgrade`, or remove it first by `helm uninstall`"
        ));
    }
    // The grants first: one that can't be given is told before anything is changed.
    let mut wanted = grants::manifests(&grants::with(&existing, &options.grants));
    let profile = options.profile.clone();
    wanted.extend(korder_manifests::manifests(&korder_manifests::Options { profile, gate }));

    let clashes = name_clashes(&served_resources(&discovery)).into_iter();
    let mut notes: Vec<_> = clashes.map(|clash| format!("{}: {}", clash.message, clash.advice)).collect();
    notes.extend(grants::without_account(client, &options.grants).await?);
    let mut changes = apply::apply(client, &wanted, &existing, options.dry_run).await?;
    if !options.dry_run {
        apply::established(client, &wanted).await?;
        // A webhook that is to go answers for the policy that takes its place, so that one look tells nothing.
        let replaced = existing.iter().any(objects::is_gate_webhook) && gate != Gate::Webhook;
        let untold = effect::wait(client, gate, settling(&options.profile, replaced)).await?;
        notes.extend(untold.map(|reason| format!("the policies could not be tried out: {reason}")));
    }
    changes.extend(apply::prune(client, &wanted, &existing, options.dry_run).await?);
    Ok(Installed { kubernetes: kubernetes.git_version, gate, changes, notes })
}

/// Which kinds the cluster serves.
pub(crate) async fn discover(client: &Client) -> anyhow::Result<Discovery> {
    Discovery::new(client.clone()).run_aggregated().await.told(|| "ask the cluster which kinds it serves".into())
}

/// How long the policies must be seen to have effect.
fn settling(profile: &Profile, gate_replaced: bool) -> Duration {
    // An embedded cluster has one API server: what it was once seen to do, it does.
    if matches!(profile, Profile::Host { .. }) && !gate_replaced { Duration::ZERO } else { effect::SETTLING }
}
