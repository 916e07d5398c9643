//! korder on a cluster that was there before: `korder install`, the other form of the gate, and `korder uninstall`.
//!
//! Its programs run on the host, each under its own account, since simulated nodes run nothing.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use cluster::{Cluster, NodeTemplate};
use e2e::objects::Size;
use e2e::{Case, Environment, History, Log, korder_program};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use korder_api::names;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, Kubeconfig};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::suite::Suite;
use crate::until::pod_is_bound;
use crate::{examples, gate};

const GATE: &str = "gate.korder.dev";

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(the_webhook_does_what_the_policy_does);
}

async fn the_webhook_does_what_the_policy_does() -> Result<()> {
    let nodes = [1, 2].map(|number| NodeTemplate::new(format!("node-{number}")).label("node-type", "compute"));
    let cluster = Cluster::temporary(&nodes, |_| ()).await?;
    let kubeconfig = cluster.data_dir().kubeconfig();
    let korder =
        Korder { program: korder_program().await?, kubeconfig: kubeconfig.clone(), files: tempfile::tempdir()? };
    let first = korder.run(&["install", "--gate", "webhook"]).await?;
    ensure!(first.contains("orders.core.korder.dev created"), "{first}");
    let again = korder.run(&["install", "--gate", "webhook"]).await?;
    ensure!(!again.contains("created") && !again.contains("changed"), "the second time it did:\n{again}");

    let client = cluster.client();
    let _controllers = korder.start(&client, names::CONTROLLER_NAME, &["controller"]).await?;
    let mut webhook = korder.start_webhook(&client).await?;
    let environment = Arc::new(Environment::at(&kubeconfig).await?);
    Case::run(&environment, "webhook-asks", gate::pods_that_ask_are_gated_once).await?;
    Case::run(&environment, "webhook-does-not-ask", gate::pods_that_do_not_ask_are_untouched).await?;
    Case::run(&environment, "webhook-dry-run", gate::a_dry_run_leaves_nothing_behind).await?;
    Case::run(&environment, "webhook-example", examples::an_order_becomes_tickets_and_a_pod_takes_one_on_a_full_node)
        .await?;
    webhook.kill().await.context("cannot kill the webhook")?;
    Case::run(&environment, "webhook-away", without_the_webhook).await?;
    uninstalled(&korder, &client).await?;
    cluster.stop().await.context("cannot stop the cluster")
}

/// Pods that don't ask for a ticket don't need it; those that do are refused, and told by whom.
async fn without_the_webhook(case: &Case) -> Result<()> {
    case.add_nodes(1, Size::SMALL).await?;
    case.create(&case.pod("plain", Size::SMALL)).await?;
    pod_is_bound(case, "plain").await?;
    let Err(refused) = case.create(&case.claimant("app", "shelf", Size::SMALL)).await else {
        anyhow::bail!("a pod that asks for a ticket passed without a gate")
    };
    ensure!(format!("{refused:#}").contains(GATE), "{refused:#}");
    Ok(())
}

/// Nothing of korder holds anything back any more, and running pods run on.
async fn uninstalled(korder: &Korder, client: &Client) -> Result<()> {
    korder.run(&["uninstall", "--crds"]).await?;
    let again = korder.run(&["uninstall", "--crds"]).await?;
    ensure!(again.lines().all(|line| line.starts_with("0 ")), "the second time it did:\n{again}");
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::default_namespaced(client.clone());
    let asks = e2e::objects::claimant("app", "shelf", Size::SMALL);
    let made = pods.create(&PostParams::default(), &asks).await.context("a pod with annotations is refused")?;
    ensure!(made.spec.is_some_and(|spec| spec.scheduling_gates.is_none()), "there is still a gate");
    Ok(())
}

/// The program, for one cluster.
struct Korder {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// Where the access of its accounts is kept.
    files: TempDir,
}

impl Korder {
    /// Runs a command as the administrator; what it printed.
    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--kubeconfig").arg(&self.kubeconfig).kill_on_drop(true);
        let output = command.output().await.context("cannot run `korder`")?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`korder {}` failed:\n{stdout}{stderr}", arguments.join(" "));
        Ok(stdout.into_owned())
    }

    /// Starts one of its programs under its account.
    async fn start(&self, client: &Client, account: &str, arguments: &[&str]) -> Result<Child> {
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
    async fn start_webhook(&self, client: &Client) -> Result<Child> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let webhook =
            self.start(client, names::WEBHOOK_NAME, &["webhook", "--listen", &format!("127.0.0.1:{port}")]).await?;
        let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let here = json!([
            {"op": "remove", "path": "/webhooks/0/clientConfig/service"},
            {"op": "add", "path": "/webhooks/0/clientConfig/url", "value": format!("https://127.0.0.1:{port}/gate")},
        ]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(here)?);
        api.patch(GATE, &PatchParams::default(), &patch).await.context("cannot say where the webhook is")?;
        let history = History::start(api).await?;
        let trusted = |log: &Log<MutatingWebhookConfiguration>| {
            let webhooks = log.get(GATE)?.webhooks.as_ref()?;
            webhooks.iter().all(|webhook| webhook.client_config.ca_bundle.is_some()).then_some(())
        };
        history.until("the webhook has written its certificate authority", trusted).await?;
        Ok(webhook)
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
