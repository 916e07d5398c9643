//! `/metrics`, by HTTPS and only for those whom the cluster lets read it.
//!
//! As with controller-runtime's filter: who sends a token is asked of the cluster by a `TokenReview`, whether he may `get`
//! the path by a `SubjectAccessReview`. The certificate is the process's own and nobody vouches for it: what it keeps off is
//! a reader of tokens on the way.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tracing::warn;

/// The path, on the server and in the roles that allow to read it.
const PATH: &str = "/metrics";
/// The type of the text format that Prometheus reads.
const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Whoever was let in is not asked about again for so long.
const REMEMBERED: Duration = Duration::from_mins(1);
/// So many tokens are remembered at most.
const MAX_REMEMBERED: usize = 64;
/// So many readers are asked about at a time: others wait, and not the API server.
const MAX_REVIEWS: usize = 4;
/// Bound of one review.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves what `render` gives, until the process ends.
pub(crate) async fn serve(
    address: SocketAddr,
    client: Client,
    render: impl Fn() -> String + Clone + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let cannot = || format!("cannot serve metrics on `{address}`");
    let own = rcgen::generate_simple_self_signed(["korder-controller-manager".to_owned(), "localhost".to_owned()])
        .with_context(cannot)?;
    let (certificate, key) = (own.cert.pem().into_bytes(), own.signing_key.serialize_pem().into_bytes());
    let tls = RustlsConfig::from_pem(certificate, key).await.with_context(cannot)?;
    let listener = TcpListener::bind(address).with_context(cannot)?;
    listener.set_nonblocking(true).with_context(cannot)?;
    let door = Arc::new(Door::new(client));
    let answer = move |headers: HeaderMap| async move {
        match door.admit(&headers).await {
            Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, TYPE)], render()),
            Err((status, why)) => (status, [(header::CONTENT_TYPE, "text/plain")], format!("{why}\n")),
        }
    };
    let routes = Router::new().route(PATH, get(answer));
    let server = from_tcp_rustls(listener, tls).with_context(cannot)?;
    server.serve(routes.into_make_service()).await.context("the server of metrics failed")
}

/// Why somebody is not let in.
type Refusal = (StatusCode, &'static str);

/// Lets in who may read.
struct Door {
    client: Client,
    reviews: Semaphore,
    /// Tokens of those who were let in, and when.
    known: Mutex<BTreeMap<String, Instant>>,
}

impl Door {
    fn new(client: Client) -> Self {
        Self { client, reviews: Semaphore::new(MAX_REVIEWS), known: Mutex::default() }
    }

    async fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            value.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim).filter(|token| !token.is_empty());
        let token = token.ok_or((StatusCode::UNAUTHORIZED, "a bearer token is needed"))?;
        if self.known().get(token).is_some_and(|since| since.elapsed() < REMEMBERED) {
            return Ok(());
        }
        let _permit = self.reviews.acquire().await;
        let user = self.who(token).await?.ok_or((StatusCode::UNAUTHORIZED, "the cluster does not know this token"))?;
        if !self.may_read(user).await? {
            return Err((StatusCode::FORBIDDEN, "this account may not `get` the path `/metrics`"));
        }
        let mut known = self.known();
        known.retain(|_, since| since.elapsed() < REMEMBERED);
        if known.len() < MAX_REMEMBERED {
            known.insert(token.to_owned(), Instant::now());
        }
        Ok(())
    }

    /// Whose token it is.
    async fn who(&self, token: &str) -> Result<Option<UserInfo>, Refusal> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let status = self.review(TokenReview { spec, ..TokenReview::default() }).await?.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }

    async fn may_read(&self, user: UserInfo) -> Result<bool, Refusal> {
        let UserInfo { username, uid, groups, extra } = user;
        let path = NonResourceAttributes { path: Some(PATH.to_owned()), verb: Some("get".to_owned()) };
        let spec = SubjectAccessReviewSpec {
            user: username,
            uid,
            groups,
            extra,
            non_resource_attributes: Some(path),
            ..SubjectAccessReviewSpec::default()
        };
        let review = self.review(SubjectAccessReview { spec, ..SubjectAccessReview::default() }).await?;
        Ok(review.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }

    /// Asks the cluster.
    async fn review<K>(&self, question: K) -> Result<K, Refusal>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let refusal = (StatusCode::SERVICE_UNAVAILABLE, "the cluster can't be asked now");
        match tokio::time::timeout(REVIEW_TIMEOUT, api.create(&PostParams::default(), &question)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                warn!(%error, "cannot ask who reads the metrics");
                Err(refusal)
            }
            Err(_) => Err(refusal),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
