//! `kubectl create order`: the plugin that kubectl finds by the name `kubectl-create-order`, another name of this program.

mod completion;
mod order;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use cli::Printer;
use korder_api::order::{IfNoInventory, RefreshPolicy};
use korder_api::{Order, Quantity};
use kube::api::{DynamicObject, PostParams};
use kube::core::Request;
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::Value;

use crate::connection::{Connection, Namespace};
use crate::told::Told as _;
use crate::yaml;

pub(crate) use completion::complete;

/// The name under which kubectl finds the plugin.
pub(crate) const PROGRAM: &str = "kubectl-create-order";
/// The name under which kubectl finds what completes its arguments.
pub(crate) const COMPLETION: &str = "kubectl_complete-create-order";
/// The field manager of orders placed by it.
const FIELD_MANAGER: &str = PROGRAM;

/// What the plugin's help ends with.
const AFTER_HELP: &str = "Examples:
  # Three places of half a core, held for a day for whoever asks for them
  kubectl create order web --cpu 500m --memory 1Gi --replicas 3 --for 24h
  # A unit from an inventory's shelf, its outputs in a Secret, given back after eight hours
  kubectl create order my-db --inventory databases --deliver-secret my-db --hold-for 8h --wait
  # What a file says how to make; nothing is placed, the order is printed
  kubectl create order build --item-file item.yaml --input GIT_SHA=4f1c2a --dry-run=client -o yaml

Exit code: 0 if the order is placed (with --wait: and filled), 3 if it is placed and not filled
in time, 1 if something failed, 2 for wrong usage";

/// Place an order: for node capacity, or for units of stock
#[derive(Debug, Parser)]
#[command(
    name = "kubectl create order",
    bin_name = "kubectl create order",
    version,
    after_help = AFTER_HELP,
    group(clap::ArgGroup::new("what").required(true).multiple(true).args(["cpu", "memory", "item_file", "inventory"]))
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    global: cli::GlobalArgs,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    namespace: Namespace,
    /// Name of the order
    name: String,
    /// How many tickets, or units of stock [default: 1]
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u32>,
    /// How long each place is held for nobody; of stock: after how long units are given back [default: when the order is deleted]
    #[arg(
        long = "for",
        visible_alias = "hold-for",
        value_name = "DURATION",
        required_unless_present_any = ["item_file", "inventory"]
    )]
    lasting: Option<korder_api::Duration>,
    /// Wait until the order has what it asks for
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "10m", requires = "wait")]
    timeout: korder_api::Duration,
    /// Place no order: `client` asks nobody, `server` lets the cluster judge it
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<DryRun>,
    /// Print the order in this form
    #[arg(long, short, value_name = "FORM")]
    output: Option<Output>,
    // Last, since what follows has their headings.
    #[command(flatten)]
    capacity: Capacity,
    #[command(flatten)]
    stock: Stock,
}

/// What each place has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Capacity")]
pub(crate) struct Capacity {
    /// CPU of each place, as in `500m` or `2`
    #[arg(long, value_name = "QUANTITY", conflicts_with_all = ["item_file", "inventory"])]
    cpu: Option<Quantity>,
    /// Memory of each place, as in `1Gi`
    #[arg(long, value_name = "QUANTITY", conflicts_with_all = ["item_file", "inventory"])]
    memory: Option<Quantity>,
    /// A label of the nodes (repeatable)
    #[arg(long = "node-selector", value_name = "KEY=VALUE", value_parser = pair, conflicts_with_all = ["item_file", "inventory"])]
    node_selector: Vec<(String, String)>,
    /// Priority class of the pods that the places are for
    #[arg(long, value_name = "NAME", conflicts_with_all = ["item_file", "inventory"])]
    priority_class: Option<String>,
    /// Which tickets are made again [default: `OnClaim`]
    #[arg(long, value_name = "POLICY", value_parser = refresh_policy, conflicts_with_all = ["item_file", "inventory"])]
    refresh_policy: Option<RefreshPolicy>,
}

/// Which units, and what becomes of them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Stock")]
pub(crate) struct Stock {
    /// File that says how a unit is made: what `spec.item` of an Order is, YAML or JSON; `-` reads the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "inventory")]
    item_file: Option<PathBuf>,
    /// The inventory that units come from, as `NAME` or `NAMESPACE/NAME`
    #[arg(long, value_name = "NAME")]
    inventory: Option<String>,
    /// An input of the item (repeatable)
    #[arg(long = "input", value_name = "KEY=VALUE", value_parser = pair, conflicts_with_all = ["cpu", "memory"])]
    inputs: Vec<(String, String)>,
    /// Secret to make of a unit's outputs
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cpu", "memory", "deliver_configmap"])]
    deliver_secret: Option<String>,
    /// Config map to make of a unit's outputs
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cpu", "memory"])]
    deliver_configmap: Option<String>,
    /// Place in line: higher goes first
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, conflicts_with_all = ["cpu", "memory"])]
    priority: Option<i32>,
    /// What happens where no inventory has the item: Create, Wait or Reject [default: Create]
    #[arg(long, value_name = "ACTION", value_parser = if_no_inventory, conflicts_with_all = ["cpu", "memory", "inventory"])]
    if_no_inventory: Option<IfNoInventory>,
}

/// Where an order is tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// Nowhere: the order is placed
    None,
    /// Here
    Client,
    /// On the cluster
    Server,
}

/// A form of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A YAML document
    Yaml,
    /// A JSON document
    Json,
    /// `order.core.korder.dev/NAME`
    Name,
}

impl Arguments {
    /// The printer that the arguments ask for.
    pub(crate) fn printer(&self) -> Printer {
        self.global.printer()
    }
}

/// Places the order.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let order = order::order(&arguments)?;
    let Arguments { connection, namespace, wait, timeout, dry_run, output, .. } = arguments;
    let dry_run = dry_run.filter(|&dry_run| dry_run != DryRun::None);
    if dry_run == Some(DryRun::Client) {
        return show(printer, &order, output, " (dry run)");
    }
    let client = connection.client().await?;
    let namespace = namespace.name(&client);
    let placed = place(&client, &namespace, &order, dry_run.is_some()).await?;
    if !wait {
        let tried = if dry_run.is_some() { " (server dry run)" } else { "" };
        return show(printer, &serde_json::to_value(&placed)?, output, tried);
    }
    if output.is_none() {
        show(printer, &serde_json::to_value(&placed)?, None, "")?;
    }
    let waited = wait::until_filled(&client, &namespace, &placed, timeout.get(), printer).await;
    // What became of it is printed even where it is not what was waited for.
    if output.is_some() {
        let now = read(&client, &namespace, &placed.name_any()).await?;
        show(printer, &now, output, "")?;
    }
    waited
}

/// Creates the order; a field that the cluster does not know is an error, as it is for `kubectl create`.
async fn place(client: &Client, namespace: &str, order: &Value, dry_run: bool) -> anyhow::Result<DynamicObject> {
    let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let name = order["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut request = Request::new(Order::url_path(&(), Some(namespace)))
        .create(&params, serde_json::to_vec(order)?)
        .context("cannot put the request together")?;
    let strict = format!("{}&fieldValidation=Strict", request.uri());
    *request.uri_mut() = strict.parse().context("cannot put the request together")?;
    client.request(request).await.told(|| format!("place the order `{name}` in namespace `{namespace}`"))
}

async fn read(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Value> {
    let request = Request::new(Order::url_path(&(), Some(namespace)))
        .get(name, &kube::api::GetParams::default())
        .context("cannot put the request together")?;
    client.request(request).await.told(|| format!("read the order `{name}`"))
}

/// Prints an order as kubectl does what it has created.
fn show(printer: Printer, order: &Value, output: Option<Output>, tried: &str) -> anyhow::Result<()> {
    let name = format!("order.core.korder.dev/{}", order["metadata"]["name"].as_str().unwrap_or_default());
    let mut order = order.clone();
    if let Some(metadata) = order["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    match output {
        None => printer.result(format_args!("{name} created{tried}"))?,
        Some(Output::Name) => printer.result(name)?,
        Some(Output::Json) => printer.json(&order)?,
        Some(Output::Yaml) => printer.result(yaml::document(&order)?.trim_end())?,
    }
    Ok(())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is not of the form `KEY=VALUE`".to_owned()),
    }
}

/// A value of one of the API's enumerations, by its name there.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|error| error.to_string())
}

fn refresh_policy(text: &str) -> Result<RefreshPolicy, String> {
    named(text)
}

fn if_no_inventory(text: &str) -> Result<IfNoInventory, String> {
    named(text)
}

/// How long the longest question to a cluster takes that a shell waits for.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
