//! `/healthz` and `/readyz` of the programs that run in the cluster.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

/// Serves `/healthz`, and `/readyz` as `is_ready` says, until the process ends.
pub(crate) async fn serve(
    address: SocketAddr,
    is_ready: impl Fn() -> bool + Clone + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let ready = move || async move {
        if is_ready() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") }
    };
    let routes = Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready));
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on `{address}` for health checks"))?;
    axum::serve(listener, routes).await.context("the server of health checks failed")
}
