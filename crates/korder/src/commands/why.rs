//! `korder why`, and as a plugin `kubectl korder why`.

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use cli::{Hinted, OutputFormat, Printer};
use jiff::{SignedDuration, Timestamp};
use korder_api::{Inventory, Order};
use korder_core::fit::Surroundings;
use korder_core::inventory::request::is_request;
use korder_core::inventory::why::{Place, RequestAnswer, of_request};
use korder_core::node::Node;
use korder_core::ticket::Ticket;
use korder_core::why::{Judged, PodAnswer, Scene, TicketAnswer, promised};
use kube::api::{Api, ListParams};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::connection::{Connection, Namespace};
use crate::told::Told as _;

/// About what.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// `pod/NAME`, `ticket/NAME`, or `order/NAME` of an order for stock
    #[arg(value_name = "KIND/NAME")]
    about: About,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    namespace: Namespace,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    output: OutputFormat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    Pod(String),
    Ticket(String),
    Order(String),
}

impl FromStr for About {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some(("pod" | "pods" | "po", name)) if !name.is_empty() => Ok(Self::Pod(name.to_owned())),
            Some(("ticket" | "tickets" | "ktk", name)) if !name.is_empty() => Ok(Self::Ticket(name.to_owned())),
            Some(("order" | "orders" | "kord", name)) if !name.is_empty() => Ok(Self::Order(name.to_owned())),
            _ => Err("it is not of the form `pod/NAME`, `ticket/NAME` or `order/NAME`".to_owned()),
        }
    }
}

/// Looks at what there is and says what the controllers would say.
pub(crate) async fn run(arguments: Arguments, printer: Printer) -> anyhow::Result<()> {
    let Arguments { about, connection, namespace, output } = arguments;
    let client = connection.client().await?;
    let namespace = namespace.name(&client);
    let now = Timestamp::now();
    match &about {
        About::Pod(name) => {
            let sight = look(&client, &namespace).await?;
            let pods = sight.seen.pods.iter().map(AsRef::as_ref);
            let answer = sight.scene().of_pod(named(pods, &namespace, "pod", name)?, now);
            show(printer, output, &answer, pod_lines)
        }
        About::Ticket(name) => {
            let sight = look(&client, &namespace).await?;
            let answer = sight.scene().of_ticket(named(&sight.tickets, &namespace, "ticket", name)?, now);
            show(printer, output, &answer, ticket_lines)
        }
        About::Order(name) => of_order(&client, &namespace, name, output, printer).await,
    }
}

/// What decides about capacity, as far as whoever asks may see it.
struct Sight {
    orders: Vec<Order>,
    tickets: Vec<Ticket>,
    seen: Surroundings,
    without_nodes: bool,
}

impl Sight {
    fn scene(&self) -> Scene<'_> {
        Scene { orders: &self.orders, tickets: &self.tickets, seen: &self.seen, without_nodes: self.without_nodes }
    }
}

async fn look(client: &Client, namespace: &str) -> anyhow::Result<Sight> {
    let (orders, tickets) = tokio::try_join!(visible(client, namespace), visible(client, namespace))?;
    let (surroundings, without_nodes) = surroundings(client, namespace).await?;
    Ok(Sight { seen: promised(surroundings, &tickets), orders, tickets, without_nodes })
}

/// An order for stock; of one for capacity its own status says all there is.
async fn of_order(
    client: &Client,
    namespace: &str,
    name: &str,
    output: OutputFormat,
    printer: Printer,
) -> anyhow::Result<()> {
    let (orders, inventories): (Vec<Order>, Vec<Inventory>) =
        tokio::try_join!(visible(client, namespace), visible(client, namespace))?;
    let order = named(&orders, namespace, "order", name)?;
    if !is_request(order) {
        bail!(Hinted::new(
            format!("order `{name}` is for capacity: what it waits for stands at its tickets"),
            format!("see `kubectl get tickets -l korder.dev/order={name}`, and ask about one of them"),
        ));
    }
    show(printer, output, &of_request(order, &orders, &inventories, Timestamp::now()), request_lines)
}

fn request_lines(answer: &RequestAnswer) -> Vec<String> {
    let RequestAnswer { order, reason, message, age_seconds, inventory, stocks, place, shelf, advice } = answer;
    let mut lines = vec![format!("order `{order}`: {reason}"), format!("  {message}")];
    lines.push(format!("  it was placed {} ago", age(*age_seconds)));
    if let Some(Place { at, of }) = place {
        lines.push(format!("  it is number {at} of {of} in line"));
    }
    if !stocks.is_empty() {
        lines.push(format!("  its stock: {}", stocks.join(", ")));
    }
    if let (Some(inventory), Some(shelf)) = (inventory, shelf) {
        lines.push(format!("  inventory `{inventory}`: {shelf}"));
    }
    if !advice.is_empty() {
        lines.push(String::new());
        lines.push("What would change it:".to_owned());
        lines.extend(advice.iter().map(|advice| format!("  - {advice}")));
    }
    lines
}

/// Everything that decides besides orders and tickets, and whether the account may not see the nodes.
async fn surroundings(client: &Client, namespace: &str) -> anyhow::Result<(Surroundings, bool)> {
    let nodes = async {
        match Api::<Node>::all(client.clone()).list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok((vec![], true)),
            list => Ok((list.told(|| "list the nodes".into())?.items, false)),
        }
    };
    let (pods, claims, (nodes, hidden)) =
        tokio::try_join!(visible(client, namespace), visible(client, namespace), nodes)?;
    let seen = Surroundings {
        nodes: nodes.into_iter().map(Arc::new).collect(),
        pods: pods.into_iter().map(Arc::new).collect(),
        claims: claims.into_iter().map(Arc::new).collect(),
        namespaces: if_visible(client).await,
        volumes: if_visible(client).await,
        classes: if_visible(client).await,
        ..Surroundings::default()
    };
    Ok((seen, hidden))
}

/// The objects of a kind of which only few pods' rules say anything; none where the account may not see them.
async fn if_visible<K>(client: &Client) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let list = Api::<K>::all(client.clone()).list(&ListParams::default()).await;
    list.map_or_else(|_| vec![], |list| list.items.into_iter().map(Arc::new).collect())
}

/// The objects of the whole cluster, or of the namespace where the account may see no more.
async fn visible<K>(client: &Client, namespace: &str) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let everything = ListParams::default();
    let list = match Api::<K>::all(client.clone()).list(&everything).await {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Api::<K>::namespaced(client.clone(), namespace).list(&everything).await
        }
        list => list,
    };
    Ok(list.told(|| format!("list `{}`", K::plural(&())))?.items)
}

fn named<'a, K: Resource>(
    objects: impl IntoIterator<Item = &'a K>,
    namespace: &str,
    kind: &str,
    name: &str,
) -> anyhow::Result<&'a K> {
    let is = |object: &&K| object.namespace().as_deref() == Some(namespace) && object.name_any() == name;
    let found = objects.into_iter().find(is);
    let Some(found) = found else {
        bail!(Hinted::new(
            format!("there is no {kind} `{name}` in namespace `{namespace}`"),
            format!("see `kubectl get {kind}s -A`, and name another namespace by `--namespace`"),
        ))
    };
    Ok(found)
}

fn show<T: serde::Serialize>(
    printer: Printer,
    output: OutputFormat,
    answer: &T,
    lines: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    match output {
        OutputFormat::Json => printer.json(answer).context("cannot print the answer"),
        OutputFormat::Text => Ok(printer.result(lines(answer).join("\n"))?),
    }
}

fn pod_lines(answer: &PodAnswer) -> Vec<String> {
    let PodAnswer { pod, asks_for, reason, message, age_seconds, tickets, tickets_used_up, advice, .. } = answer;
    let mut lines = vec![format!("pod `{pod}`: {reason}"), format!("  {message}")];
    if let Some(asks_for) = asks_for {
        lines.push(format!("  it asks for a {asks_for}, and was made {} ago", age(*age_seconds)));
    }
    if !tickets.is_empty() {
        lines.push(String::new());
        lines.extend(table(["TICKET", "PHASE", "NODE", "FITS", "WHY"], tickets));
    }
    match tickets_used_up {
        0 => {}
        1 => lines.push("  (one more is used up)".to_owned()),
        count => lines.push(format!("  ({count} more are used up)")),
    }
    if !advice.is_empty() {
        lines.push(String::new());
        lines.push("What would change it:".to_owned());
        lines.extend(advice.iter().map(|advice| format!("  - {advice}")));
    }
    lines
}

fn ticket_lines(answer: &TicketAnswer) -> Vec<String> {
    let TicketAnswer { ticket, phase, node, reason, message, holder, pods } = answer;
    let place = node.as_ref().map(|node| format!(", on node `{node}`")).unwrap_or_default();
    let mut lines = vec![format!("ticket `{ticket}`: {phase}, {reason}{place}"), format!("  {message}")];
    lines.extend(holder.as_ref().map(|holder| format!("  its pod is `{holder}`")));
    if !pods.is_empty() {
        lines.push(String::new());
        lines.push("Pods that wait for such a ticket, first in line first:".to_owned());
        lines.extend(table(["POD", "", "", "FITS", "WHY"], pods));
    }
    lines
}

/// Aligned columns; those without a heading are left out.
fn table(headings: [&str; 5], rows: &[Judged]) -> Vec<String> {
    let cells = |row: &Judged| {
        let fits = if row.fits { "yes" } else { "no" };
        [row.name.clone(), row.phase.clone(), row.node.clone().unwrap_or_default(), fits.to_owned(), row.why.clone()]
    };
    let all: Vec<[String; 5]> = [headings.map(str::to_owned)].into_iter().chain(rows.iter().map(cells)).collect();
    let shown: Vec<usize> = (0..headings.len()).filter(|&column| !headings[column].is_empty()).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let line = |row: &[String; 5]| {
        let cells: Vec<String> =
            shown.iter().map(|&column| format!("{:<width$}", row[column], width = width(column))).collect();
        format!("  {}", cells.join("   ")).trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

fn age(seconds: i64) -> String {
    let span = SignedDuration::from_secs(seconds);
    format!("{span:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about() {
        assert_eq!("pod/app".parse(), Ok(About::Pod("app".to_owned())));
        assert_eq!("po/app".parse(), Ok(About::Pod("app".to_owned())));
        assert_eq!("ktk/shelf-1".parse(), Ok(About::Ticket("shelf-1".to_owned())));
        assert_eq!("order/cake".parse(), Ok(About::Order("cake".to_owned())));
        for nonsense in ["app", "pod/", "inventory/shelf", ""] {
            assert!(nonsense.parse::<About>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn columns_are_aligned_and_end_without_spaces() {
        let row = |name: &str, why: &str| Judged {
            name: name.to_owned(),
            phase: "Ready".to_owned(),
            node: Some("n".to_owned()),
            fits: true,
            why: why.to_owned(),
        };
        let lines = table(["TICKET", "PHASE", "NODE", "FITS", "WHY"], &[row("default/a", "so"), row("d/b", "")]);
        assert_eq!(
            lines,
            [
                "  TICKET      PHASE   NODE   FITS   WHY",
                "  default/a   Ready   n      yes    so",
                "  d/b         Ready   n      yes",
            ]
        );
    }
}
