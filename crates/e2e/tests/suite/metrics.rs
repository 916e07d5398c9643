//! What the controllers count, and who may read it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::objects::{self, Size};
use e2e::{Case, Environment};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use korder_api::TicketPhase;
use korder_api::order::RefreshPolicy;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use serde_json::json;

use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, pod_is_bound, ticket_is, ticket_is_within};

const DOCUMENTED: &str = include_str!("../../../../docs/metrics.md");
const SIZE: Size = Size::SMALL;
/// What is counted is so a moment after it is seen.
const PATIENCE: Duration = Duration::from_secs(30);
/// A hand-over has 30 seconds, and everything may be slow.
const LOSING: Duration = Duration::from_mins(2);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(metrics_tell_what_became_of_claims);
}

/// On a cluster of its own, since what others do counts too.
async fn metrics_tell_what_became_of_claims() -> Result<()> {
    let environment = Arc::new(Environment::own(&[]).await?);
    let address = environment.metrics().await?;
    Case::run(&environment, "metrics", async |case: &Case| counted(case, &address).await).await?;
    Arc::into_inner(environment).context("somebody still uses the cluster")?.stop().await
}

async fn counted(case: &Case, address: &str) -> Result<()> {
    let reader = let_in(case, address).await?;
    case.add_nodes(1, Size { cpu: "8", memory: "16Gi" }).await?;
    let mut order = case.order("shelf", 2, SIZE);
    order.spec.strategy = Some(objects::refreshed(RefreshPolicy::Never));
    case.create(&order).await?;
    order_is_ready(case, "shelf", 2).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    pod_is_bound(case, "app").await?;
    let once = [
        (r#"korder_claims_total{outcome="used"}"#, 1.0),
        (r#"korder_hand_over_seconds_count{step="nominated"}"#, 1.0),
        (r#"korder_hand_over_seconds_count{step="freed"}"#, 1.0),
        (r#"korder_hand_over_seconds_count{step="ungated"}"#, 1.0),
        (r#"korder_hand_over_seconds_count{step="bound"}"#, 1.0),
        ("korder_pod_wait_seconds_count", 1.0),
        (r#"korder_tickets{phase="Pending"}"#, 0.0),
        (r#"korder_tickets{phase="Ready"}"#, 1.0),
        (r#"korder_tickets{phase="Claimed"}"#, 0.0),
        (r#"korder_tickets{phase="Used"}"#, 1.0),
        (r#"korder_tickets{phase="Expired"}"#, 0.0),
        (r#"korder_tickets{phase="Lost"}"#, 0.0),
    ];
    let text = reader.until(&once).await?;
    let took = |step: &str| value(&text, &format!(r#"korder_hand_over_seconds_sum{{step="{step}"}}"#));
    let steps = ["nominated", "freed", "ungated", "bound"].map(took);
    ensure!(steps.is_sorted() && steps[3] < Some(60.0), "the steps took {steps:?}");
    ensure!(value(&text, "korder_tickets_lost_total").is_none(), "a place was lost:\n{text}");

    a_guardian_stays(case).await?;
    let text = reader
        .until(&[
            (r#"korder_claims_total{outcome="used"}"#, 2.0),
            (r#"korder_claims_total{outcome="lost"}"#, 1.0),
            (r#"korder_tickets_lost_total{cause="guardian-not-removed"}"#, 1.0),
            (r#"korder_hand_over_seconds_count{step="bound"}"#, 2.0),
            (r#"korder_tickets{phase="Used"}"#, 2.0),
        ])
        .await?;
    for row in DOCUMENTED.lines().filter_map(|line| line.strip_prefix("| `korder_")) {
        let name = format!("korder_{}", row.split('`').next().unwrap_or_default());
        ensure!(text.contains(&name), "`{name}` is documented and not served:\n{text}");
    }
    Ok(())
}

/// Somebody's finalizer keeps the other guardian: its ticket is lost, and the pod takes the one that makes up for it.
async fn a_guardian_stays(case: &Case) -> Result<()> {
    let log = case.tickets.log();
    let kept = log.objects().find(|ticket| ticket.phase() == TicketPhase::Ready).context("no ticket is ready")?;
    let kept = kept.metadata.name.clone().unwrap_or_default();
    drop(log);
    let guardian = format!("{kept}-guardian");
    finalizers(case, &guardian, &json!(["e2e.korder.dev/hold"])).await?;
    case.create(&case.claimant("second", "shelf", SIZE)).await?;
    ticket_is_within(LOSING, case, &kept, TicketPhase::Lost).await?;
    event_tells(case, "Ticket", &kept, "Lost").await?;
    event_tells(case, "Pod", "second", "TicketLost").await?;
    let bound = pod_is_bound(case, "second").await?;
    let ticket = bound.metadata.annotations.as_ref().and_then(|all| all.get("korder.dev/bound-ticket"));
    let ticket = ticket.context("the pod has no ticket")?;
    ensure!(*ticket != kept, "the pod has the ticket that was lost");
    ticket_is(case, ticket, TicketPhase::Used).await?;
    finalizers(case, &guardian, &json!(null)).await
}

async fn finalizers(case: &Case, pod: &str, finalizers: &serde_json::Value) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let patched = case.api::<Pod>().patch(pod, &PatchParams::default(), &patch).await;
    patched.map(drop).with_context(|| format!("cannot change the finalizers of `{pod}`"))
}

/// Nobody reads without a token, or with one of an account that may not.
async fn let_in(case: &Case, address: &str) -> Result<Reader> {
    let nobody = Reader::new(address, None)?;
    ensure!(nobody.status().await? == 401, "whoever has no token is let in, or told something else");
    let forged = Reader::new(address, Some("forged".to_owned()))?;
    ensure!(forged.status().await? == 401, "a token of nobody is taken, or something else is told");
    let prometheus = Reader::new(address, Some(token(case, "prometheus").await?))?;
    ensure!(prometheus.status().await? == 403, "an account that may not read is let in, or told something else");
    let account = format!("{}:prometheus", case.namespace());
    let grant = ["create", "clusterrolebinding", "prometheus", "--clusterrole=korder-metrics-reader"];
    case.kubectl().get(&[&grant[..], &["--serviceaccount", &account]].concat()).await?;
    let allowed = async {
        while prometheus.status().await? != 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, allowed).await.context("an account that may read is not let in")??;
    Ok(prometheus)
}

/// A token of a new account.
async fn token(case: &Case, account: &str) -> Result<String> {
    case.kubectl().get(&["create", "serviceaccount", account]).await?;
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = case.api();
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    Ok(made.status.context("the API server gave no token")?.token)
}

/// Somebody who reads metrics as Prometheus does.
struct Reader {
    client: Client,
    path: String,
}

impl Reader {
    fn new(address: &str, token: Option<String>) -> Result<Self> {
        let uri: http::Uri = address.parse().with_context(|| format!("`{address}` is no address"))?;
        let path = uri.path().to_owned();
        let mut config = Config::new(address.trim_end_matches(&path).parse()?);
        // The certificate is the process's own.
        config.accept_invalid_certs = true;
        config.auth_info.token = token.map(Into::into);
        Ok(Self { client: Client::try_from(config)?, path })
    }

    async fn read(&self) -> kube::Result<String> {
        let request = http::Request::get(&self.path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.client.request_text(request).await
    }

    /// The code of the answer.
    async fn status(&self) -> Result<u16> {
        match self.read().await {
            Ok(_) => Ok(200),
            Err(kube::Error::Api(status)) => Ok(status.code),
            Err(error) => Err(error).context("cannot read the metrics"),
        }
    }

    /// Reads until all of these have their values; the whole text.
    async fn until(&self, wanted: &[(&str, f64)]) -> Result<String> {
        let begun = std::time::Instant::now();
        loop {
            let text = self.read().await?;
            let right = |(name, wanted): &&(&str, f64)| value(&text, name).is_some_and(|is| (is - wanted).abs() < 1e-9);
            let Some((name, wanted)) = wanted.iter().find(|one| !right(one)) else { return Ok(text) };
            if begun.elapsed() > PATIENCE {
                bail!("`{name}` is not {wanted} after {} s:\n{text}", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The value of a metric, by its name with its labels.
fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
