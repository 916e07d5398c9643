//! Images that a node has to pull.

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::{ContainerState, Pod};

use crate::suite::Suite;

const SIZE: Size = Size { cpu: "10m", memory: "16Mi" };

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(images_are_pulled_though_the_node_has_them);
}

/// `nginx:latest` of many an example is pulled each time, since the tag is `latest`: somebody has to serve it.
async fn images_are_pulled_though_the_node_has_them(case: &Case) -> Result<()> {
    case.take_real_node(100).await?;
    let pulled = async |name: &str, image: Option<&str>| {
        let mut pod = case.pod(name, SIZE);
        let container = pod.spec.as_mut().and_then(|spec| spec.containers.first_mut()).context("no container")?;
        container.image_pull_policy = Some("Always".to_owned());
        if let Some(image) = image {
            container.image = Some(image.to_owned());
        }
        case.create(&pod).await
    };
    pulled("served", None).await?;
    let runs = |log: &Log<Pod>| state(log, "served")?.running.as_ref().map(drop);
    case.pods.until("the container runs", runs).await?;

    pulled("unknown", Some("korder.invalid/unknown:1")).await?;
    let told =
        |log: &Log<Pod>| state(log, "unknown")?.waiting.clone()?.message.filter(|text| text.contains("unknown:1"));
    let told = case.pods.until("the kubelet says that it has no image", told).await?;
    ensure!(told.contains("korder.invalid/unknown"), "{told}");
    Ok(())
}

fn state<'a>(log: &'a Log<Pod>, name: &str) -> Option<&'a ContainerState> {
    let statuses = log.get(name)?.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first()?.state.as_ref()
}
