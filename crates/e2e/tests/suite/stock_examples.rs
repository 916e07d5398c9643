//! The examples of stock: on a real node they do their work, and on simulated ones they go the same way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Environment, History, Log};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use korder_api::{Order, OrderStatus};
use serde_json::json;
use tokio::process::Command;

use crate::suite::Suite;

/// A database is initialized, and everything may be slow.
const PATIENCE: Duration = Duration::from_mins(4);
/// The orders of the examples.
const ORDERS: [&str; 5] = ["hello-4f1c2a", "primes", "my-db", "pull-request-17", "my-bucket"];

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(the_examples_of_stock_are_let_in);
    suite.add_with_own_cluster(the_examples_of_stock_are_shown_on_simulated_nodes);
    suite.add_with_own_real_node(the_examples_of_stock_do_their_work);
}

/// As the cluster judges them: nothing of them is made.
async fn the_examples_of_stock_are_let_in(case: &Case) -> Result<()> {
    let mut count = 0;
    for file in std::fs::read_dir(root().join("examples/kepot")).context("there are no examples of stock")? {
        let path = file?.path();
        let yaml = in_namespace(&std::fs::read_to_string(&path)?, case);
        let judged = case.kubectl().run(&["create", "--dry-run=server", "-f", "-"], &yaml).await?;
        ensure!(judged.status.success(), "`{}` is refused:\n{}", path.display(), judged.stderr);
        let warned = judged.stderr.contains("Warning");
        ensure!(!warned, "`{}` is warned of:\n{}", path.display(), judged.stderr);
        count += 1;
    }
    ensure!(count > 0, "there are no examples of stock");
    Ok(())
}

/// On a cluster of its own, since one of them brings a kind.
async fn the_examples_of_stock_are_shown_on_simulated_nodes() -> Result<()> {
    played(&[], async |case: &Case| {
        case.add_nodes(1, Size { cpu: "8", memory: "16Gi" }).await?;
        placed(case).await?;
        // The provider's program does nothing on a simulated node.
        let bucket = case.kubectl().until_line(&["get", "buckets", "-o", "name"], |line| !line.is_empty()).await?;
        let ready = json!({"status": {
            "url": "https://one.buckets.example.com",
            "conditions": [{"type": "Ready", "status": "True", "reason": "Provided"}],
        }});
        let patch = ["patch", &bucket, "--subresource=status", "--type=merge", "-p", &ready.to_string()];
        case.kubectl().get(&patch).await?;
        filled(case).await.map(drop)
    })
    .await
}

async fn the_examples_of_stock_do_their_work() -> Result<()> {
    let mut archives = Vec::new();
    for image in ["busybox", "curl", "nginx", "postgres"] {
        archives.push(archive(image).await?);
    }
    let mut arguments = vec!["--real-node"];
    for archive in &archives {
        arguments.extend(["--image", archive.to_str().context("a path is not UTF-8")?]);
    }
    played(&arguments, worked).await
}

async fn worked(case: &Case) -> Result<()> {
    placed(case).await?;
    let [hello, primes, _, environment, bucket] = filled(case).await?;

    let delivered = case.api::<ConfigMap>().get("hello-4f1c2a").await?.data.unwrap_or_default();
    ensure!(delivered == hello.outputs && hello.outputs.contains_key("sha256"), "{delivered:?}, {:?}", hello.outputs);
    let unpack = r#"cd /tmp && echo "$ARCHIVE" | base64 -d | tar xz && hello/bin/hello"#;
    let archive =
        json!([{"name": "ARCHIVE", "valueFrom": {"configMapKeyRef": {"name": "hello-4f1c2a", "key": "archive"}}}]);
    let said = run(case, "run-hello", "busybox:latest", unpack, &archive).await?;
    ensure!(said.trim() == "hello, this is 4f1c2a", "{said}");

    // As tables of the prime-counting function have it.
    ensure!(primes.outputs["count"] == "41538" && primes.outputs["largest"] == "499979", "{:?}", primes.outputs);

    let database = case.api::<Secret>().get("my-db").await?.data.unwrap_or_default();
    let value = |key: &str| database.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned());
    let (host, user) = (value("host").context("no host")?, value("username").context("no user")?);
    ensure!(value("password").is_some_and(|password| password.len() == 32), "{:?}", database.keys());
    let ask = format!("until pg_isready -q -h {host}; do sleep 1; done; psql -h {host} -U {user} -Atc 'select 6 * 7'");
    let password = json!([{"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "my-db", "key": "password"}}}]);
    let said = run(case, "ask-database", "postgres:latest", &ask, &password).await?;
    ensure!(said.trim() == "42", "{said}");
    let wrong = json!([{"name": "PGPASSWORD", "value": "wrong"}]);
    let refused = format!("psql -h {host} -U {user} -c 'select 1' 2>&1 || true");
    let said = run(case, "ask-without-password", "postgres:latest", &refused, &wrong).await?;
    ensure!(said.contains("password authentication failed"), "{said}");

    let address = environment.outputs.get("address").context("the environment has no address")?;
    let ask = format!("wget -qO- http://{address}");
    let said = run(case, "ask-environment", "busybox:latest", &ask, &json!([])).await?;
    ensure!(said.contains("It works, says environments-"), "{said}");

    let url = bucket.outputs.get("url").context("the bucket has no address")?;
    ensure!(url.starts_with("https://buckets-") && url.ends_with(".buckets.example.com"), "{url}");
    let delivered = case.api::<ConfigMap>().get("my-bucket").await?.data.unwrap_or_default();
    ensure!(delivered == bucket.outputs, "{delivered:?}");
    Ok(())
}

async fn played(arguments: &[&str], test: impl AsyncFnOnce(&Case) -> Result<()>) -> Result<()> {
    let environment = Arc::new(Environment::own(arguments).await?);
    Case::run(&environment, "kepot", test).await?;
    Arc::into_inner(environment).context("somebody still uses the cluster")?.stop().await
}

/// Grants what the examples say, and places their orders.
async fn placed(case: &Case) -> Result<()> {
    let mut grants = vec!["install".to_owned()];
    for account in ["database-maker", "environment-maker", "bucket-maker"] {
        grants.extend(["--namespace-grant".to_owned(), format!("{}/{account}", case.namespace())]);
    }
    let granted = case.run_korder(&grants.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    ensure!(granted.status.success(), "{}{}", granted.stdout, granted.stderr);
    let example = |name: &str| std::fs::read_to_string(root().join(format!("examples/kepot/{name}.yaml")));
    case.kubectl().apply(&in_namespace(&example("bucket-provider")?, case)).await?;
    let established = ["wait", "--for=condition=Established", "crd/buckets.cloud.example.com", "--timeout=30s"];
    case.kubectl().get(&established).await?;
    for name in ["artifact", "computation", "database", "environment", "bucket"] {
        case.kubectl().apply(&in_namespace(&example(name)?, case)).await?;
    }
    Ok(())
}

/// Waits until all have what they ordered.
async fn filled(case: &Case) -> Result<[OrderStatus; 5]> {
    let orders: History<Order> = History::start(case.api()).await?;
    let all = |log: &Log<Order>| {
        let statuses = ORDERS.map(|name| log.get(name)?.status.clone().filter(|status| status.filled_time.is_some()));
        statuses.iter().all(Option::is_some).then(|| statuses.map(Option::unwrap_or_default))
    };
    orders.until_within(PATIENCE, "all orders of the examples are filled", all).await
}

/// What a command says in a container.
async fn run(case: &Case, name: &str, image: &str, command: &str, environment: &serde_json::Value) -> Result<String> {
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{
            "name": "run", "image": image, "imagePullPolicy": "IfNotPresent", "env": environment,
            "command": ["sh", "-ec", command],
        }]},
    }))?;
    case.create(&pod).await?;
    let phase =
        |log: &Log<Pod>| log.get(name)?.status.clone()?.phase.filter(|phase| phase == "Succeeded" || phase == "Failed");
    let phase = case.pods.until(format_args!("`{name}` has ended"), phase).await?;
    let said = case.kubectl().get(&["logs", name]).await?;
    ensure!(phase == "Succeeded", "`{command}` has failed:\n{said}");
    Ok(said)
}

fn in_namespace(yaml: &str, case: &Case) -> String {
    yaml.replace("namespace: default", &format!("namespace: {}", case.namespace()))
}

/// The archive of an image, made of the distribution's packages where it is not there.
async fn archive(image: &str) -> Result<PathBuf> {
    let archive = root().join(format!("target/images/{image}.tar"));
    let made = Command::new(root().join(format!("scripts/{image}-image"))).arg(&archive).output().await?;
    ensure!(made.status.success(), "no image of {image}:\n{}", String::from_utf8_lossy(&made.stderr));
    Ok(archive)
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
