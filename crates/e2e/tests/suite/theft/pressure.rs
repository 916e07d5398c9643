//! Pods that would take any place that becomes free.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::Log;
use e2e::objects::OnNodesOf as _;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::field::Field;
use crate::pods::is_pending;

/// Pods that wait, for all nodes alike, before the first place becomes free.
const WAITING: usize = 12;
/// Time between two new ones.
const INTERVAL: Duration = Duration::from_millis(50);
/// New ones in a round, at most. They wait for as long as it lasts, and the scheduler tries each again and again: more
/// would test how much it can bear.
const NEWCOMERS: usize = 300;

/// New pods at a steady rate, pinned to the nodes in turn, of the claimants' size and priority.
pub(super) struct Pressure {
    stop: oneshot::Sender<()>,
    newcomers: JoinHandle<Result<()>>,
}

impl Pressure {
    /// Returns when pods wait for each node, and goes on making more.
    pub(super) async fn start(field: &Field<'_>) -> Result<Self> {
        let pods = all(field);
        let (waiting, newcomers) = pods.split_at(WAITING);
        try_join_all(waiting.iter().map(|pod| field.case.create(pod))).await?;
        let wait = |log: &Log<Pod>| {
            let mut pods = waiting.iter().filter_map(|pod| pod.metadata.name.as_deref());
            pods.all(|name| log.get(name).is_some_and(|pod| is_pending(pod))).then_some(())
        };
        field.case.pods.until("pods wait for each node", wait).await?;
        let (stop, stopped) = oneshot::channel();
        let newcomers = tokio::spawn(keep_coming(field.case.api(), newcomers.to_vec(), stopped));
        Ok(Self { stop, newcomers })
    }

    /// Makes no more; an error if making one has failed.
    pub(super) async fn stop(self) -> Result<()> {
        // Nobody listens where all are made, or making one has failed, which is told next.
        self.stop.send(()).ok();
        self.newcomers.await.context("new pods stopped coming")?
    }
}

fn all(field: &Field<'_>) -> Vec<Pod> {
    let nodes = field.nodes.iter().cycle().zip(0..WAITING + NEWCOMERS);
    nodes.map(|(node, number)| field.pod(&format!("other-{number}")).on_node(node)).collect()
}

async fn keep_coming(api: Api<Pod>, pods: Vec<Pod>, mut stopped: oneshot::Receiver<()>) -> Result<()> {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for pod in pods {
        tokio::select! {
            biased;
            _ = &mut stopped => return Ok(()),
            _ = ticks.tick() => {}
        }
        api.create(&PostParams::default(), &pod).await.context("cannot make another waiting pod")?;
    }
    Ok(())
}
