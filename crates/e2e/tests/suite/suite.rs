//! Tests as trials of libtest-mimic, on one cluster.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use e2e::{Case, Environment, Nodes, Skipped, told};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// The tests of a run.
pub(crate) struct Suite {
    ground: Arc<Ground>,
    trials: Vec<Trial>,
}

/// What the tests of a run share.
struct Ground {
    runtime: Runtime,
    /// Started by the first test that runs; the message where that failed.
    environment: OnceCell<Result<Arc<Environment>, String>>,
}

impl Ground {
    async fn environment(&self) -> Result<Arc<Environment>, String> {
        let started = self.environment.get_or_init(async || {
            let environment = Environment::start().await;
            environment.map(Arc::new).map_err(|error| format!("there is no cluster to test on: {error:#}"))
        });
        started.await.clone()
    }
}

impl Suite {
    /// A run without tests.
    pub(crate) fn new() -> Self {
        let runtime = e2e::runtime().expect("a machine that can run tests can run an asynchronous runtime");
        Self { ground: Arc::new(Ground { runtime, environment: OnceCell::new() }), trials: Vec::new() }
    }

    /// Adds a test, under the name of its function.
    pub(crate) fn add<F>(&mut self, test: F)
    where
        F: AsyncFnOnce(&Case) -> Result<()> + Send + 'static,
    {
        let name = name_of::<F>();
        let ground = Arc::clone(&self.ground);
        self.trials.push(Trial::ignorable_test(name.clone(), move || {
            ground.runtime.block_on(async {
                let environment = ground.environment().await?;
                completion(Case::run(&environment, &name, test).await)
            })
        }));
    }

    /// Adds a test that starts a cluster of simulated nodes for itself; skipped where the run is for another.
    pub(crate) fn add_with_own_cluster<F>(&mut self, test: F)
    where
        F: AsyncFnOnce() -> Result<()> + Send + 'static,
    {
        self.add_alone(test, Nodes::Simulated);
    }

    /// Adds a test that starts a cluster with a real node for itself; skipped where the run is for another.
    pub(crate) fn add_with_own_real_node<F>(&mut self, test: F)
    where
        F: AsyncFnOnce() -> Result<()> + Send + 'static,
    {
        self.add_alone(test, Nodes::Real);
    }

    fn add_alone<F>(&mut self, test: F, needed: Nodes)
    where
        F: AsyncFnOnce() -> Result<()> + Send + 'static,
    {
        let ground = Arc::clone(&self.ground);
        self.trials.push(Trial::ignorable_test(name_of::<F>(), move || {
            let nodes = Nodes::wanted().map_err(|error| told(&error))?;
            if nodes != needed {
                return Ok(Completion::ignored_with(format!(
                    "it starts a cluster of its own, and this run is for {nodes}"
                )));
            }
            completion(ground.runtime.block_on(test()))
        }));
    }

    /// Runs those that the arguments select, then stops what was started.
    #[expect(clippy::print_stderr, reason = "the program of the tests tells what went wrong with them")]
    pub(crate) fn run(self, arguments: &Arguments) -> ExitCode {
        let conclusion = libtest_mimic::run(arguments, self.trials);
        let ground = Arc::into_inner(self.ground);
        let environment = ground.and_then(|ground| Some((ground.runtime, ground.environment.into_inner()?.ok()?)));
        let Some((runtime, environment)) = environment else { return conclusion.exit_code() };
        let stopped = Arc::into_inner(environment).map(|environment| runtime.block_on(environment.stop()));
        if let Some(Err(error)) = stopped {
            eprintln!("the cluster of the run did not stop well: {}", told(&error));
            return ExitCode::FAILURE;
        }
        conclusion.exit_code()
    }
}

/// The path of a test's function, without this program's name.
fn name_of<F>() -> String {
    let path = std::any::type_name::<F>();
    path.strip_prefix("suite::").unwrap_or(path).to_owned()
}

fn completion(result: Result<()>) -> Result<Completion, Failed> {
    match result {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match error.downcast_ref::<Skipped>() {
            Some(Skipped(reason)) => Ok(Completion::ignored_with(reason)),
            None => Err(Failed::from(told(&error))),
        },
    }
}
