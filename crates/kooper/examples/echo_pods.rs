//! The smallest controller: tells the log of every pod that is new, has changed or is gone.
//!
//! ```text
//! cargo run -p kooper --example echo_pods
//! ```

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kooper::{BoxError, Cache, Context, Failure, Handler, Key, Operator, Outcome, Resources, handle};
use kube::Client;
use tracing::info;

/// The handler: what is to be done for a pod.
struct Echo;

impl Handler<Pod> for Echo {
    async fn add(&self, cx: Context, pod: Arc<Pod>) -> Result<Outcome, Failure> {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("not known");
        info!(pod = ?Key::of(pod.as_ref()), phase, attempt = cx.attempt, "is there");
        Ok(Outcome::Done)
    }

    async fn delete(&self, _cx: Context, key: Key) -> Result<Outcome, Failure> {
        info!(pod = ?key, "is gone");
        Ok(Outcome::Done)
    }
}

/// Everything that runs.
pub(crate) fn operator(client: &Client) -> Operator {
    // The retriever: all pods of the cluster. The cache: its copy of them.
    let pods = Cache::builder(&Resources::<Pod>::all(client.clone())).build();
    // The controller: brings changes in the cache to the handler.
    let echo = handle("echo", &pods, Echo).build();
    Operator::new("echo").cache(&pods).controller(echo)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let client = Client::try_default().await?;
    operator(&client).run_until(tokio::signal::ctrl_c()).await
}
