//! The HTTPS server that the API server asks.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use korder_manifests::GATE_PATH;
use kube::Client;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::certificates::Certificates;
use crate::gate::gate_patch;
use crate::keeper::Keeper;

/// The API server takes objects of up to 3 MiB, and a review may hold one twice.
const MAX_BODY_BYTES: usize = 8 << 20;
/// How long requests in flight may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// The webhook: a server, and its certificates.
pub struct Webhook {
    client: Client,
    listen: SocketAddr,
    ready: Arc<AtomicBool>,
}

/// Why the webhook could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can't be listened on.
    #[error("cannot listen on `{address}` for the API server; choose another address with `--listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server ended.
    #[error("the webhook's server failed")]
    Serve(#[source] io::Error),
    /// What stands in the Secret is no certificate with its key.
    #[error("cannot use the webhook's certificate")]
    Certificate(#[source] io::Error),
}

impl Webhook {
    /// A webhook that keeps its certificates in the cluster of this client, once it runs.
    pub fn new(client: Client, listen: SocketAddr) -> Self {
        Self { client, listen, ready: Arc::default() }
    }

    /// Tells whether the webhook serves.
    pub fn readiness(&self) -> impl Fn() -> bool + Clone + Send + Sync + 'static {
        let ready = Arc::clone(&self.ready);
        move || ready.load(Ordering::Relaxed)
    }

    /// Serves until `stop` ends, then lets requests in flight end.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let listener = bind(self.listen).map_err(|source| ServeError::Listen { address: self.listen, source })?;
        let (to_serve, certificates) = watch::channel(None);
        let handle = Handle::new();
        let server = serve(listener, certificates, handle.clone(), Arc::clone(&self.ready));
        tokio::pin!(server);
        tokio::select! {
            biased;
            ended = &mut server => return ended,
            never = Keeper::new(self.client, to_serve).run() => match never {},
            () = stop => {}
        }
        self.ready.store(false, Ordering::Relaxed);
        handle.graceful_shutdown(Some(DRAIN));
        // Without a first certificate the server has not begun, and never will.
        tokio::time::timeout(DRAIN, server).await.unwrap_or(Ok(()))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves with the certificates of the moment; the first ones are waited for.
async fn serve(
    listener: TcpListener,
    mut certificates: watch::Receiver<Option<Certificates>>,
    handle: Handle<SocketAddr>,
    ready: Arc<AtomicBool>,
) -> Result<(), ServeError> {
    let Some((certificate, key)) = next(&mut certificates).await else { return Ok(()) };
    let tls = RustlsConfig::from_pem(certificate, key).await.map_err(ServeError::Certificate)?;
    let server = from_tcp_rustls(listener, tls.clone()).map_err(ServeError::Serve)?.handle(handle);
    ready.store(true, Ordering::Relaxed);
    info!("the webhook serves");
    let reload = async {
        while let Some((certificate, key)) = next(&mut certificates).await {
            match tls.reload_from_pem(certificate, key).await {
                Ok(()) => info!("the webhook serves with a new certificate"),
                Err(error) => warn!(%error, "a new certificate can't be used; the old one stays"),
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        ended = server.serve(routes().into_make_service()) => ended.map_err(ServeError::Serve),
        never = reload => never,
    }
}

/// The next serving certificate with its key; none when nobody keeps certificates any more.
async fn next(certificates: &mut watch::Receiver<Option<Certificates>>) -> Option<(Vec<u8>, Vec<u8>)> {
    loop {
        certificates.changed().await.ok()?;
        if let Some(certificates) = &*certificates.borrow_and_update() {
            let serving = certificates.serving.clone();
            return Some((serving.certificate.into_bytes(), serving.key.into_bytes()));
        }
    }
}

fn routes() -> Router {
    Router::new().route(GATE_PATH, post(gate)).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// Answers a review of a pod. What is asked in dry run is answered alike: nothing is done here but answering.
async fn gate(
    Json(review): Json<AdmissionReview<DynamicObject>>,
) -> Result<Json<AdmissionReview<DynamicObject>>, (StatusCode, String)> {
    let request: AdmissionRequest<DynamicObject> =
        review.try_into().map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}")))?;
    let response = AdmissionResponse::from(&request);
    let is_new_pod = request.operation == Operation::Create && request.kind.kind == "Pod";
    let patch = request.object.as_ref().filter(|_| is_new_pod).and_then(gate_patch);
    let response = match patch {
        None => response,
        Some(operations) => serde_json::from_value(operations)
            .ok()
            .and_then(|operations| response.with_patch(operations).ok())
            .ok_or((StatusCode::INTERNAL_SERVER_ERROR, "cannot write the patch".to_owned()))?,
    };
    Ok(Json(response.into_review()))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    async fn ask(body: Value) -> (StatusCode, Value) {
        let request = Request::post(GATE_PATH)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = routes().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), MAX_BODY_BYTES).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn review(operation: &str, annotation: &str) -> Value {
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "u-1",
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "resource": { "group": "", "version": "v1", "resource": "pods" },
                "name": "p",
                "operation": operation,
                "userInfo": {},
                "object": {
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": { "name": "p", "annotations": { annotation: "true" } },
                    "spec": { "containers": [] },
                },
                "dryRun": true,
            },
        })
    }

    #[tokio::test]
    async fn a_pod_that_asks_gets_a_patch() {
        let (status, answer) = ask(review("CREATE", "korder.dev/required")).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["response"]["uid"], "u-1");
        assert_eq!(answer["response"]["allowed"], true);
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
    }

    #[tokio::test]
    async fn other_pods_and_updates_pass_as_they_are() {
        for other in [review("CREATE", "example.com/any"), review("UPDATE", "korder.dev/required")] {
            let (_, answer) = ask(other).await;
            assert_eq!(answer["response"]["allowed"], true);
            assert_eq!(answer["response"].get("patch"), None);
        }
    }

    #[tokio::test]
    async fn what_is_no_review_is_refused() {
        assert_eq!(ask(json!({ "kind": "Pod" })).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        let empty = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview" });
        assert_eq!(ask(empty).await.0, StatusCode::BAD_REQUEST);
    }
}
