//! How units of stock are made, and what is left of them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::Case;
use e2e::objects::{OnNodesOf as _, Size};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Secret};
use korder_api::{Stock, StockPhase};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::suite::Suite;
use crate::until::{event_tells, reason};

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_job_makes_a_unit_and_its_result_is_the_output);
    suite.add(a_job_that_fails_says_why_and_leaves_nothing);
    suite.add(objects_are_made_as_the_account_and_removed_last_made_first);
    suite.add(an_object_that_is_there_already_is_not_touched);
    suite.add(an_account_that_is_not_granted_is_told);
}

/// An inventory of one unit whose job ends so, on a simulated node of the test.
async fn by_job(case: &Case, code: u8, result: &str, outputs: &str) -> Result<String> {
    case.add_nodes(1, Size::SMALL).await?;
    let container = Container {
        name: "build".to_owned(),
        image: Some("busybox:latest".to_owned()),
        command: Some(["sh", "-c", "build"].map(str::to_owned).to_vec()),
        ..Container::default()
    };
    let pod = PodSpec { containers: vec![container], ..PodSpec::default() }.on_nodes_of(case.namespace());
    let pod = serde_json::to_string(&pod)?;
    Ok(format!(
        r#"
apiVersion: core.korder.dev/v1alpha1
kind: Inventory
metadata: {{name: built}}
spec:
  replicas: 1
  item:
    inputs: {{VERSION: "7"}}
    operation:
      job:
        backoffLimit: 0
        template:
          metadata:
            annotations: {{simulated-node.korder.dev/exit-code: "{code}", simulated-node.korder.dev/result: '{result}'}}
          spec: {pod}
    outputs: {outputs}
"#
    ))
}

async fn a_job_makes_a_unit_and_its_result_is_the_output(case: &Case) -> Result<()> {
    let outputs = "[{name: digest, from: {result: digest}}]";
    case.kubectl().apply(&by_job(case, 0, r#"{"digest": "sha256:1"}"#, outputs).await?).await?;
    let unit = unit_is(case, "built-1", StockPhase::Ready).await?;
    let status = unit.status.clone().unwrap_or_default();
    ensure!(status.outputs.get("digest").is_some_and(|digest| digest == "sha256:1"), "{status:?}");
    ensure!(reason(&status.conditions) == Some(("True", "Made")), "{status:?}");
    let environment =
        "jsonpath={.spec.template.spec.containers[0].env[0].name}={.spec.template.spec.containers[0].env[0].value}";
    let environment = case.kubectl().get(&["get", "job/built-1", "-o", environment]).await?;
    ensure!(environment == "VERSION=7", "{environment}");
    // Its result is read: nothing keeps the pod any more.
    let pods: Api<Pod> = case.api();
    let of_unit = ListParams::default().labels("korder.dev/stock=built-1");
    until(case, "the pod is free to go", async || {
        let pods = pods.list(&of_unit).await?;
        let free =
            pods.iter().all(|pod| !pod.finalizers().iter().any(|finalizer| finalizer.starts_with("korder.dev/")));
        Ok((free && !pods.items.is_empty()).then_some(()))
    })
    .await?;
    case.kubectl().get(&["delete", "kinv/built"]).await?;
    nothing_is_left(case, &["stocks", "jobs", "pods"]).await
}

async fn a_job_that_fails_says_why_and_leaves_nothing(case: &Case) -> Result<()> {
    case.kubectl().apply(&by_job(case, 3, "disk full", "[]").await?).await?;
    let unit = until(case, "a unit failed and is torn down", async || {
        let units = case.api::<Stock>().list(&ListParams::default()).await?;
        Ok(units.into_iter().find(|unit| condition(unit, "TornDown").is_some_and(|(status, _)| status == "True")))
    })
    .await?;
    let (_, told) = condition(&unit, "Ready").context("a unit that failed says so")?;
    ensure!(told.contains("container `build` ended with code 3: disk full"), "{told}");
    let status = unit.status.clone().unwrap_or_default();
    ensure!(reason(&status.conditions) == Some(("False", "ProductionFailed")), "{status:?}");
    let left = case
        .kubectl()
        .get(&["get", "jobs", "-l", &format!("korder.dev/stock={}", unit.name_any()), "-o", "name"])
        .await?;
    ensure!(left.trim().is_empty(), "{left}");
    case.kubectl().get(&["delete", "kinv/built"]).await?;
    nothing_is_left(case, &["stocks", "jobs", "pods"]).await
}

/// The account, and what it may do.
const ACCOUNT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: maker}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: maker}
rules: [{apiGroups: [''], resources: [configmaps, secrets], verbs: [get, create, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: maker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: maker}
subjects: [{kind: ServiceAccount, name: maker}]
";

/// An inventory of one unit of a Secret and a `ConfigMap`, which somebody's finalizer keeps.
pub(crate) const OF_OBJECTS: &str = "
apiVersion: core.korder.dev/v1alpha1
kind: Inventory
metadata: {name: bought}
spec:
  replicas: 1
  item:
    serviceAccountName: maker
    operation:
      manifests:
      - {apiVersion: v1, kind: Secret, metadata: {name: $(stock.name)}, stringData: {password: $(random.24)}}
      - apiVersion: v1
        kind: ConfigMap
        metadata: {name: $(stock.name), finalizers: [e2e.korder.dev/kept]}
        data: {host: $(stock.name).example.com}
    readyWhen:
    - {kind: ConfigMap, name: $(stock.name), expression: object.data.host.endsWith('.example.com')}
    outputs:
    - {name: host, from: {object: {kind: ConfigMap, name: $(stock.name)}, fieldPath: .data.host}}
    - {name: password, from: {object: {kind: Secret, name: $(stock.name)}, secretKey: password}}
";

pub(crate) async fn may_be_made(case: &Case) -> Result<()> {
    case.kubectl().apply(ACCOUNT).await?;
    let grant = format!("{}/maker", case.namespace());
    let granted = case.run_korder(&["install", "--namespace-grant", &grant]).await?;
    ensure!(granted.status.success(), "`{grant}` is not granted: {}", granted.stderr);
    Ok(())
}

async fn objects_are_made_as_the_account_and_removed_last_made_first(case: &Case) -> Result<()> {
    may_be_made(case).await?;
    case.kubectl().apply(OF_OBJECTS).await?;
    let unit = until(case, "a unit is ready", async || {
        let units = case.api::<Stock>().list(&ListParams::default()).await?;
        Ok(units.into_iter().find(|unit| phase(unit) == StockPhase::Ready))
    })
    .await?;
    let (name, status) = (unit.name_any(), unit.status.clone().unwrap_or_default());
    ensure!(status.outputs.get("host") == Some(&format!("{name}.example.com")), "{status:?}");
    ensure!(status.objects.iter().all(|object| object.uid.is_some()) && status.objects.len() == 2, "{status:?}");
    let secrets: Api<Secret> = case.api();
    let made = secrets.get(&name).await?;
    let kept = secrets.get(status.secret_name.as_deref().context("a sensitive output has a Secret")?).await?;
    let password =
        |secret: &Secret| secret.data.as_ref().and_then(|data| data.get("password")).map(|value| value.0.clone());
    ensure!(password(&made).is_some_and(|password| password.len() == 24), "a password of its own");
    ensure!(password(&made) == password(&kept), "the password that is handed on is another one");
    ensure!(!serde_json::to_string(&status)?.contains("password"), "{status:?}");

    case.kubectl().get(&["delete", "kst", &name, "--wait=false"]).await?;
    let maps: Api<ConfigMap> = case.api();
    let is_going = |map: &ConfigMap| map.metadata.deletion_timestamp.is_some();
    until(case, "the object that was made last is deleted", async || {
        Ok(maps.get_opt(&name).await?.is_none_or(|map| is_going(&map)).then_some(()))
    })
    .await?;
    ensure!(
        secrets.get_opt(&name).await?.is_some_and(|secret| secret.metadata.deletion_timestamp.is_none()),
        "it is too early"
    );
    // What somebody keeps is left to him, if that is wanted.
    case.kubectl().get(&["annotate", "kst", &name, "korder.dev/abandon=true"]).await?;
    until(case, "the unit is gone", async || Ok(case.api::<Stock>().get_opt(&name).await?.is_none().then_some(())))
        .await?;
    let event = event_tells(case, "Stock", &name, "Abandoned").await?;
    let note = event.note.clone().unwrap_or_default();
    ensure!(note.ends_with(&format!("what may be left of it: Secret `{name}`, ConfigMap `{name}`")), "{note}");

    // The next unit is torn down as soon as nobody keeps it.
    case.kubectl().get(&["delete", "kinv/bought", "--wait=false"]).await?;
    until(case, "nobody keeps anything", async || {
        for map in maps.list(&ListParams::default()).await?.iter().filter(|map| is_going(map)) {
            let free = r#"{"metadata": {"finalizers": null}}"#;
            case.kubectl().run(&["patch", "configmap", &map.name_any(), "--type=merge", "-p", free], "").await?;
        }
        Ok(case.api::<Stock>().list(&ListParams::default()).await?.items.is_empty().then_some(()))
    })
    .await
}

async fn an_object_that_is_there_already_is_not_touched(case: &Case) -> Result<()> {
    may_be_made(case).await?;
    case.kubectl()
        .apply("apiVersion: v1\nkind: Secret\nmetadata: {name: bought-1}\nstringData: {mine: itself}\n")
        .await?;
    case.kubectl().apply(OF_OBJECTS).await?;
    let first = unit_is(case, "bought-1", StockPhase::Failed).await?;
    let status = first.status.clone().unwrap_or_default();
    ensure!(reason(&status.conditions) == Some(("False", "ObjectExists")), "{status:?}");
    until(case, "another unit is made", async || {
        let units = case.api::<Stock>().list(&ListParams::default()).await?;
        Ok(units.into_iter().find(|unit| phase(unit) == StockPhase::Ready))
    })
    .await?;
    let mine = case.api::<Secret>().get("bought-1").await?;
    ensure!(
        mine.metadata.deletion_timestamp.is_none() && mine.data.is_some_and(|data| data.contains_key("mine")),
        "it was mine"
    );
    Ok(())
}

async fn an_account_that_is_not_granted_is_told(case: &Case) -> Result<()> {
    case.kubectl().apply(ACCOUNT).await?;
    case.kubectl().apply(OF_OBJECTS).await?;
    let unit = unit_is(case, "bought-1", StockPhase::Failed).await?;
    let (_, told) = condition(&unit, "Ready").context("a unit that failed says so")?;
    let command = format!("`korder install --namespace-grant {}/maker`", case.namespace());
    ensure!(told.ends_with(&command), "{told}");
    let status = unit.status.clone().unwrap_or_default();
    ensure!(reason(&status.conditions) == Some(("False", "GrantMissing")), "{status:?}");
    // Nothing was made, so that nothing has to be removed.
    case.kubectl().get(&["delete", "kinv/bought"]).await?;
    nothing_is_left(case, &["stocks"]).await
}

fn phase(unit: &Stock) -> StockPhase {
    unit.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

fn condition<'a>(unit: &'a Stock, type_: &str) -> Option<(&'a str, &'a str)> {
    let condition = unit.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&condition.status, &condition.message))
}

async fn unit_is(case: &Case, name: &str, wanted: StockPhase) -> Result<Stock> {
    until(case, &format!("unit `{name}` is {wanted:?}"), async || {
        Ok(case.api::<Stock>().get_opt(name).await?.filter(|unit| phase(unit) == wanted))
    })
    .await
}

async fn nothing_is_left(case: &Case, kinds: &[&str]) -> Result<()> {
    until(case, &format!("nothing is left of {kinds:?}"), async || {
        let left = case.kubectl().get(&["get", &kinds.join(","), "-o", "name"]).await?;
        Ok(left.trim().is_empty().then_some(()))
    })
    .await
}

/// Asks again and again until there is an answer.
async fn until<T>(case: &Case, what: &str, mut found: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let asked = async {
        loop {
            if let Some(found) = found().await? {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let late = || format!("not within {:?}: {what}, in namespace `{}`", e2e::DEADLINE, case.namespace());
    tokio::time::timeout(e2e::DEADLINE, asked).await.with_context(late)?
}
