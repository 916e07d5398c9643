//! What the tests share.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kooper::{BoxError, Clock, Controller, Operator, Stop};
use kooper_sim::Sim;
use serde_json::{Value, json};
use tokio::time::timeout;

/// The clock of a simulated cluster, as a clock of the toolkit.
pub(crate) fn clock(sim: &Sim) -> Arc<dyn Clock> {
    let clock = sim.clock();
    Arc::new(move || -> Timestamp { clock.now() })
}

/// Runs an operator beside `scenario`, and stops it when that is done. It must not end before, nor hang after.
pub(crate) async fn beside(operator: Operator, scenario: impl Future<Output = ()>) -> Result<(), BoxError> {
    let mut done = false;
    let scenario = async {
        scenario.await;
        done = true;
    };
    let ended = timeout(Duration::from_hours(24), operator.run_until(scenario)).await;
    let ended = ended.expect("the operator does not stop");
    assert!(done, "the operator ended by itself: {ended:?}");
    ended
}

/// Runs an operator for some virtual time, then drops it, as a crash would.
pub(crate) async fn crash_after(operator: Operator, time: Duration) {
    let (_stopper, stop) = Stop::pair();
    let ended = timeout(time, Box::new(operator).run(stop)).await;
    assert!(ended.is_err(), "the operator ended by itself: {ended:?}");
}

/// A config map in the namespace `default`.
pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// Lets everything happen that is under way.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_mins(3)).await;
}
