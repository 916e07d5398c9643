//! `/healthz`, `/readyz` and `/metrics` of the programs that run in the cluster.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;

/// The type of the text format that Prometheus reads.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves `/healthz`, `/readyz` as `is_ready` says and, where there are any, `/metrics`, until the process ends.
pub(crate) async fn serve(
    address: SocketAddr,
    is_ready: impl Fn() -> bool + Clone + Send + Sync + 'static,
    metrics: Option<impl Fn() -> String + Clone + Send + Sync + 'static>,
) -> anyhow::Result<()> {
    let ready = move || async move {
        if is_ready() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") }
    };
    let mut routes = Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready));
    if let Some(metrics) = metrics {
        let metrics = move || async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics()) };
        routes = routes.route("/metrics", get(metrics));
    }
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on `{address}` for health checks"))?;
    axum::serve(listener, routes).await.context("the server of health checks failed")
}
