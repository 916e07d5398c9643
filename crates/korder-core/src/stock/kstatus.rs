//! Whether an object of a unit is ready, by the rules of kstatus.
//!
//! After `sigs.k8s.io/cli-utils/pkg/kstatus/status` (`core.go`, `generic.go`), but that a Job is ready when it has completed
//! (there: when it has started), since what it does is part of the unit; and that a claim of storage is ready before it is
//! bound, since of most classes it is bound when the first pod comes.

use serde_json::Value;

/// How far an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does what its spec says.
    Ready,
    /// It is on its way: what is missing.
    Waiting(String),
    /// It will not get there by itself: why.
    Failed(String),
}
use Readiness::{Failed, Ready, Waiting};

/// How far an object is.
pub fn of(object: &Value) -> Readiness {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return waiting("it is being deleted");
    }
    let (generation, observed) = (number(object, "/metadata/generation"), number(object, "/status/observedGeneration"));
    if let (Some(generation), Some(observed)) = (generation, observed)
        && generation != observed
    {
        return waiting("its controller has not seen its latest change");
    }
    for (type_, outcome) in [("Reconciling", Waiting as fn(String) -> Readiness), ("Stalled", Failed)] {
        if let Some(condition) = condition(object, type_).filter(|condition| condition["status"] == "True") {
            return outcome(message_of(condition, type_));
        }
    }
    let group =
        object["apiVersion"].as_str().and_then(|version| version.split_once('/')).map_or("", |(group, _)| group);
    match (group, object["kind"].as_str().unwrap_or_default()) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("policy", "PodDisruptionBudget") => budget(object),
        _ => by_condition(object),
    }
}

/// Of a kind that is not known: its condition `Ready`, where it has one.
fn by_condition(object: &Value) -> Readiness {
    match condition(object, "Ready") {
        Some(ready) if ready["status"] != "True" => Waiting(message_of(ready, "not Ready")),
        _ => Ready,
    }
}

fn deployment(object: &Value) -> Readiness {
    if let Some(progressing) = condition(object, "Progressing") {
        if progressing["reason"] == "ProgressDeadlineExceeded" {
            return Failed(message_of(progressing, "it makes no progress"));
        }
        // The condition is left out where there is no deadline.
        let done = progressing["status"] == "True" && progressing["reason"] == "NewReplicaSetAvailable";
        if !done && number(object, "/spec/progressDeadlineSeconds") != Some(i64::from(i32::MAX)) {
            return replicas(object, "/status/readyReplicas", "replicas are ready")
                .unwrap_or_else(|| waiting("it is being rolled out"));
        }
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let of = |path| number(object, path).unwrap_or(0);
    let (all, updated) = (of("/status/replicas"), of("/status/updatedReplicas"));
    if number(object, "/status/observedGeneration").is_none() && wanted > 0 {
        return waiting("its controller has not seen it");
    }
    if all > updated {
        return waiting("old replicas are there");
    }
    let counts = [
        ("/status/replicas", "replicas are made"),
        ("/status/updatedReplicas", "replicas are of the latest form"),
        ("/status/availableReplicas", "replicas are available"),
        ("/status/readyReplicas", "replicas are ready"),
    ];
    if let Some(short) = counts.iter().find_map(|(path, what)| replicas(object, path, what)) {
        return short;
    }
    match condition(object, "Available") {
        Some(available) if available["status"] != "True" => Waiting(message_of(available, "it is not available")),
        _ => Ready,
    }
}

fn stateful_set(object: &Value) -> Readiness {
    if object["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return Ready;
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    for (path, what) in [("/status/replicas", "replicas are made"), ("/status/readyReplicas", "replicas are ready")] {
        if let Some(short) = replicas(object, path, what) {
            return short;
        }
    }
    let updated = number(object, "/status/updatedReplicas").unwrap_or(0);
    if let Some(partition) =
        number(object, "/spec/updateStrategy/rollingUpdate/partition").filter(|&partition| partition > 0)
    {
        let rolled_out = updated >= wanted - partition;
        return if rolled_out { Ready } else { waiting("it is being rolled out") };
    }
    if object["status"]["currentRevision"] != object["status"]["updateRevision"] {
        return waiting("it is being rolled out");
    }
    Ready
}

fn daemon_set(object: &Value) -> Readiness {
    let Some(desired) = number(object, "/status/desiredNumberScheduled")
        .filter(|_| number(object, "/status/observedGeneration").is_some())
    else {
        return waiting("its controller has not seen it");
    };
    let counts = [
        ("/status/currentNumberScheduled", "pods are made"),
        ("/status/updatedNumberScheduled", "pods are of the latest form"),
        ("/status/numberAvailable", "pods are available"),
        ("/status/numberReady", "pods are ready"),
    ];
    counts.iter().find_map(|(path, what)| short_of(object, desired, path, what)).unwrap_or(Ready)
}

fn replica_set(object: &Value) -> Readiness {
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|failure| failure["status"] == "True") {
        return Waiting(message_of(failure, "its pods can't be made"));
    }
    let counts = [
        ("/status/replicas", "replicas are made"),
        ("/status/fullyLabeledReplicas", "replicas are labelled"),
        ("/status/availableReplicas", "replicas are available"),
        ("/status/readyReplicas", "replicas are ready"),
    ];
    counts.iter().find_map(|(path, what)| replicas(object, path, what)).unwrap_or(Ready)
}

fn job(object: &Value) -> Readiness {
    let holds = |type_| condition(object, type_).filter(|condition| condition["status"] == "True");
    match (holds("Complete"), holds("Failed")) {
        (Some(_), _) => Ready,
        (None, Some(failed)) => Failed(message_of(failed, "it failed")),
        (None, None) => waiting("it has not completed"),
    }
}

fn pod(object: &Value) -> Readiness {
    match object["status"]["phase"].as_str() {
        Some("Succeeded") => Ready,
        Some("Failed") => Failed(object["status"]["message"].as_str().unwrap_or("its containers failed").to_owned()),
        _ => match condition(object, "Ready") {
            Some(ready) if ready["status"] == "True" => Ready,
            Some(ready) => Waiting(message_of(ready, "it is not ready")),
            None => waiting("it is not ready"),
        },
    }
}

fn service(object: &Value) -> Readiness {
    let spec = &object["spec"];
    if spec["type"] == "LoadBalancer" && spec["clusterIP"].as_str().is_none_or(str::is_empty) {
        return waiting("it has no address");
    }
    Ready
}

fn claim(object: &Value) -> Readiness {
    if object["status"]["phase"] == "Lost" { Failed("its volume is lost".to_owned()) } else { Ready }
}

fn budget(object: &Value) -> Readiness {
    let seen = number(object, "/status/observedGeneration").is_some();
    if seen { Ready } else { waiting("its controller has not seen it") }
}

/// What is missing where a count falls short of the replicas of the spec.
fn replicas(object: &Value, path: &str, what: &str) -> Option<Readiness> {
    short_of(object, number(object, "/spec/replicas").unwrap_or(1), path, what)
}

fn short_of(object: &Value, wanted: i64, path: &str, what: &str) -> Option<Readiness> {
    let there = number(object, path).unwrap_or(0);
    (there < wanted).then(|| Waiting(format!("{there} of {wanted} {what}")))
}

fn condition<'o>(object: &'o Value, type_: &str) -> Option<&'o Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

/// What a condition says, in words.
fn message_of(condition: &Value, otherwise: &str) -> String {
    let said = [&condition["message"], &condition["reason"]];
    said.iter().filter_map(|said| said.as_str()).find(|said| !said.is_empty()).unwrap_or(otherwise).to_owned()
}

fn number(object: &Value, path: &str) -> Option<i64> {
    object.pointer(path)?.as_i64()
}

fn waiting(what: &str) -> Readiness {
    Waiting(what.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"generation": 2}});
        object["spec"] = spec;
        object["status"] = status;
        object
    }

    fn conditions(conditions: &[(&str, &str, &str)]) -> Value {
        let one =
            |&(type_, status, reason): &(&str, &str, &str)| json!({"type": type_, "status": status, "reason": reason});
        Value::Array(conditions.iter().map(one).collect())
    }

    #[track_caller]
    fn is(object: &Value, expected: &str) {
        let told = match of(object) {
            Ready => "ready".to_owned(),
            Waiting(what) => format!("waiting: {what}"),
            Failed(why) => format!("failed: {why}"),
        };
        assert_eq!(told, expected, "{object}");
    }

    #[test]
    fn what_every_kind_may_say() {
        let of = |status| object("example.com/v1", "Bucket", json!({}), status);
        is(&of(json!({})), "ready");
        is(&of(json!({"observedGeneration": 1})), "waiting: its controller has not seen its latest change");
        is(&of(json!({"conditions": conditions(&[("Reconciling", "True", "Creating")])})), "waiting: Creating");
        is(&of(json!({"conditions": conditions(&[("Stalled", "True", "NoQuota")])})), "failed: NoQuota");
        is(&of(json!({"conditions": conditions(&[("Ready", "False", "Creating")])})), "waiting: Creating");
        is(&of(json!({"conditions": conditions(&[("Ready", "Unknown", "")])})), "waiting: not Ready");
        is(&of(json!({"conditions": conditions(&[("Ready", "True", ""), ("Synced", "False", "")])})), "ready");
        let mut going = of(json!({}));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        is(&going, "waiting: it is being deleted");
    }

    #[test]
    fn deployments() {
        let rolled_out = conditions(&[("Progressing", "True", "NewReplicaSetAvailable"), ("Available", "True", "")]);
        let of = |ready: i64, conditions: &Value| {
            let status = json!({
                "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": ready,
                "readyReplicas": ready, "conditions": conditions,
            });
            object("apps/v1", "Deployment", json!({"replicas": 2}), status)
        };
        is(&of(2, &rolled_out), "ready");
        is(&of(1, &rolled_out), "waiting: 1 of 2 replicas are available");
        is(&of(1, &conditions(&[("Progressing", "True", "ReplicaSetUpdated")])), "waiting: 1 of 2 replicas are ready");
        let stuck = conditions(&[("Progressing", "False", "ProgressDeadlineExceeded")]);
        is(&of(1, &stuck), "failed: ProgressDeadlineExceeded");
        is(&object("apps/v1", "Deployment", json!({}), json!({})), "waiting: its controller has not seen it");
        let mut surging = of(2, &rolled_out);
        surging["status"]["replicas"] = json!(3);
        is(&surging, "waiting: old replicas are there");
    }

    #[test]
    fn stateful_sets() {
        let of = |ready: i64, current: &str| {
            let status = json!({
                "observedGeneration": 2, "replicas": 2, "readyReplicas": ready, "updatedReplicas": 1,
                "currentRevision": current, "updateRevision": "new",
            });
            object("apps/v1", "StatefulSet", json!({"replicas": 2}), status)
        };
        is(&of(2, "new"), "ready");
        is(&of(1, "new"), "waiting: 1 of 2 replicas are ready");
        is(&of(2, "old"), "waiting: it is being rolled out");
        let mut partitioned = of(2, "old");
        partitioned["spec"]["updateStrategy"] = json!({"rollingUpdate": {"partition": 1}});
        is(&partitioned, "ready");
        let by_hand = json!({"updateStrategy": {"type": "OnDelete"}, "replicas": 2});
        is(&object("apps/v1", "StatefulSet", by_hand, json!({})), "ready");
        is(&object("apps/v1", "StatefulSet", json!({}), json!({})), "waiting: 0 of 1 replicas are made");
    }

    #[test]
    fn daemon_sets_and_replica_sets() {
        let daemons = |ready: i64| {
            let status = json!({
                "observedGeneration": 2, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
                "updatedNumberScheduled": 3, "numberAvailable": 3, "numberReady": ready,
            });
            object("apps/v1", "DaemonSet", json!({}), status)
        };
        is(&daemons(3), "ready");
        is(&daemons(2), "waiting: 2 of 3 pods are ready");
        is(&object("apps/v1", "DaemonSet", json!({}), json!({})), "waiting: its controller has not seen it");
        let full = json!({"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1});
        is(&object("apps/v1", "ReplicaSet", json!({}), full), "ready");
        let failing = json!({"conditions": conditions(&[("ReplicaFailure", "True", "FailedCreate")])});
        is(&object("apps/v1", "ReplicaSet", json!({}), failing), "waiting: FailedCreate");
    }

    #[test]
    fn jobs_and_pods() {
        let job = |status| object("batch/v1", "Job", json!({}), status);
        is(&job(json!({"conditions": conditions(&[("Complete", "True", "")])})), "ready");
        is(
            &job(json!({"conditions": conditions(&[("Failed", "True", "BackoffLimitExceeded")])})),
            "failed: BackoffLimitExceeded",
        );
        is(&job(json!({"active": 1})), "waiting: it has not completed");
        let pod = |status| object("v1", "Pod", json!({}), status);
        is(&pod(json!({"phase": "Running", "conditions": conditions(&[("Ready", "True", "")])})), "ready");
        is(&pod(json!({"phase": "Succeeded"})), "ready");
        is(&pod(json!({"phase": "Failed", "message": "evicted"})), "failed: evicted");
        is(&pod(json!({"phase": "Pending"})), "waiting: it is not ready");
    }

    #[test]
    fn services_storage_and_what_only_has_to_exist() {
        is(&object("v1", "Service", json!({"type": "ClusterIP"}), json!({})), "ready");
        is(&object("v1", "Service", json!({"type": "LoadBalancer"}), json!({})), "waiting: it has no address");
        is(&object("v1", "Service", json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), json!({})), "ready");
        is(&object("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Pending"})), "ready");
        is(&object("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Lost"})), "failed: its volume is lost");
        is(
            &object("policy/v1", "PodDisruptionBudget", json!({}), json!({})),
            "waiting: its controller has not seen it",
        );
        is(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}}), "ready");
    }
}
