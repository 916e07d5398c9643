//! korder on a cluster that was there before, its programs run on the host, each under its own account: simulated nodes run
//! nothing.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use cluster::{Cluster, Image, NodeTemplate, RealNode, Version};
use e2e::{History, Log, korder_program};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use korder_api::names;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, Kubeconfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Name of the gate's objects.
pub(crate) const GATE: &str = "gate.korder.dev";

/// A new cluster of two nodes, without korder.
pub(crate) async fn cluster() -> Result<Cluster> {
    let nodes = [1, 2].map(|number| NodeTemplate::new(format!("node-{number}")).label("node-type", "compute"));
    Ok(Cluster::temporary(&nodes, |_| ()).await?)
}

/// A new cluster of one real node, which has korder's image, without korder.
pub(crate) async fn real_cluster() -> Result<Cluster> {
    let programs = cluster::binary::real_node(Version::of_environment()?, |_| ()).await?;
    let image =
        Image { name: concat!("korder:", env!("CARGO_PKG_VERSION")).to_owned(), program: korder_program().await? };
    let node = RealNode { programs, images: vec![image], archives: vec![], labels: vec![], exclusive_cpus: false };
    Ok(Cluster::temporary_with_real_node(node).await?)
}

/// The program, for one cluster.
pub(crate) struct Korder {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// Where the access of its accounts is kept.
    files: TempDir,
}

impl Korder {
    /// The program for this cluster.
    pub(crate) async fn on(cluster: &Cluster) -> Result<Self> {
        let kubeconfig = cluster.data_dir().kubeconfig();
        Ok(Self { program: korder_program().await?, kubeconfig, files: tempfile::tempdir()? })
    }

    /// A command of the administrator's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--kubeconfig").arg(&self.kubeconfig).kill_on_drop(true);
        command
    }

    /// Runs one; what it printed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stdin(Stdio::null()).output().await.context("cannot run `korder`")?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`korder {}` failed:\n{stdout}{stderr}", arguments.join(" "));
        Ok(stdout.into_owned())
    }

    /// Writes the Helm chart.
    pub(crate) async fn chart(&self, directory: &Path) -> Result<()> {
        let status = Command::new(&self.program).arg("chart").arg(directory).status().await?;
        ensure!(status.success(), "`korder chart` ended with {status}");
        Ok(())
    }

    /// Starts one of its programs under its account.
    pub(crate) async fn start(&self, client: &Client, account: &str, arguments: &[&str]) -> Result<Child> {
        let kubeconfig = self.access(client, account).await?;
        Command::new(&self.program)
            .args(arguments)
            .args(["--health-address", "127.0.0.1:0"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start `korder {}`", arguments.join(" ")))
    }

    /// Starts the webhook where the API server, which reaches no simulated pods, is then told that it is; returns when
    /// the API server trusts it.
    pub(crate) async fn start_webhook(&self, client: &Client) -> Result<Child> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let webhook =
            self.start(client, names::WEBHOOK_NAME, &["webhook", "--listen", &format!("127.0.0.1:{port}")]).await?;
        let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        webhook_is_at(&api, port).await?;
        self.authority(client).await?;
        Ok(webhook)
    }

    /// Waits until the webhook has told the API server whom to trust; whom.
    pub(crate) async fn authority(&self, client: &Client) -> Result<Vec<ByteString>> {
        let history = History::start(Api::all(client.clone())).await?;
        let told = |log: &Log<MutatingWebhookConfiguration>| {
            let webhooks = log.get(GATE)?.webhooks.as_ref()?;
            webhooks.iter().map(|webhook| webhook.client_config.ca_bundle.clone()).collect()
        };
        history.until("the webhook has written its certificate authority", told).await
    }

    /// A kubeconfig with a token of an account.
    async fn access(&self, client: &Client, account: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let token = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = token.status.context("the API server gave no token")?.token;
        let mut access = Kubeconfig::read_from(&self.kubeconfig)?;
        for user in &mut access.auth_infos {
            user.auth_info = Some(AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() });
        }
        let path = self.files.path().join(account);
        std::fs::write(&path, serde_saphyr::to_string(&access)?)?;
        Ok(path)
    }
}

/// Tells the API server to ask the webhook on this port of the host.
pub(crate) async fn webhook_is_at(api: &Api<MutatingWebhookConfiguration>, port: u16) -> Result<()> {
    let configured = api.get(GATE).await.context("the webhook is not installed")?;
    let config = configured.webhooks.iter().flatten().next().map(|webhook| &webhook.client_config);
    let url = format!("https://127.0.0.1:{port}/gate");
    let mut here = vec![json!({"op": "add", "path": "/webhooks/0/clientConfig/url", "value": url})];
    if config.is_some_and(|config| config.service.is_some()) {
        here.push(json!({"op": "remove", "path": "/webhooks/0/clientConfig/service"}));
    }
    let patch: Patch<()> = Patch::Json(serde_json::from_value(json!(here))?);
    api.patch(GATE, &PatchParams::default(), &patch).await.context("cannot say where the webhook is").map(drop)
}

/// Sends a signal to a program.
pub(crate) fn signal(process: &Child, signal: Signal) -> Result<()> {
    let pid = process.id().context("a program has ended by itself")?;
    let pid = Pid::from_raw(pid.cast_signed()).context("a process without an id")?;
    kill_process(pid, signal).context("cannot send a signal")
}
