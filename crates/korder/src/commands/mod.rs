//! The subcommands, a module each: its arguments and what it does.

mod chart;
mod completion;
mod controller;
mod crds;
mod doctor;
mod down;
mod install;
mod resource_quota;
mod status;
mod uninstall;
mod up;
mod version;
mod webhook;
mod why;

use clap::Subcommand;
use cli::Printer;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start an embedded Kubernetes with korder on it, or resume it
    Up(up::Arguments),
    /// Stop what `korder up` started; its state stays
    Down(down::Arguments),
    /// Install korder on a cluster, or bring it up to date
    Install(install::Arguments),
    /// Take korder off a cluster
    Uninstall(uninstall::Arguments),
    /// Check whether a cluster is fit for korder, and korder on it well
    Doctor(doctor::Arguments),
    /// Print the definitions of korder's kinds
    Crds,
    /// Write the Helm chart of this version
    Chart(chart::Arguments),
    /// Run the controllers, as the Deployment `korder-controller-manager` does
    Controller(controller::Arguments),
    /// Run the admission webhook, as the Deployment `korder-webhook` does
    Webhook(webhook::Arguments),
    /// Tell why a pod has no ticket, or who could have a ticket; also as `kubectl korder why`
    Why(why::Arguments),
    /// Print or write the resource quotas of a namespace such that they don't count guardians
    ResourceQuota(resource_quota::Arguments),
    /// Show what `korder up` has running
    Status(status::Arguments),
    /// Print the script by which a shell completes korder's commands
    Completion(completion::Arguments),
    /// Print the version
    Version(version::Arguments),
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self, printer: Printer) -> anyhow::Result<()> {
        match self {
            Self::Up(arguments) => up::run(arguments, printer).await,
            Self::Down(arguments) => down::run(arguments, printer).await,
            Self::Install(arguments) => install::run(arguments, printer).await,
            Self::Uninstall(arguments) => uninstall::run(arguments, printer).await,
            Self::Doctor(arguments) => doctor::run(arguments, printer).await,
            Self::Crds => crds::run(printer),
            Self::Chart(arguments) => chart::run(&arguments),
            Self::Controller(arguments) => controller::run(arguments).await,
            Self::Webhook(arguments) => webhook::run(arguments).await,
            Self::Why(arguments) => why::run(arguments, printer).await,
            Self::ResourceQuota(arguments) => resource_quota::run(arguments, printer).await,
            Self::Status(arguments) => status::run(arguments, printer).await,
            Self::Completion(arguments) => completion::run(&arguments, printer),
            Self::Version(arguments) => version::run(&arguments, printer),
        }
    }
}
