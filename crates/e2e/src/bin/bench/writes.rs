//! How many writes korder's controllers send to the API server, counted by the API server itself.
//!
//! The API server sorts every request into a flow, by who sends it and what it is about, and counts the requests of each
//! flow that it lets through, those that are refused or conflict among them (`flowcontrol.apiserver.k8s.io`, metric
//! `apiserver_flowcontrol_dispatched_requests_total`). So a flow is defined for each kind of write of the controllers'
//! service account, and the counters are read before and after what is measured.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::flowcontrol::v1::{
    FlowDistinguisherMethod, FlowSchema, FlowSchemaSpec, PolicyRulesWithSubjects, PriorityLevelConfigurationReference,
    ResourcePolicyRule, ServiceAccountSubject, Subject,
};
use korder_api::names;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::wait::await_condition;
use tokio::time::{Instant, sleep, timeout};

/// A kind of write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    /// What it counts towards.
    pub(crate) part: Part,
}

/// What a kind of write counts towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// What must be written for the work to be done.
    Work,
    /// An order's counts, of which many changes become one write; of one for stock, what it was told.
    OrderStatus,
    /// An inventory's counts, of which many changes become one write.
    Inventory,
    /// What is told to users.
    Events,
}

const fn kind(verbs: &'static [&'static str], group: &'static str, resource: &'static str, part: Part) -> Kind {
    Kind { verbs, group, resource, part }
}

/// Leadership is renewed by the clock, not by what is measured: these writes are sorted out first.
const LEASES: Kind = kind(&["*"], "coordination.k8s.io", "leases", Part::Work);

/// Every kind that is told apart. A request counts for the first that fits it, so that the last one gets the rest.
const KINDS: [Kind; 15] = [
    kind(&["create"], names::GROUP, "tickets", Part::Work),
    kind(&["update", "patch"], names::GROUP, "tickets/status", Part::Work),
    kind(&["update", "patch"], names::GROUP, "tickets", Part::Work),
    kind(&["delete"], names::GROUP, "tickets", Part::Work),
    kind(&["create"], "", "pods", Part::Work),
    kind(&["patch"], "", "pods/status", Part::Work),
    kind(&["patch"], "", "pods", Part::Work),
    kind(&["delete"], "", "pods", Part::Work),
    kind(&["create"], "scheduling.k8s.io", "priorityclasses", Part::Work),
    kind(&["update", "patch"], names::GROUP, "orders/status", Part::OrderStatus),
    kind(&["update", "patch"], names::GROUP, "stocks/status", Part::Work),
    kind(&["update", "patch"], names::GROUP, "inventories/status", Part::Inventory),
    kind(&["create"], "events.k8s.io", "events", Part::Events),
    kind(&["patch"], "events.k8s.io", "events", Part::Events),
    kind(&["create", "update", "patch", "delete", "deletecollection"], "*", "*", Part::Work),
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resource {
            "*" => f.write_str("any other write"),
            resource => write!(f, "{} `{resource}`", self.verbs.join(" or ")),
        }
    }
}

/// How many writes there were of each of [`KINDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts([u64; KINDS.len()]);

impl Counts {
    /// What came after an earlier reading.
    pub(crate) fn since(self, before: Self) -> Self {
        Self(std::array::from_fn(|place| self.0[place].saturating_sub(before.0[place])))
    }

    /// The kinds, and how many writes there were of each.
    pub(crate) fn by_kind(self) -> impl Iterator<Item = (&'static Kind, u64)> {
        KINDS.iter().zip(self.0)
    }

    /// The sum of all kinds that count towards one part.
    pub(crate) fn of(self, part: Part) -> u64 {
        self.by_kind().filter(|(kind, _)| kind.part == part).map(|(_, count)| count).sum()
    }
}

/// Counts the writes of the controllers.
pub(crate) struct Meter {
    client: Client,
}

/// How long the API server may take to know a flow.
const DEADLINE: Duration = Duration::from_secs(30);
/// When nothing was written for so long, nothing more comes of what was done: an order's status is at most a second late.
const QUIET: Duration = Duration::from_secs(3);
/// How long it may take until nothing is written any more.
const QUIET_DEADLINE: Duration = Duration::from_mins(5);
/// Before all flows that Kubernetes itself defines for service accounts.
const FIRST_PRECEDENCE: i32 = 100;
const METRIC: &str = "apiserver_flowcontrol_dispatched_requests_total";

impl Meter {
    /// Defines the flows, and waits until the API server sorts by them.
    pub(crate) async fn install(client: &Client) -> anyhow::Result<Self> {
        let schemas = Api::<FlowSchema>::all(client.clone());
        for (place, kind) in [&LEASES].into_iter().chain(&KINDS).enumerate() {
            let made = schemas.create(&PostParams::default(), &flow(place, kind)?).await;
            made.with_context(|| format!("cannot define the flow of {kind}"))?;
        }
        for place in 0..=KINDS.len() {
            let name = flow_name(place);
            let known = await_condition(schemas.clone(), &name, is_known);
            timeout(DEADLINE, known)
                .await
                .with_context(|| format!("the API server does not take up the flow `{name}`"))??;
        }
        Ok(Self { client: client.clone() })
    }

    /// The counters once nothing is written any more.
    pub(crate) async fn settled(&self) -> anyhow::Result<Counts> {
        let deadline = Instant::now() + QUIET_DEADLINE;
        let mut counts = self.read().await?;
        let mut since = Instant::now();
        while since.elapsed() < QUIET {
            ensure!(Instant::now() < deadline, "the controllers write on and on: {counts:?}");
            sleep(Duration::from_millis(250)).await;
            let now = self.read().await?;
            if now != counts {
                counts = now;
                since = Instant::now();
            }
        }
        Ok(counts)
    }

    async fn read(&self) -> anyhow::Result<Counts> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics = self.client.request_text(request).await.context("cannot read the API server's metrics")?;
        counts(&metrics)
    }
}

/// The name of the flow at this place of the order in which requests are sorted.
fn flow_name(place: usize) -> String {
    format!("korder-bench-{place:02}")
}

/// The flow of the controllers' requests of one kind, treated just as without it: like those of other service accounts.
fn flow(place: usize, kind: &Kind) -> anyhow::Result<FlowSchema> {
    let owned = |text: &&str| (*text).to_owned();
    let account = ServiceAccountSubject {
        namespace: names::SYSTEM_NAMESPACE.to_owned(),
        name: names::CONTROLLER_NAME.to_owned(),
    };
    let requests = ResourcePolicyRule {
        verbs: kind.verbs.iter().map(owned).collect(),
        api_groups: vec![kind.group.to_owned()],
        resources: vec![kind.resource.to_owned()],
        namespaces: Some(vec!["*".to_owned()]),
        cluster_scope: Some(true),
    };
    let subject = Subject { kind: "ServiceAccount".to_owned(), service_account: Some(account), ..Subject::default() };
    Ok(FlowSchema {
        metadata: ObjectMeta { name: Some(flow_name(place)), ..ObjectMeta::default() },
        spec: Some(FlowSchemaSpec {
            distinguisher_method: Some(FlowDistinguisherMethod { type_: "ByUser".to_owned() }),
            matching_precedence: Some(FIRST_PRECEDENCE + i32::try_from(place)?),
            priority_level_configuration: PriorityLevelConfigurationReference { name: "workload-low".to_owned() },
            rules: Some(vec![PolicyRulesWithSubjects {
                subjects: vec![subject],
                resource_rules: Some(vec![requests]),
                non_resource_rules: None,
            }]),
        }),
        status: None,
    })
}

/// The API server says of a flow that it sorts by whether it leads anywhere.
fn is_known(schema: Option<&FlowSchema>) -> bool {
    let conditions = schema.and_then(|schema| schema.status.as_ref()?.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_.as_deref() == Some("Dangling") && one.status.as_deref() == Some("False"))
}

/// The counters of our flows in the API server's metrics; one that has not counted yet is not there.
fn counts(metrics: &str) -> anyhow::Result<Counts> {
    let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with(METRIC)).collect();
    let mut counts = [0; KINDS.len()];
    for (place, count) in counts.iter_mut().enumerate() {
        let label = format!("flow_schema=\"{}\"", flow_name(place + 1));
        if let Some(line) = lines.iter().find(|line| line.contains(&label)) {
            let value = line.rsplit(' ').next().unwrap_or_default();
            *count = value.parse().with_context(|| format!("no count in `{line}`"))?;
        }
    }
    Ok(Counts(counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_flow() {
        let metrics = "# HELP\n\
            apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"korder-bench-00\",priority_level=\"a\"} 9\n\
            apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"korder-bench-02\",priority_level=\"a\"} 7\n\
            apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"other\",priority_level=\"a\"} 5\n";
        let counts = counts(metrics).unwrap();
        let found: Vec<_> = counts.by_kind().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, [(&KINDS[1], 7)]);
        assert_eq!((counts.of(Part::Work), counts.of(Part::Events)), (7, 0));
    }

    #[test]
    fn the_rest_is_sorted_last() {
        let rest = KINDS.iter().position(|kind| kind.resource == "*");
        assert_eq!(rest, Some(KINDS.len() - 1));
    }
}
