//! The gate's webhook is down, slow, silent, shows a certificate that has expired, and changes certificate and authority, all
//! under load: no pod that asks for a ticket passes without a gate, and nobody else notices.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Case, History, Log};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::Role;
use korder_api::names;
use kube::api::{Api, Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::installation::{GATE, Korder, signal, webhook_is_at};
use crate::load::{Load, claims};

/// The Secret in which the webhook keeps its certificates, and the names that those are for.
const CERTIFICATES: &str = "korder-webhook-certificates";
const NAMES: [&str; 2] = ["korder-webhook.korder-system.svc", "127.0.0.1"];
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// So many bystanders pass while claimants don't.
const OTHERS: usize = 10;

/// On a cluster with controllers. The webhook runs at the end.
pub(crate) async fn goes_wrong_under_load(case: &Case, korder: &Korder, webhook: &mut Child) -> Result<()> {
    let load = Load::start(case).await?;
    let fault = async |load: &Load<'_>| {
        let rotation = is_down(case, korder, load, webhook).await?;
        rotates(case, load, &rotation).await?;
        is_slow(load, webhook).await?;
        is_silent(load, webhook).await?;
        has_expired(case, load).await
    };
    load.run("Webhook down, rotated, slow, silent, expired", claims()?, fault).await
}

/// Nobody who asks gets in, and everybody else does. When it is back, it has other certificates, of which one is soon to be
/// renewed, and one authority soon to end.
async fn is_down(case: &Case, korder: &Korder, load: &Load<'_>, webhook: &mut Child) -> Result<Rotation> {
    load.until_served(load.served() + 1).await?;
    webhook.kill().await.context("cannot kill the webhook")?;
    load.until_refused(load.refused() + 1).await?;
    load.until_others_pass(OTHERS).await?;
    let rotation = Rotation::prepare(case).await?;
    *webhook = korder.start_webhook(&case.client()).await?;
    trusts(case, &rotation.both).await?;
    Ok(rotation)
}

/// Its certificate is renewed by the newer authority, then the older one ends: nobody is refused.
async fn rotates(case: &Case, load: &Load<'_>, rotation: &Rotation) -> Result<()> {
    // From now on the new webhook is asked.
    load.until_more_are_let_in(2).await?;
    let refused = load.refused();
    trusts(case, &rotation.newer).await?;
    let data = secrets(case).get(CERTIFICATES).await?.data.unwrap_or_default();
    let kept = data.get("tls.crt").is_some_and(|shown| shown.0 == rotation.serving.as_bytes());
    ensure!(!kept, "the certificate of an authority that has ended is still shown");
    load.until_more_are_let_in(OTHERS).await?;
    let refused = load.refused() - refused;
    ensure!(refused == 0, "{refused} pods were refused when certificates changed: {}", load.refusal());
    Ok(())
}

/// It answers late, and in time.
async fn is_slow(load: &Load<'_>, webhook: &Child) -> Result<()> {
    for _ in 0..3 {
        signal(webhook, Signal::STOP)?;
        load.until_others_pass(OTHERS).await?;
        signal(webhook, Signal::CONT)?;
        load.until_more_are_let_in(1).await?;
    }
    Ok(())
}

/// It takes connections and says nothing.
async fn is_silent(load: &Load<'_>, webhook: &Child) -> Result<()> {
    signal(webhook, Signal::STOP)?;
    load.until_refused(load.refused() + 1).await?;
    load.until_others_pass(OTHERS).await?;
    signal(webhook, Signal::CONT)?;
    load.until_more_are_let_in(1).await
}

/// It may not write its certificate any more, which expires. Given the right back, it mends that by itself.
async fn has_expired(case: &Case, load: &Load<'_>) -> Result<()> {
    let proxy = Proxy::start(case).await?;
    let roles: Api<Role> = Api::namespaced(case.client(), names::SYSTEM_NAMESPACE);
    let all = roles.get(names::WEBHOOK_NAME).await?.rules;
    let allow = async |rules: serde_json::Value| {
        let patch = Patch::Merge(json!({ "rules": rules }));
        roles.patch(names::WEBHOOK_NAME, &PatchParams::default(), &patch).await.context("cannot change the role")
    };
    let reading = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]});
    allow(json!([reading])).await?;
    may_write(case, false).await?;
    let now = Timestamp::now();
    let expires = now + SignedDuration::from_secs(12);
    // The webhook shows it for two thirds of its life, then tries to renew it.
    let short = Authority::kept(case).await?.serving(now, expires)?;
    write(case, &json!({"tls.crt": short.certificate, "tls.key": short.key})).await?;
    let left = Timestamp::now().duration_until(expires + SignedDuration::from_secs(1));
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    proxy.cut();
    load.until_refused(load.refused() + 1).await?;
    ensure!(load.refusal().contains("expired"), "{}", load.refusal());
    load.until_others_pass(OTHERS).await?;
    allow(json!(all)).await?;
    may_write(case, true).await?;
    load.until_more_are_let_in(1).await?;
    proxy.stop().await
}

/// Whether the webhook may write its Secret is so, and heeded.
async fn may_write(case: &Case, may: bool) -> Result<()> {
    let user = format!("system:serviceaccount:{}:{}", names::SYSTEM_NAMESPACE, names::WEBHOOK_NAME);
    let secret = format!("secret/{CERTIFICATES}");
    let asked = ["auth", "can-i", "update", &secret, "--as", &user, "-n", names::SYSTEM_NAMESPACE];
    let heeded = async {
        while case.kubectl().run(&asked, "").await?.status.success() != may {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(e2e::DEADLINE, heeded).await.context("the role is not heeded")?
}

/// The API server is told to trust exactly this.
async fn trusts(case: &Case, bundle: &str) -> Result<()> {
    let configurations: History<MutatingWebhookConfiguration> = History::start(Api::all(case.client())).await?;
    let told = |log: &Log<MutatingWebhookConfiguration>| {
        let webhook = log.get(GATE)?.webhooks.as_ref()?.first()?;
        (webhook.client_config.ca_bundle.as_ref()?.0 == bundle.as_bytes()).then_some(())
    };
    configurations.until("the API server is told whom to trust", told).await
}

fn secrets(case: &Case) -> Api<Secret> {
    Api::namespaced(case.client(), names::SYSTEM_NAMESPACE)
}

/// Writes keys of the Secret.
async fn write(case: &Case, data: &serde_json::Value) -> Result<()> {
    let patch = Patch::Merge(json!({"stringData": data}));
    let written = secrets(case).patch(CERTIFICATES, &PatchParams::default(), &patch).await;
    written.map(drop).context("cannot write the certificates")
}

/// Certificates of which everything is soon renewed.
struct Rotation {
    /// The serving certificate, signed by the older authority.
    serving: String,
    /// Both authorities.
    both: String,
    /// The newer one.
    newer: String,
}

impl Rotation {
    async fn prepare(case: &Case) -> Result<Self> {
        let (now, second) = (Timestamp::now(), SignedDuration::from_secs(1));
        let older = Authority::new("older", now - DAY * 300, now + second * 16)?;
        let newer = Authority::new("newer", now - DAY * 2, now + DAY * 363)?;
        // It is renewed at two thirds of its life.
        let serving = older.serving(now - second * 20, now + second * 25)?;
        let (old, new) = (&older.0, &newer.0);
        let data = json!({
            "ca.crt": old.certificate, "ca.key": old.key, "ca-next.crt": new.certificate, "ca-next.key": new.key,
            "tls.crt": serving.certificate, "tls.key": serving.key,
        });
        write(case, &data).await?;
        let both = format!("{}{}", old.certificate, new.certificate);
        Ok(Self { serving: serving.certificate, both, newer: newer.0.certificate })
    }
}

/// A certificate and its key as PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// One that signs others.
struct Authority(Pair);

impl Authority {
    fn new(name: &str, from: Timestamp, to: Timestamp) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{name} {}", from.as_nanosecond()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        set_life(&mut params, from, to)?;
        let key = KeyPair::generate()?;
        Ok(Self(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() }))
    }

    /// The one that the webhook keeps.
    async fn kept(case: &Case) -> Result<Self> {
        let data = secrets(case).get(CERTIFICATES).await?.data.context("the Secret is empty")?;
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        let pair = || Some(Pair { certificate: text("ca.crt")?, key: text("ca.key")? });
        pair().map(Self).context("there is no authority in the Secret")
    }

    fn serving(&self, from: Timestamp, to: Timestamp) -> Result<Pair> {
        let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
        params.use_authority_key_identifier_extension = true;
        set_life(&mut params, from, to)?;
        let issuer = Issuer::from_ca_cert_pem(&self.0.certificate, KeyPair::from_pem(&self.0.key)?)?;
        let key = KeyPair::generate()?;
        Ok(Pair { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
    }
}

fn set_life(params: &mut CertificateParams, from: Timestamp, to: Timestamp) -> Result<()> {
    let at =
        |at: Timestamp| anyhow::Ok(rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.as_second().try_into()?));
    (params.not_before, params.not_after) = (at(from)?, at(to)?);
    Ok(())
}

/// Between the API server and the webhook: a connection that is open is not asked for its certificate again, and this can
/// end it.
struct Proxy {
    configurations: Api<MutatingWebhookConfiguration>,
    /// Port of the webhook.
    behind: u16,
    cuts: watch::Sender<()>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// In front of the webhook that the API server asks now.
    async fn start(case: &Case) -> Result<Self> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(case.client());
        let webhooks = configurations.get(GATE).await?.webhooks.unwrap_or_default();
        let url = webhooks.into_iter().next().and_then(|webhook| webhook.client_config.url);
        let url: http::Uri = url.context("the webhook has no address")?.parse()?;
        let behind = url.port_u16().context("the webhook's address has no port")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let cuts = watch::Sender::new(());
        let cut = cuts.clone();
        let listening = tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    let Ok(mut outside) = TcpStream::connect(("127.0.0.1", behind)).await else { return };
                    tokio::select! {
                        // Either side may end it, in whatever way.
                        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        webhook_is_at(&configurations, port).await?;
        Ok(Self { configurations, behind, cuts, listening })
    }

    /// Ends all connections.
    fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// Has the API server ask the webhook itself again.
    async fn stop(self) -> Result<()> {
        webhook_is_at(&self.configurations, self.behind).await?;
        self.listening.abort();
        Ok(())
    }
}
