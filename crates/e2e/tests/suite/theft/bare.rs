//! The same pods without korder, on a node that has room: what a start takes by itself.

use anyhow::Result;
use e2e::Log;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::claimant;
use super::field::{Field, is_running};

/// Starts so many pods, so many at a time, and removes each batch when it runs.
pub(super) async fn start(field: &Field<'_>, count: usize, at_once: usize) -> Result<()> {
    for first in (0..count).step_by(at_once) {
        let numbers = first..count.min(first + at_once);
        let pods: Vec<Pod> = numbers.map(|number| field.pod(&claimant(number))).collect();
        try_join_all(pods.iter().map(|pod| field.case.create(pod))).await?;
        let all = |log: &Log<Pod>| {
            pods.iter().all(|pod| log.get(&pod.name_any()).is_some_and(|pod| is_running(pod))).then_some(())
        };
        field.case.pods.until("all of the batch run", all).await?;
        field.clear().await?;
    }
    Ok(())
}
