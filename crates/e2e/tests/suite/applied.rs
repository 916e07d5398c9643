//! `deploy/install.yaml` in the hands of a tool that applies it again and again, as GitOps tools do, and wants to find
//! what it has applied.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::objects::Size;
use e2e::{Case, Environment, Kubectl};
use k8s_openapi::api::apps::v1::Deployment;
use korder_api::names;
use kube::api::{Api, ListParams};
use kube::{Client, Resource as _};

use crate::installation::{Korder, cluster};
use crate::suite::Suite;
use crate::until::order_is_ready;

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/install.yaml");

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(manifests_may_be_applied_again_and_again);
}

async fn manifests_may_be_applied_again_and_again() -> Result<()> {
    let cluster = cluster().await?;
    let korder = Korder::on(&cluster).await?;
    let client = cluster.client();
    let files = tempfile::tempdir()?;
    let environment = Arc::new(Environment::at(&cluster.data_dir().kubeconfig()).await?);
    let tool = Tool(environment.kubectl().in_no_namespace());

    tool.apply(MANIFESTS, &[]).await?;
    tool.finds_no_difference(MANIFESTS).await?;
    let _controllers = korder.start(&client, names::CONTROLLER_NAME, &["controller"]).await?;
    let _webhook = korder.start(&client, names::WEBHOOK_NAME, &["webhook", "--listen", "127.0.0.1:0"]).await?;
    let authority = korder.authority(&client).await?;
    Case::run(&environment, "applied", an_order_is_served).await?;
    tool.finds_no_difference(MANIFESTS).await?;

    let before = generations(&client).await?;
    tool.apply(MANIFESTS, &[]).await?;
    tool.finds_no_difference(MANIFESTS).await?;
    ensure!(generations(&client).await? == before, "applied a second time, it has changed a Deployment");

    let changed = files.path().join("changed.yaml");
    let changed = changed.to_str().context("a path of strange letters")?;
    write_changed(changed)?;
    tool.finds_a_difference(changed).await?;
    tool.apply(changed, &[]).await?;
    tool.finds_no_difference(changed).await?;
    ensure!(korder.authority(&client).await? == authority, "the webhook's certificate authority is another one");

    // Another tool: what both say alike is no conflict, what differs is, until one of them insists.
    korder.run(&["install", "--gate", "webhook"]).await?;
    tool.apply(MANIFESTS, &[]).await?;
    tool.finds_no_difference(MANIFESTS).await?;
    let Err(conflict) = tool.apply(changed, &[]).await else {
        bail!("what `korder install` has written was overwritten")
    };
    let conflict = conflict.to_string();
    ensure!(conflict.contains("\"korder-install\"") && conflict.contains(".spec.replicas"), "{conflict}");
    tool.apply(changed, &["--force-conflicts"]).await?;
    tool.finds_no_difference(changed).await?;

    if tool.0.get(&["get", "mutatingadmissionpolicies.v1.admissionregistration.k8s.io"]).await.is_ok() {
        let policy = files.path().join("policy.yaml");
        let policy = policy.to_str().context("a path of strange letters")?;
        std::fs::write(policy, korder.run(&["install", "--dry-run", "--output=yaml", "--gate=policy"]).await?)?;
        tool.apply(policy, &["--force-conflicts"]).await?;
        tool.finds_no_difference(policy).await?;
        tool.apply(policy, &["--field-manager=another"]).await?;
    }
    cluster.stop().await.context("cannot stop the cluster")
}

async fn an_order_is_served(case: &Case) -> Result<()> {
    case.add_nodes(1, Size { cpu: "2", memory: "4Gi" }).await?;
    case.create(&case.order("shelf", 1, Size::SMALL)).await?;
    order_is_ready(case, "shelf", 1).await.map(drop)
}

/// The manifests of a version in which something is different.
fn write_changed(path: &str) -> Result<()> {
    let mut text = std::fs::read_to_string(MANIFESTS)?;
    let changes = [
        ("  replicas: 2\n", "  replicas: 3\n"),
        ("        - --leader-elect\n", "        - --leader-elect\n        - --log-format=json\n"),
        ("  name: korder-webhook\n", "  name: korder-webhook\n  annotations:\n    example.com/team: platform\n"),
    ];
    for (from, to) in changes {
        ensure!(text.contains(from), "`{from}` is not in the manifests any more");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(path, text).with_context(|| format!("cannot write `{path}`"))
}

/// How often the specs of the programs were written.
async fn generations(client: &Client) -> Result<Vec<Option<i64>>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let all = deployments.list(&ListParams::default()).await?;
    Ok(all.items.iter().map(|deployment| deployment.meta().generation).collect())
}

/// kubectl, as a tool calls it.
struct Tool(Kubectl);

impl Tool {
    async fn apply(&self, file: &str, arguments: &[&str]) -> Result<()> {
        self.0.get(&[&["apply", "--server-side", "-f", file], arguments].concat()).await.map(drop)
    }

    async fn finds_no_difference(&self, file: &str) -> Result<()> {
        let difference = self.difference(file).await?;
        ensure!(difference.is_empty(), "it was applied, and the cluster has something else:\n{difference}");
        Ok(())
    }

    async fn finds_a_difference(&self, file: &str) -> Result<()> {
        ensure!(!self.difference(file).await?.is_empty(), "a change makes no difference");
        Ok(())
    }

    async fn difference(&self, file: &str) -> Result<String> {
        let output = self.0.run(&["diff", "--server-side", "-f", file], "").await?;
        match output.status.code() {
            Some(0) => Ok(String::new()),
            Some(1) => Ok(output.stdout),
            _ => bail!("`kubectl diff` ended with {}:\n{}", output.status, output.stderr),
        }
    }
}
