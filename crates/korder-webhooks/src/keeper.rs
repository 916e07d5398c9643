//! Keeps the certificates: in a Secret, in the webhook's configuration, and with the server.
//!
//! The Secret is the truth. Several webhooks may run: whoever writes first wins, the others take what they find.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use korder_api::names::{SYSTEM_NAMESPACE, WEBHOOK_NAME};
use korder_manifests::{CERTIFICATES_SECRET, GATE_NAME, MANAGED_BY, PART_OF};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::certificates::{Certificates, Pair, renew};

/// What the API server calls us: by our Service, or on the host of an embedded cluster.
const NAMES: [&str; 2] = ["korder-webhook.korder-system.svc", "127.0.0.1"];
/// Wait after a failed write.
const RETRY: Duration = Duration::from_secs(5);
/// Longest wait: the clock may be set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_hours(1);

/// Keys of the Secret: the older authority, the newer one where there are two, what the server shows.
const AUTHORITIES: [(&str, &str); 2] = [("ca.crt", "ca.key"), ("ca-next.crt", "ca-next.key")];
const SERVING: (&str, &str) = ("tls.crt", "tls.key");

/// Keeps the certificates.
pub(crate) struct Keeper {
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
    served: watch::Sender<Option<Certificates>>,
}

/// What is known of the cluster.
#[derive(Default)]
struct Known {
    secret: Read,
    configuration: Option<MutatingWebhookConfiguration>,
}

/// What is known of the Secret: before it is read, nothing may be made in its place.
#[derive(Default)]
enum Read {
    #[default]
    NotYet,
    Absent,
    Present(Box<Secret>),
}

impl Keeper {
    /// A keeper that tells `served` of new certificates.
    pub(crate) fn new(client: Client, served: watch::Sender<Option<Certificates>>) -> Self {
        let secrets = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        Self { secrets, configurations: Api::all(client), served }
    }

    /// Keeps them for ever.
    pub(crate) async fn run(self) -> Infallible {
        let mut secrets = watch_object(self.secrets.clone(), CERTIFICATES_SECRET).default_backoff().boxed();
        let mut configurations = watch_object(self.configurations.clone(), GATE_NAME).default_backoff().boxed();
        let mut known = Known::default();
        loop {
            let wait = match self.step(&mut known).await {
                Ok(wait) => wait,
                Err(error) => {
                    warn!(error = chain(&*error), "the webhook's certificates are not in order");
                    RETRY
                }
            };
            tokio::select! {
                biased;
                Some(secret) = secrets.next() => match secret {
                    Ok(secret) => known.secret = secret.map_or(Read::Absent, |secret| Read::Present(Box::new(secret))),
                    Err(error) => warn!(error = chain(&error), "cannot watch the Secret of the certificates"),
                },
                Some(configuration) = configurations.next() => match configuration {
                    Ok(configuration) => known.configuration = configuration,
                    Err(error) => warn!(error = chain(&error), "cannot watch the webhook's configuration"),
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Brings everything in order, as far as it is known; how long to wait at most for the next step.
    async fn step(&self, known: &mut Known) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
        let secret = match &known.secret {
            Read::NotYet => return Ok(LOOK_AGAIN),
            Read::Absent => None,
            Read::Present(secret) => Some(secret.as_ref()),
        };
        let now = Timestamp::now();
        let present = secret.and_then(certificates_of);
        let renewal = renew(present.as_ref(), &NAMES, now)?;
        let certificates = match (renewal.renewed, present) {
            (Some(renewed), _) => match self.write(secret, &renewed).await? {
                Some(written) => {
                    known.secret = Read::Present(Box::new(written));
                    renewed
                }
                // Another webhook was faster; the watch tells what it wrote.
                None => return Ok(RETRY),
            },
            (None, Some(present)) => present,
            (None, None) => unreachable!("what is missing is made"),
        };
        let bundle = certificates.bundle();
        self.served.send_if_modified(|served| {
            let is_new = served.as_ref() != Some(&certificates);
            *served = Some(certificates);
            is_new
        });
        if let Some(patch) = known.configuration.as_ref().and_then(|present| injection(present, &bundle)) {
            let params = PatchParams::apply(WEBHOOK_NAME);
            known.configuration = Some(self.configurations.patch(GATE_NAME, &params, &Patch::Apply(patch)).await?);
            info!("the API server was told whom to trust");
        }
        let until = now.duration_until(renewal.again);
        Ok(Duration::try_from(until).unwrap_or_default().min(LOOK_AGAIN))
    }

    /// Writes the Secret if it still is what was read; none if it is not.
    async fn write(&self, read: Option<&Secret>, certificates: &Certificates) -> Result<Option<Secret>, kube::Error> {
        let version = read.and_then(|secret| secret.metadata.resource_version.clone());
        let secret = secret_of(certificates, version.clone());
        let params = PostParams { field_manager: Some(WEBHOOK_NAME.to_owned()), ..PostParams::default() };
        let written = match version {
            None => self.secrets.create(&params, &secret).await,
            Some(_) => self.secrets.replace(CERTIFICATES_SECRET, &params, &secret).await,
        };
        match written {
            Ok(secret) => {
                info!("certificates renewed");
                Ok(Some(secret))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The certificates that a Secret holds; none where it holds something else.
fn certificates_of(secret: &Secret) -> Option<Certificates> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| data.get(key).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    let pair = |(certificate, key): (&str, &str)| Some(Pair { certificate: text(certificate)?, key: text(key)? });
    Some(Certificates { authorities: AUTHORITIES.into_iter().filter_map(pair).collect(), serving: pair(SERVING)? })
}

fn secret_of(certificates: &Certificates, resource_version: Option<String>) -> Secret {
    let authorities = AUTHORITIES.into_iter().zip(&certificates.authorities);
    let data = authorities.chain([(SERVING, &certificates.serving)]).flat_map(|((certificate, key), pair)| {
        [(certificate, &pair.certificate), (key, &pair.key)]
            .map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))
    });
    let labels = [MANAGED_BY, PART_OF].map(|label| (label.to_owned(), "korder".to_owned()));
    Secret {
        metadata: ObjectMeta {
            name: Some(CERTIFICATES_SECRET.to_owned()),
            namespace: Some(SYSTEM_NAMESPACE.to_owned()),
            labels: Some(BTreeMap::from(labels)),
            resource_version,
            ..ObjectMeta::default()
        },
        data: Some(data.collect()),
        ..Secret::default()
    }
}

/// What to apply so that the API server trusts the bundle; none where it does.
fn injection(configuration: &MutatingWebhookConfiguration, bundle: &str) -> Option<Value> {
    let bundle = ByteString(bundle.as_bytes().to_vec());
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default();
    if webhooks.iter().all(|webhook| webhook.client_config.ca_bundle.as_ref() == Some(&bundle)) {
        return None;
    }
    let webhooks =
        webhooks.iter().map(|webhook| json!({ "name": webhook.name, "clientConfig": { "caBundle": bundle } }));
    Some(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": GATE_NAME },
        "webhooks": webhooks.collect::<Vec<_>>(),
    }))
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificates(authorities: &[&str]) -> Certificates {
        let pair = |name: &str| Pair { certificate: format!("{name} certificate\n"), key: format!("{name} key\n") };
        Certificates { authorities: authorities.iter().map(|name| pair(name)).collect(), serving: pair("serving") }
    }

    fn configuration(bundle: Option<&str>) -> MutatingWebhookConfiguration {
        let bundle = bundle.map(|bundle| ByteString(bundle.as_bytes().to_vec()));
        serde_json::from_value(json!({
            "metadata": { "name": GATE_NAME },
            "webhooks": [{ "name": GATE_NAME, "clientConfig": { "caBundle": bundle }, "sideEffects": "None",
                           "admissionReviewVersions": ["v1"] }],
        }))
        .unwrap()
    }

    #[test]
    fn a_secret_holds_one_or_two_authorities() {
        for authorities in [&["old"][..], &["old", "new"]] {
            let certificates = certificates(authorities);
            let secret = secret_of(&certificates, Some("7".into()));
            assert_eq!(secret.metadata.resource_version.as_deref(), Some("7"));
            assert!(certificates_of(&secret).is_some_and(|read| read == certificates));
        }
    }

    #[test]
    fn a_secret_of_something_else_holds_none() {
        assert!(certificates_of(&Secret::default()).is_none());
        let mut secret = secret_of(&certificates(&["old"]), None);
        secret.data.as_mut().unwrap().remove("tls.key");
        assert!(certificates_of(&secret).is_none());
    }

    #[test]
    fn the_bundle_is_written_where_it_is_missing_or_another_one() {
        let bundle = certificates(&["old", "new"]).bundle();
        assert!(injection(&configuration(None), &bundle).is_some());
        let patch = injection(&configuration(Some("other")), &bundle).unwrap();
        assert_eq!(patch["webhooks"][0]["name"], GATE_NAME);
        assert_eq!(injection(&configuration(Some(&bundle)), &bundle), None);
    }
}
