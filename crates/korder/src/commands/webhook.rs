//! `korder webhook`: the admission webhook, as a process.

use std::net::SocketAddr;

use anyhow::Context as _;
use korder_webhooks::Webhook;
use tracing::{error, info};

use crate::{health, logging, signals};

/// How to run the webhook.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to serve /healthz and /readyz
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    health_address: SocketAddr,
    /// Where the API server asks, by HTTPS
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], korder_manifests::WEBHOOK_PORT)), value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    logging: logging::LogArguments,
}

/// Runs until a signal, or until something fails for good.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { health_address, listen, logging } = arguments;
    logging.start()?;
    let client = kube::Client::try_default().await.context("cannot find out which cluster to work for")?;
    let webhook = Webhook::new(client, listen);
    let health = health::serve(health_address, webhook.readiness());
    let stop = async {
        match signals::stop().await {
            Ok(signal) => info!("stopping on {signal}"),
            Err(error) => error!("stopping: {error:#}"),
        }
    };
    info!(version = env!("CARGO_PKG_VERSION"), "korder's webhook starts");
    tokio::select! {
        biased;
        failed = health => failed,
        ended = webhook.run(stop) => ended.context("the webhook has failed"),
    }
}
