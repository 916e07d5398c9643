//! Other pods, which fill the nodes and wait for every place on them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use crate::objects::{NAMESPACE, Place, eventually, free_millicores, node_of, phase, unschedulable};
use crate::show::Show;
use crate::stage::Cluster;

/// What a ticket of the order takes of a core, and so does each neighbour.
const PLACE_MILLICORES: i64 = 500;
/// Neighbours on each node beyond those that fit.
const BEYOND: i64 = 2;
/// What every neighbour carries.
pub(super) const LABEL: &str = "app=neighbour";
/// What is shown of those that wait.
const COLUMNS: &str = r"NAME:.metadata.name,PINNED-TO:.spec.nodeSelector.kubernetes\.io/hostname,PRIORITY:.spec.priority,WHY:.status.conditions[0].reason";
/// The neighbours of one node.
const DEPLOYMENT: &str = include_str!("neighbours.yaml");

/// The neighbours that wait: their names, by node.
pub(super) type Waiting = BTreeMap<String, BTreeSet<String>>;

/// Fills every node on which the order has a place, and lets more pods wait there.
pub(super) async fn move_in(
    show: &mut Show,
    Cluster { client, directory, .. }: &Cluster,
    places: &[Place],
) -> anyhow::Result<Waiting> {
    show.step("Neighbours fill those nodes, and more of them wait for a place there")?;
    let nodes: BTreeSet<&str> = places.iter().map(|place| place.node.as_str()).collect();
    let mut deployments = String::new();
    for node in &nodes {
        let replicas = free_millicores(client, node).await? / PLACE_MILLICORES + BEYOND;
        deployments += &DEPLOYMENT.replace("NODE", node).replace("REPLICAS", &replicas.to_string());
    }
    let file = directory.join("neighbours.yaml");
    fs::write(&file, deployments).with_context(|| format!("cannot write `{}`", file.display()))?;
    show.aside(format_args!(
        "pods with as much CPU as a ticket, pinned by `kubernetes.io/hostname`, {BEYOND} more than fit"
    ))?;
    show.run(&format!("kubectl apply -f {}", file.display())).await?;
    let waiting = eventually("the nodes are full and more pods wait", async || {
        let mut waiting = Waiting::new();
        for place in places {
            waiting.insert(place.node.clone(), waiting_at(client, place).await?);
        }
        Ok(waiting)
    })
    .await?;
    show.run("kubectl get deployments").await?;
    show.run("kubectl describe nodes -l node-type=compute | grep -E '^(Name: |  cpu  )'").await?;
    show.holds("no node that holds a place has room for another pod of that size")?;
    show_waiting(show).await?;
    let count: usize = waiting.values().map(BTreeSet::len).sum();
    show.holds(format_args!("{count} neighbours of the guardians' priority wait, for want of nothing but CPU"))?;
    Ok(waiting)
}

/// The neighbours wait as before.
pub(super) async fn still_wait(
    show: &mut Show,
    Cluster { client, .. }: &Cluster,
    waiting: &Waiting,
) -> anyhow::Result<()> {
    show.step("The neighbours wait as before")?;
    show_waiting(show).await?;
    let neighbours = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    for (node, names) in waiting {
        for name in names {
            let pod = neighbours.get(name).await?;
            ensure!(unschedulable(&pod).is_some(), "`{name}` got a place on `{node}`");
        }
    }
    show.holds("not one of them got the place")?;
    Ok(())
}

/// The neighbours that wait on a full node for a place like the guardian's.
async fn waiting_at(client: &Client, place: &Place) -> anyhow::Result<BTreeSet<String>> {
    let Place { node, priority, .. } = place;
    let neighbours = ListParams::default().labels(&format!("{LABEL},pinned-to={node}"));
    let mut waiting = BTreeSet::new();
    for pod in Api::<Pod>::namespaced(client.clone(), NAMESPACE).list(&neighbours).await?.items {
        let name = pod.name_any();
        ensure!(pod.spec.as_ref().and_then(|spec| spec.priority) == Some(*priority), "`{name}` is of another priority");
        if let Some(why) = unschedulable(&pod) {
            ensure!(why.contains("1 Insufficient cpu"), "`{name}` waits for another reason: {why}");
            waiting.insert(name);
        } else {
            ensure!(node_of(&pod) == Some(node) && phase(&pod) == "Running", "`{name}` is not running on `{node}` yet");
        }
    }
    ensure!(i64::try_from(waiting.len())? == BEYOND, "{} neighbours wait on `{node}`", waiting.len());
    let free = free_millicores(client, node).await?;
    ensure!(free < PLACE_MILLICORES, "`{node}` has {free}m of CPU left");
    Ok(waiting)
}

/// Shows who waits, and why.
pub(super) async fn show_waiting(show: &Show) -> anyhow::Result<()> {
    show.run(&format!(
        "kubectl get pods -l {LABEL} --field-selector status.phase=Pending -o custom-columns='{COLUMNS}'"
    ))
    .await
}
