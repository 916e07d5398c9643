//! The Deployments of the controllers and of the webhook, and their Services.

use korder_api::names::{ANNOTATION_RUNS_ON, CONTROLLER_NAME, SYSTEM_NAMESPACE, WEBHOOK_NAME};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::availability::{PRIORITY_CLASS, spread};
use crate::{labels, object};

/// Where the programs run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As pods of the cluster.
    InCluster {
        /// The image of the `korder` program.
        image: String,
    },
    /// As processes on the machine that the embedded cluster runs on; the Deployments' pods only stand for them.
    Host {
        /// The port on the loopback address on which the webhook listens.
        webhook_port: u16,
    },
}

/// The Service of the controllers' metrics.
const METRICS_SERVICE: &str = "korder-controller-manager-metrics";

/// The simulated node on which the pods sit that stand for processes of the host.
pub const HOST_NODE: &str = "korder-host";
/// The port on which the webhook listens in its pod.
pub const WEBHOOK_PORT: u16 = 9443;
/// The port on which the controllers serve metrics in their pod, and that of the Service.
const METRICS_PORT: u16 = 8443;
/// The port on which programs answer `/healthz` and `/readyz` in their pods.
const HEALTH_PORT: u16 = 8081;

struct Program {
    name: &'static str,
    arguments: Vec<String>,
    ports: Value,
}

/// The Deployments and the Services.
pub(crate) fn programs(profile: &Profile) -> Vec<DynamicObject> {
    let health = format!("--health-address=0.0.0.0:{HEALTH_PORT}");
    let mut controller = Program {
        name: CONTROLLER_NAME,
        arguments: vec!["controller".into(), health.clone(), format!("--metrics-address=0.0.0.0:{METRICS_PORT}")],
        ports: json!([
            { "name": "health", "containerPort": HEALTH_PORT },
            { "name": "metrics", "containerPort": METRICS_PORT },
        ]),
    };
    if matches!(profile, Profile::InCluster { .. }) {
        controller.arguments.push("--leader-elect".into());
    }
    let webhook = Program {
        name: WEBHOOK_NAME,
        arguments: vec!["webhook".into(), health, format!("--listen=0.0.0.0:{WEBHOOK_PORT}")],
        ports: json!([
            { "name": "health", "containerPort": HEALTH_PORT },
            { "name": "webhook", "containerPort": WEBHOOK_PORT },
        ]),
    };
    vec![
        deployment(&controller, profile),
        service(METRICS_SERVICE, CONTROLLER_NAME, METRICS_PORT, "metrics"),
        service(WEBHOOK_NAME, WEBHOOK_NAME, 443, "webhook"),
        deployment(&webhook, profile),
    ]
}

/// A Service for a named port of a program.
fn service(name: &str, program: &str, port: u16, target: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": SYSTEM_NAMESPACE, "labels": labels::of(program) },
        "spec": {
            "selector": selector(program),
            "ports": [{ "name": target, "port": port, "targetPort": target, "protocol": "TCP" }],
        },
    }))
}

pub(crate) fn selector(program: &str) -> Value {
    json!({ "app.kubernetes.io/name": program, "app.kubernetes.io/part-of": "korder" })
}

fn deployment(program: &Program, profile: &Profile) -> DynamicObject {
    let labels = labels::of(program.name);
    let mut metadata = json!({ "name": program.name, "namespace": SYSTEM_NAMESPACE, "labels": labels });
    let mut template = json!({ "labels": labels });
    let mut pod = pod(program);
    let replicas = match profile {
        Profile::InCluster { image } => {
            pod["containers"][0]["image"] = json!(image);
            pod["priorityClassName"] = json!(PRIORITY_CLASS);
            pod["topologySpreadConstraints"] = spread(program.name);
            2
        }
        Profile::Host { .. } => {
            metadata["annotations"] = json!({
                ANNOTATION_RUNS_ON: "host",
                "korder.dev/note": "runs as a process beside the embedded cluster; this Deployment's pod stands for it \
                                    and shows its state and log",
            });
            template["annotations"] = json!({ ANNOTATION_RUNS_ON: "host" });
            pod["nodeSelector"] = json!({ "kubernetes.io/hostname": HOST_NODE });
            pod["tolerations"] = json!([{ "key": "korder.dev/host", "operator": "Exists", "effect": "NoSchedule" }]);
            pod["containers"][0]["image"] = json!("korder");
            1
        }
    };
    let spec = json!({
        "replicas": replicas,
        "selector": { "matchLabels": selector(program.name) },
        "template": { "metadata": template, "spec": pod },
    });
    object(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec }))
}

fn pod(program: &Program) -> Value {
    let probe =
        |path: &str| json!({ "httpGet": { "path": path, "port": "health" }, "periodSeconds": 5, "timeoutSeconds": 3 });
    let mut pod = restricted(program.name);
    let container = &mut pod["containers"][0];
    container["args"] = json!(program.arguments);
    // Its version written out, as constraints of policies are.
    let name = json!({ "apiVersion": "v1", "fieldPath": "metadata.name" });
    container["env"] = json!([{ "name": "POD_NAME", "valueFrom": { "fieldRef": name } }]);
    container["ports"] = program.ports.clone();
    container["livenessProbe"] = probe("/healthz");
    container["readinessProbe"] = probe("/readyz");
    pod
}

/// A pod of this account that meets the `restricted` pod security standard; its image and arguments are still to be said.
pub(crate) fn restricted(account: &str) -> Value {
    json!({
        "serviceAccountName": account,
        "automountServiceAccountToken": true,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "korder",
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" },
                // No limit of CPU: whoever is throttled renews its Lease too late.
                "limits": { "memory": "512Mi" },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            },
        }],
    })
}
