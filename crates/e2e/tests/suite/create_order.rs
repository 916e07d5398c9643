//! `kubectl create order`, the plugin, as users type it.

use std::os::unix::fs::symlink;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Case, korder_program};
use tempfile::TempDir;
use tokio::process::Command;

use crate::suite::Suite;
use crate::until::order_is_ready;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(an_order_is_placed_by_kubectl_create);
    suite.add(an_order_is_tried_out_by_kubectl_create);
    suite.add(an_order_that_is_not_filled_is_told_by_the_exit_code);
    suite.add(the_names_of_inventories_are_completed);
}

/// `kubectl` with the plugin on its `PATH`.
struct Plugin<'a> {
    case: &'a Case,
    folder: TempDir,
}

impl<'a> Plugin<'a> {
    async fn of(case: &'a Case) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = korder_program().await?;
        for name in ["kubectl-create-order", "kubectl_complete-create-order"] {
            symlink(&program, folder.path().join(name))?;
        }
        Ok(Self { case, folder })
    }

    /// Runs `kubectl create order` with these arguments, in the namespace of the test.
    async fn create(&self, arguments: &str) -> Result<Output> {
        let mut command = Command::new(self.case.kubectl().program());
        command.args(["create", "order"]).args(arguments.split_whitespace());
        command.args(["--namespace", self.case.namespace()]);
        self.run(command).await
    }

    async fn run(&self, mut command: Command) -> Result<Output> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = [self.folder.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(paths)?).env("KUBECONFIG", self.case.kubectl().kubeconfig());
        command.stdin(Stdio::null()).kill_on_drop(true);
        tokio::time::timeout(DEADLINE, command.output()).await.context("it does not end")?.context("it can't be run")
    }

    /// Runs it and returns what it printed, if it ends with this code.
    async fn ends(&self, code: i32, arguments: &str) -> Result<(String, String)> {
        let output = self.create(arguments).await?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let told = || format!("`kubectl create order {arguments}` ended with {}:\n{stdout}{stderr}", output.status);
        ensure!(output.status.code() == Some(code), told());
        Ok((stdout.into_owned(), stderr.into_owned()))
    }
}

async fn an_order_is_placed_by_kubectl_create(case: &Case) -> Result<()> {
    let plugin = Plugin::of(case).await?;
    let (stdout, stderr) =
        plugin.ends(0, "web --cpu 1m --memory 1Mi --replicas 2 --for 1h --wait --timeout 50s").await?;
    ensure!(stdout == "order.core.korder.dev/web created\n", "{stdout}");
    ensure!(stderr.contains("Ready: 2 of 2 tickets are ready"), "{stderr}");
    order_is_ready(case, "web", 2).await?;
    let (_, stderr) = plugin.ends(1, "web --cpu 1m --for 1h").await?;
    ensure!(stderr.contains("\"web\" already exists"), "{stderr}");
    let (_, help) = plugin.ends(2, "web --cpu 1m").await?;
    ensure!(help.contains("--for") && help.contains("Usage: kubectl create order"), "{help}");
    Ok(())
}

async fn an_order_is_tried_out_by_kubectl_create(case: &Case) -> Result<()> {
    let plugin = Plugin::of(case).await?;
    let (stdout, _) = plugin.ends(0, "web --cpu 1m --for 1h --dry-run=client -o yaml").await?;
    ensure!(stdout.contains("duration: 1h") && stdout.contains("kind: Order"), "{stdout}");
    // What it prints is an order.
    let judged = case.kubectl().run(&["apply", "--dry-run=server", "-f", "-"], &stdout).await?;
    ensure!(judged.status.success(), "{}", judged.stderr);
    let (stdout, _) = plugin.ends(0, "web --cpu 1m --for 1h --dry-run=server").await?;
    ensure!(stdout == "order.core.korder.dev/web created (server dry run)\n", "{stdout}");
    let (stdout, _) = plugin.ends(0, "web --cpu 1m --for 1h --dry-run=server -o name").await?;
    ensure!(stdout == "order.core.korder.dev/web\n", "{stdout}");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(
        file.path(),
        "operation: {job: {template: {spec: {containers: [{name: b, image: b}]}}}}\ntypo: x\n",
    )?;
    let (_, stderr) = plugin.ends(1, &format!("build --item-file {} --dry-run=server", file.path().display())).await?;
    ensure!(stderr.contains("unknown field \"spec.item.typo\""), "{stderr}");
    ensure!(case.orders.log().objects().count() == 0, "an order was placed");
    Ok(())
}

async fn an_order_that_is_not_filled_is_told_by_the_exit_code(case: &Case) -> Result<()> {
    let plugin = Plugin::of(case).await?;
    // No node has so much.
    let (_, stderr) = plugin.ends(3, "huge --cpu 9999 --for 1h --wait --timeout 2s -o name").await?;
    ensure!(stderr.contains("the order `huge` is not filled after 2 s, and goes on waiting"), "{stderr}");
    case.orders.until("the order stays", |log| log.get("huge").map(drop)).await
}

async fn the_names_of_inventories_are_completed(case: &Case) -> Result<()> {
    let plugin = Plugin::of(case).await?;
    let inventory = "apiVersion: core.korder.dev/v1alpha1\nkind: Inventory\nmetadata: {name: databases}\nspec: {replicas: 0, item: \
                     {operation: {job: {template: {spec: {containers: [{name: b, image: b}]}}}}}}\n";
    case.kubectl().apply(inventory).await?;
    let mut complete = Command::new(plugin.folder.path().join("kubectl_complete-create-order"));
    complete.args(["my-db", "--namespace", case.namespace(), "--inventory", ""]);
    let output = plugin.run(complete).await?;
    ensure!(output.stdout == b"databases\n:4\n", "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
