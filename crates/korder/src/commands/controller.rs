//! `korder controller`: the controllers, as a process.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use kooper::{Clock, Controller, Elected, Key, Leadership, SteadyClock, Stop, SystemClock};
use korder_api::names::{LEADER_LEASE, SYSTEM_NAMESPACE};
use korder_controllers::Config;
use kube::client::ClientBuilder;
use tracing::info;

use crate::{health, logging, metrics, signals};

/// How to run the controllers.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to serve /healthz and /readyz
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    health_address: SocketAddr,
    /// Where to serve /metrics, by HTTPS, to those who may read them [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    metrics_address: Option<SocketAddr>,
    /// Image of the pods that hold places: any that does nothing
    #[arg(long, default_value_t = Config::default().guardian_image, value_name = "IMAGE")]
    guardian_image: String,
    /// Act only while this process holds the Lease `korder-controllers`; several may run then
    #[arg(long)]
    leader_elect: bool,
    /// Name of this process in events
    #[arg(long, env = "POD_NAME", default_value = "korder", value_name = "NAME")]
    instance: String,
    /// Act as this user, as in `kubectl --as`: the policies let nobody but the controllers' account write what is korder's
    #[arg(long = "as", value_name = "USER")]
    act_as: Option<String>,
    #[command(flatten)]
    logging: logging::LogArguments,
}

/// Runs until a signal, or until something fails for good.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { health_address, metrics_address, guardian_image, leader_elect, instance, act_as, logging } =
        arguments;
    logging.start()?;
    let mut config = kube::Config::infer().await.context("cannot find out which cluster to work for")?;
    config.auth_info.impersonate = act_as;
    // The queue paces retries; those of the client would hide from it that the API server is busy.
    config.default_retry = false;
    let clock = SteadyClock::new(Arc::new(SystemClock));
    let builder = ClientBuilder::try_from(config).context("cannot make a client for the cluster")?;
    let client = builder.with_layer(&clock.layer()).build();
    let compared = clock.clone();
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let identity = identity(&instance);
    let controllers =
        korder_controllers::controllers(&client, &Config { guardian_image, instance, ..Config::default() }, &clock);
    let (counted, counts) = (controllers.caches.clone(), controllers.metrics);
    let caches = controllers.caches;
    let (operator, leadership): (Box<dyn Controller>, _) = if leader_elect {
        let lease = Key::namespaced(SYSTEM_NAMESPACE, LEADER_LEASE);
        let elected = Elected::new(&client, &lease, identity, Box::new(controllers.operator));
        let leadership = elected.leadership();
        (Box::new(elected), Some(leadership))
    } else {
        (Box::new(controllers.operator), None)
    };
    let leads = move || leadership.as_ref().is_none_or(Leadership::is_held);
    let leads_now = leads.clone();
    let metrics = async move {
        match metrics_address {
            Some(address) => {
                metrics::serve(address, client, move || counts.render(&counted, leads(), compared.skew())).await
            }
            None => std::future::pending().await,
        }
    };
    let (stopper, stop) = Stop::pair();
    let mut running = operator.run(stop);
    info!(version = env!("CARGO_PKG_VERSION"), "korder's controllers start");
    tokio::select! {
        biased;
        ended = &mut running => return ended.map_err(|error| anyhow!(error)).context("the controllers have failed"),
        // A candidate is ready: it waits for its turn.
        failed = health::serve(health_address, move || !leads_now() || caches.are_ready()) => return failed,
        failed = metrics => return failed,
        signal = signals::stop() => info!("stopping on {}", signal?),
    }
    stopper.stop();
    running.await.map_err(|error| anyhow!(error)).context("the controllers did not stop well")
}

/// The name of this process in the Lease, which no other has, however often the same pod starts it.
fn identity(instance: &str) -> String {
    format!("{instance}_{}_{}", std::process::id(), Timestamp::now().as_nanosecond())
}
