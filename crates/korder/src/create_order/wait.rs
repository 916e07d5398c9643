//! Waiting until an order has what it asks for.

use std::time::Duration;

use anyhow::bail;
use cli::{Answer, Hinted, Printer, Progress};
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use korder_api::Order;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client, ResourceExt as _};

/// The exit code of an order that is placed and not filled in time.
const NOT_FILLED: u8 = 3;

/// How far an order is, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has what it asks for.
    Filled(String),
    /// It may still get it.
    Waiting(String),
    /// It gets nothing until somebody acts.
    Failed(String),
}

/// How far an order is.
pub(super) fn stage(order: &Order) -> Stage {
    let Some(status) = &order.status else { return Stage::Waiting("not looked at yet".to_owned()) };
    let holds = |type_: &str| {
        let seen = |condition: &&Condition| condition.type_ == type_ && condition.status == "True";
        status.conditions.iter().find(seen)
    };
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let message = ready.map_or_else(String::new, |ready| format!("{}: {}", ready.reason, ready.message));
    let is_current = status.observed_generation >= order.metadata.generation;
    let is_request = order.spec.template.is_none();
    let is_filled = if is_request { status.filled_time.is_some() } else { is_current && holds("Ready").is_some() };
    if is_current && (holds("Failed").is_some() || holds("Stalled").is_some()) {
        Stage::Failed(message)
    } else if is_filled {
        Stage::Filled(message)
    } else {
        Stage::Waiting(message)
    }
}

/// Waits until the order that was placed is filled; exit code 3 where it is not in time.
pub(super) async fn until_filled(
    client: &Client,
    namespace: &str,
    placed: &DynamicObject,
    timeout: Duration,
    printer: Printer,
) -> anyhow::Result<()> {
    let name = placed.name_any();
    let progress = Progress::start(printer, format_args!("Waiting until the order `{name}` is filled"));
    let orders: Api<Order> = Api::namespaced(client.clone(), namespace);
    let mut seen = std::pin::pin!(watch_object(orders, &name).backoff(watcher::DefaultBackoff::default()));
    let looking = async {
        while let Some(looked) = seen.next().await {
            let order = match looked {
                Ok(order) => order.filter(|order| order.uid() == placed.uid()),
                Err(error) => {
                    printer.detail(format_args!("cannot watch the order, and try again: {error}"));
                    continue;
                }
            };
            let Some(order) = order else { bail!("the order `{name}` was deleted while it was waited for") };
            match stage(&order) {
                Stage::Filled(message) => return Ok(message),
                Stage::Waiting(message) => progress.update(message),
                Stage::Failed(message) => bail!(Hinted::new(
                    format!("the order `{name}` is not filled: {message}"),
                    format!("`korder why order/{name} -n {namespace}` tells why; the order stays"),
                )),
            }
        }
        bail!("the watch of the order `{name}` has ended")
    };
    if let Ok(filled) = tokio::time::timeout(timeout, looking).await {
        progress.finish(filled?);
        return Ok(());
    }
    drop(progress);
    printer.note(format_args!(
        "the order `{name}` is not filled after {} s, and goes on waiting; `korder why order/{name} -n {namespace}` tells why",
        timeout.as_secs()
    ));
    Err(Answer(NOT_FILLED).into())
}
