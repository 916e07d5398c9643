//! One test: a namespace of its own and, where it wants them, nodes of its own.

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures::FutureExt as _;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use korder_api::{Inventory, Order, Stock, Ticket};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;
use tokio::sync::OwnedMutexGuard;

use crate::audit::{Conditions, Ownership};
use crate::environment::is_ready;
use crate::objects::{self, OnNodesOf as _, Size};
use crate::{Environment, History, Kubectl, Output, korder_program};

/// How long one call of `korder` may take.
const KORDER_TIMEOUT: Duration = Duration::from_mins(1);

/// Why a test can't say anything on this cluster; no failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Skipped(pub String);

/// Label of what lies outside the namespace and is a test's own.
const OF_CASE: &str = "e2e.korder.dev/case";
/// How much of a test's name its namespace has; with what is added to it, the names of nodes must fit labels.
const SLUG_LENGTH: usize = 40;

fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    slug.truncate(SLUG_LENGTH);
    slug.trim_end_matches('-').to_owned()
}

/// An error and its causes, a line each, but for those that what is above quotes.
pub fn told(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for link in error.chain() {
        let line = link.to_string();
        if !lines.iter().any(|above| above.contains(&line)) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// Makes a namespace; its name.
async fn make_namespace(client: &Client, metadata: ObjectMeta) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace { metadata, ..Namespace::default() };
    let made = namespaces.create(&PostParams::default(), &namespace).await.context("cannot make a namespace")?;
    let name = made.name_any();
    // Without it every pod is refused, and a controller makes it.
    let accounts: History<ServiceAccount> = History::start(Api::namespaced(client.clone(), &name)).await?;
    let there = accounts.until("the namespace has its service account", |log| log.get("default").map(drop));
    there.await?;
    Ok(name)
}

/// A namespace for one test, and what happens in it.
///
/// Nodes that a test makes carry a label and a taint with the name of the namespace, so that tests that run beside each
/// other don't take each other's capacity.
pub struct Case {
    /// The orders of the namespace.
    pub orders: History<Order>,
    /// Its tickets.
    pub tickets: History<Ticket>,
    /// Its pods.
    pub pods: History<Pod>,
    /// Its events.
    pub events: History<Event>,
    environment: Arc<Environment>,
    namespace: String,
    nodes: Mutex<Vec<String>>,
    nodes_made: AtomicUsize,
    neighbours: Mutex<Vec<String>>,
    /// Nodes with the test's label that stay, and what keeps other tests from them.
    borrowed: Mutex<Vec<(String, OwnedMutexGuard<()>)>>,
}

impl Case {
    /// Runs a test in a namespace of its own, judges all that happened there, and removes everything.
    ///
    /// The error of a test that failed or panicked ends with what was there when it did.
    pub async fn run(
        environment: &Arc<Environment>,
        name: &str,
        test: impl AsyncFnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let case = Self::start(environment, name).await?;
        let result = AssertUnwindSafe(Box::pin(test(&case))).catch_unwind().await.unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            bail!("panicked: {}", message.unwrap_or_default())
        });
        let result = match result.and_then(|()| case.audit()) {
            Err(error) if !error.is::<Skipped>() => Err(anyhow!("{}\n\n{}", told(&error), case.report())),
            result => result,
        };
        let removed = case.remove().await.with_context(|| format!("cannot clean up after `{name}`"));
        result.and(removed)
    }

    async fn start(environment: &Arc<Environment>, name: &str) -> Result<Self> {
        let client = environment.client();
        let metadata = ObjectMeta { generate_name: Some(format!("e2e-{}-", slug(name))), ..ObjectMeta::default() };
        let namespace = make_namespace(&client, metadata).await?;
        Ok(Self {
            orders: History::start(Api::namespaced(client.clone(), &namespace)).await?,
            tickets: History::start(Api::namespaced(client.clone(), &namespace)).await?,
            pods: History::start(Api::namespaced(client.clone(), &namespace)).await?,
            events: History::start(Api::namespaced(client.clone(), &namespace)).await?,
            environment: Arc::clone(environment),
            namespace,
            nodes: Mutex::new(Vec::new()),
            nodes_made: AtomicUsize::new(0),
            neighbours: Mutex::new(Vec::new()),
            borrowed: Mutex::new(Vec::new()),
        })
    }

    /// Makes another namespace for this test, with these labels, which goes with the test.
    pub async fn add_namespace(&self, name: &str, labels: &[(&str, &str)]) -> Result<String> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let metadata = ObjectMeta {
            name: Some(format!("{}-{name}", self.namespace)),
            labels: Some(labels.collect()),
            ..ObjectMeta::default()
        };
        let made = make_namespace(&self.client(), metadata).await?;
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).push(made.clone());
        Ok(made)
    }

    /// The cluster.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The name of the namespace, which is also the name by which nodes are the test's own.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A client with the rights of the administrator.
    pub fn client(&self) -> Client {
        self.environment.client()
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// `kubectl` in the namespace.
    pub fn kubectl(&self) -> Kubectl {
        self.environment.kubectl().in_namespace(&self.namespace)
    }

    /// Runs `korder` on the cluster with arguments that take `--namespace`; what it printed.
    pub async fn korder(&self, arguments: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } =
            self.run_korder(&[arguments, &["--namespace", &self.namespace]].concat()).await?;
        ensure!(status.success(), "`korder {}` ended with {status}:\n{stdout}{stderr}", arguments.join(" "));
        Ok(stdout)
    }

    /// Runs `korder` on the cluster, whatever comes of it.
    pub async fn run_korder(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(korder_program().await?);
        command.args(arguments).env("KUBECONFIG", self.environment.kubectl().kubeconfig());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let shown = format!("korder {}", arguments.join(" "));
        let output = tokio::time::timeout(KORDER_TIMEOUT, command.output())
            .await
            .with_context(|| format!("`{shown}` took more than {} s", KORDER_TIMEOUT.as_secs()))?
            .with_context(|| format!("cannot run `{shown}`"))?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Makes an object in the namespace.
    pub async fn create<K>(&self, object: &K) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let created = self.api::<K>().create(&PostParams::default(), object).await;
        created.with_context(|| format!("cannot create {} `{}`", K::kind(&()), object.name_any()))
    }

    /// Removes an object at once, whatever grace period it has.
    pub async fn delete<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let deleted = self.api::<K>().delete(name, &DeleteParams::background().grace_period(0)).await;
        deleted.with_context(|| format!("cannot delete {} `{name}`", K::kind(&()))).map(drop)
    }

    /// Makes so many simulated nodes of this size for this test alone, and waits until they are ready; their names.
    ///
    /// The test is skipped on clusters that can't simulate nodes.
    pub async fn add_nodes(&self, count: usize, size: Size) -> Result<Vec<String>> {
        if !self.environment.simulates_nodes().await? {
            bail!(Skipped("nodes can't be simulated on this cluster: KWOK does not run there".to_owned()));
        }
        let api: Api<Node> = Api::all(self.client());
        let first = self.nodes_made.fetch_add(count, Ordering::Relaxed);
        let names: Vec<String> = (first..first + count).map(|number| format!("{}-{number}", self.namespace)).collect();
        for name in &names {
            let made = api.create(&PostParams::default(), &objects::node(name, &self.namespace, size)).await;
            made.with_context(|| format!("cannot make node `{name}`"))?;
            self.nodes().push(name.clone());
        }
        for name in &names {
            self.until_node(name, "is ready", is_ready).await?;
        }
        Ok(names)
    }

    /// Removes a node that the test has made, as when a machine is taken away.
    pub async fn remove_node(&self, name: &str) -> Result<()> {
        self.nodes().retain(|node| node != name);
        let nodes: Api<Node> = Api::all(self.client());
        let deleted = nodes.delete(name, &DeleteParams::default()).await;
        deleted.with_context(|| format!("cannot delete node `{name}`")).map(drop)
    }

    /// Waits until a node is as asked.
    pub async fn until_node(&self, name: &str, what: &str, is: impl Fn(&Node) -> bool) -> Result<()> {
        let selector = ListParams::default().fields(&format!("metadata.name={name}"));
        let history: History<Node> = History::selected(Api::all(self.client()), selector).await?;
        let found = |log: &crate::Log<Node>| log.get(name).filter(|node| is(node)).map(drop);
        history.until(format!("node `{name}` {what}"), found).await
    }

    /// Makes a priority class for this test alone, which is named after it: `NAMESPACE-NAME`.
    pub async fn add_priority_class(&self, name: &str, value: i32) -> Result<String> {
        self.add_class(name, PriorityClass { value, ..PriorityClass::default() }).await
    }

    /// The same for pods that wait for a place and take none by force.
    pub async fn add_patient_priority_class(&self, name: &str, value: i32) -> Result<String> {
        let preemption_policy = Some("Never".to_owned());
        self.add_class(name, PriorityClass { value, preemption_policy, ..PriorityClass::default() }).await
    }

    async fn add_class(&self, name: &str, class: PriorityClass) -> Result<String> {
        let name = format!("{}-{name}", self.namespace);
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some([(OF_CASE.to_owned(), self.namespace.clone())].into()),
            ..ObjectMeta::default()
        };
        let made = Api::all(self.client()).create(&PostParams::default(), &PriorityClass { metadata, ..class }).await;
        made.with_context(|| format!("cannot make the priority class `{name}`"))?;
        self.is_admitted(&name).await?;
        Ok(name)
    }

    /// Waits until pods of a new priority class are let in: the API server learns of classes by a watch of its own.
    async fn is_admitted(&self, class: &str) -> Result<()> {
        let mut pod = self.pod("class-is-known", Size::SMALL);
        pod.spec.get_or_insert_default().priority_class_name = Some(class.to_owned());
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let known = async {
            while let Err(error) = self.api::<Pod>().create(&dry_run, &pod).await {
                let unknown = matches!(&error, kube::Error::Api(told) if told.message.contains("no PriorityClass"));
                ensure!(unknown, "cannot try the priority class `{class}`: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        let late = || format!("pods of the priority class `{class}` are refused for a minute");
        tokio::time::timeout(Duration::from_mins(1), known).await.with_context(late)?
    }

    /// Remembers to take the test's label off a node that others use, too.
    pub(crate) fn borrow(&self, node: &str, lent: OwnedMutexGuard<()>) {
        self.borrowed.lock().unwrap_or_else(PoisonError::into_inner).push((node.to_owned(), lent));
    }

    fn nodes(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An order on the test's own nodes.
    pub fn order(&self, name: &str, replicas: i32, size: Size) -> Order {
        objects::order(name, replicas, size).on_nodes_of(&self.namespace)
    }

    /// A ticket of nobody's order on the test's own nodes.
    pub fn ticket(&self, name: &str, size: Size) -> Ticket {
        objects::ticket(name, size).on_nodes_of(&self.namespace)
    }

    /// A pod on the test's own nodes.
    pub fn pod(&self, name: &str, size: Size) -> Pod {
        objects::pod(name, size).on_nodes_of(&self.namespace)
    }

    /// A pod on the test's own nodes that asks for a ticket of an order.
    pub fn claimant(&self, name: &str, order: &str, size: Size) -> Pod {
        objects::claimant(name, order, size).on_nodes_of(&self.namespace)
    }

    /// Judges the whole history of the namespace's orders and tickets.
    fn audit(&self) -> Result<()> {
        let mut ownership = Ownership::default();
        let mut conditions = Conditions::default();
        for event in self.orders.log().events() {
            conditions.see(event.object.as_ref());
        }
        for event in self.tickets.log().events() {
            ownership.see(event.change, &event.object);
            conditions.see(event.object.as_ref());
        }
        ensure!(ownership.objections().is_empty(), "one ticket, one pod: {}", ownership.objections().join("; "));
        ensure!(conditions.objections().is_empty(), "conditions: {}", conditions.objections().join("; "));
        Ok(())
    }

    /// What is there and what korder has told, for the message of a failure.
    fn report(&self) -> String {
        let Self { orders, tickets, pods, events, .. } = self;
        let is_ours = |event: &Event| event.reporting_controller.as_deref().is_some_and(|by| by.starts_with("korder."));
        let parts = [orders.shown(), tickets.shown(), pods.shown(), events.log().shown(is_ours)];
        format!("in namespace `{}` there was last:\n{}", self.namespace, parts.join("\n"))
    }

    /// Removes everything. That the namespace, which takes some seconds to go, has gone is awaited by
    /// [`Environment::stop`].
    async fn remove(&self) -> Result<()> {
        let now = DeleteParams::background().grace_period(0);
        let all = ListParams::default();
        self.api::<Order>().delete_collection(&now, &all).await.context("cannot delete the orders")?;
        self.api::<Ticket>().delete_collection(&now, &all).await.context("cannot delete the tickets")?;
        // They would make new pods.
        self.api::<Inventory>().delete_collection(&now, &all).await.context("cannot delete the inventories")?;
        self.api::<Stock>().delete_collection(&now, &all).await.context("cannot delete the stocks")?;
        self.api::<Deployment>().delete_collection(&now, &all).await.context("cannot delete the Deployments")?;
        self.api::<StatefulSet>().delete_collection(&now, &all).await.context("cannot delete the StatefulSets")?;
        self.api::<DaemonSet>().delete_collection(&now, &all).await.context("cannot delete the DaemonSets")?;
        self.api::<Job>().delete_collection(&now, &all).await.context("cannot delete the Jobs")?;
        self.api::<ReplicaSet>().delete_collection(&now, &all).await.context("cannot delete the ReplicaSets")?;
        // Before the namespace goes, which would leave them their grace periods.
        self.api::<Pod>().delete_collection(&now, &all).await.context("cannot delete the pods")?;
        let none = |count: usize| (count == 0).then_some(());
        self.tickets.until("the tickets are gone", |log| none(log.objects().count())).await?;
        self.pods.until("the pods are gone", |log| none(log.objects().count())).await?;
        self.environment.remove_namespace(&self.namespace).await?;
        let neighbours = std::mem::take(&mut *self.neighbours.lock().unwrap_or_else(PoisonError::into_inner));
        for neighbour in neighbours {
            let pods: Api<Pod> = Api::namespaced(self.client(), &neighbour);
            pods.delete_collection(&now, &all).await.context("cannot delete the pods of another namespace")?;
            self.environment.remove_namespace(&neighbour).await?;
        }
        let classes: Api<PriorityClass> = Api::all(self.client());
        let own = ListParams::default().labels(&format!("{OF_CASE}={}", self.namespace));
        classes.delete_collection(&DeleteParams::default(), &own).await.context("cannot delete priority classes")?;
        let nodes: Api<Node> = Api::all(self.client());
        let borrowed = std::mem::take(&mut *self.borrowed.lock().unwrap_or_else(PoisonError::into_inner));
        let free = serde_json::json!({"metadata": {"labels": {objects::OWN_NODE: null}}});
        for (name, _lent) in &borrowed {
            let freed = nodes.patch(name, &PatchParams::default(), &Patch::Merge(&free)).await;
            freed.with_context(|| format!("cannot take the label off node `{name}`"))?;
        }
        let names = std::mem::take(&mut *self.nodes());
        for name in names {
            nodes
                .delete(&name, &DeleteParams::default())
                .await
                .with_context(|| format!("cannot delete node `{name}`"))?;
        }
        Ok(())
    }
}
