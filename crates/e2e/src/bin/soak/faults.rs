//! What goes wrong meanwhile.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, EvictParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

/// Between two faults, at least and at most.
const INTERVAL: std::ops::Range<u64> = 2_000..8_000;
/// How long a drained node stays cordoned.
const CORDONED: Duration = Duration::from_secs(5);

/// The faults, drawn from a seed.
pub(crate) struct Faults {
    client: Client,
    data_dir: PathBuf,
    up: u32,
    random: StdRng,
    done: Done,
}

/// How often each was done.
#[derive(Default)]
pub(crate) struct Done {
    scheduler: u64,
    controllers: u64,
    drains: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheduler, controllers, drains } = self;
        write!(f, "killed the scheduler {scheduler} and the controllers {controllers} times, drained {drains} nodes")
    }
}

impl Faults {
    /// Faults of what the process `up` runs in this directory.
    pub(crate) fn new(client: Client, data_dir: &Path, up: u32, seed: u64) -> Self {
        // Not the numbers that the load draws.
        let random = StdRng::seed_from_u64(!seed);
        Self { client, data_dir: data_dir.to_owned(), up, random, done: Done::default() }
    }

    /// Goes on until then; what was done. No node stays cordoned.
    pub(crate) async fn run(mut self, until: Instant) -> anyhow::Result<Done> {
        loop {
            let next = Instant::now() + Duration::from_millis(self.random.random_range(INTERVAL));
            if next >= until {
                return Ok(self.done);
            }
            tokio::time::sleep_until(next).await;
            match self.random.random_range(0..3) {
                0 => self.kill_scheduler()?,
                1 => self.kill_controllers()?,
                _ => self.drain().await?,
            }
        }
    }

    fn kill_scheduler(&mut self) -> anyhow::Result<()> {
        // Between two runs there is none.
        let Ok(pid) = fs::read_to_string(self.data_dir.join("scheduler.pid")) else { return Ok(()) };
        kill(pid.trim().parse().context("the scheduler's process id")?)?;
        self.done.scheduler += 1;
        Ok(())
    }

    fn kill_controllers(&mut self) -> anyhow::Result<()> {
        for entry in fs::read_dir("/proc").context("cannot read `/proc`")? {
            let process = entry?.path();
            let arguments = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            if arguments.split('\0').nth(1) != Some("controller") {
                continue;
            }
            // The parent is the fourth field; the second, the name, has no spaces here.
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            let parent = stat.split(' ').nth(3).and_then(|parent| parent.parse().ok());
            let pid = process.file_name().and_then(|name| name.to_str()?.parse().ok());
            if let (Some(pid), true) = (pid, parent == Some(self.up)) {
                kill(pid)?;
                self.done.controllers += 1;
            }
        }
        Ok(())
    }

    /// Cordons a node, evicts what is on it, and lets it be used again.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let names: Vec<String> = nodes.list(&ListParams::default()).await?.items.iter().map(Node::name_any).collect();
        let users: Vec<&String> = names.iter().filter(|name| name.starts_with("node-")).collect();
        ensure!(!users.is_empty(), "there are no nodes to drain");
        let Some(&node) = users.choose(&mut self.random) else { return Ok(()) };
        self.cordon(&nodes, node, true).await?;
        let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
        for pod in Api::<Pod>::all(self.client.clone()).list(&on_node).await?.items {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
            match pods.evict(&pod.name_any(), &EvictParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                evicted => drop(evicted.with_context(|| format!("cannot evict `{}`", pod.name_any()))?),
            }
        }
        tokio::time::sleep(CORDONED).await;
        self.cordon(&nodes, node, false).await?;
        self.done.drains += 1;
        Ok(())
    }

    async fn cordon(&self, nodes: &Api<Node>, node: &str, cordoned: bool) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
        let patched = nodes.patch(node, &PatchParams::default(), &patch).await;
        patched.map(drop).with_context(|| format!("cannot cordon or uncordon `{node}`"))
    }
}

/// As a crash would.
fn kill(pid: i32) -> anyhow::Result<()> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
    match kill_process(pid, Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        killed => killed.context("cannot kill a process"),
    }
}
