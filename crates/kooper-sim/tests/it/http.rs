//! Requests as they are on the wire, for what a typed client would not send.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kooper_sim::{Kind, Sim, run};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::{Value, json};

pub(crate) const SHOPS: &str = "/apis/example.com/v1/namespaces/default/shops";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// A custom kind with status, without a Rust type.
pub(crate) fn shops() -> Kind {
    let api = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Shop"), "shops");
    Kind::custom(api).with_status().with_selectable_field("spec.town")
}

/// The same kind, as a real API server is told of it.
pub(crate) fn shops_definition() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"town": {"type": "string"}}},
        "status": open,
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "shops.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "shops", "singular": "shop", "kind": "Shop", "listKind": "ShopList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.town"}], "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

pub(crate) fn shop(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Shop", "metadata": {"name": name}, "spec": {"town": "Ulm"}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "pause"}]},
    })
}

/// A pod that no scheduler touches.
pub(crate) fn idle_pod(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["schedulerName"] = json!("nobody");
    pod
}

/// An API server, and a namespace of one's own on it.
pub(crate) struct Http {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Runs a case on a simulated cluster; or, where `KOOPER_SIM_KUBECONFIG` names a kubeconfig, on the real API server
/// that the simulated one must answer like. It should have no nodes.
pub(crate) fn on_any_server<F: Future<Output = ()>>(case: impl FnOnce(Http) -> F) {
    let Ok(path) = std::env::var("KOOPER_SIM_KUBECONFIG") else {
        return run(1, |sim| case(Http::new(&sim)));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(path).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false;
        let http = Http::real(Client::try_from(config).unwrap()).await;
        case(http).await;
    });
}

impl Http {
    pub(crate) fn new(sim: &Sim) -> Self {
        sim.register(shops());
        Self { client: sim.client("tester"), namespace: "default".to_owned() }
    }

    async fn real(client: Client) -> Self {
        let mut http = Self { client, namespace: "default".to_owned() };
        http.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", shops_definition()).await;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "kooper-sim-"}});
        let namespace = http.expect(201, "POST", "/api/v1/namespaces", namespace).await;
        http.namespace = namespace["metadata"]["name"].as_str().unwrap().to_owned();
        for path in [SHOPS, "/api/v1/namespaces/default/serviceaccounts/default"] {
            while http.send("GET", path, Value::Null).await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        http
    }

    /// An address of the constants above, in this namespace.
    pub(crate) fn path(&self, path: &str) -> String {
        path.replacen("/namespaces/default/", &format!("/namespaces/{}/", self.namespace), 1)
    }

    /// Sends a request; the answer's code and body, text as a string.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let content_type = match body {
            Value::Array(_) => "application/json-patch+json",
            _ if method == "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        self.send_as(method, path, content_type, "application/json", body).await
    }

    pub(crate) async fn send_as(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        accept: &str,
        body: Value,
    ) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(self.path(path))
            .header("content-type", content_type)
            .header("accept", accept)
            .body(Body::from(bytes))
            .unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        // A refusal that turns out to be a watch would never end.
        let body = tokio::time::timeout(Duration::from_secs(10), response.into_body().collect()).await;
        let bytes = body.unwrap_or_else(|_| panic!("{method} {path} is answered with a stream")).unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Sends a request that must be answered with a code; the body.
    pub(crate) async fn expect(&self, code: u16, method: &str, path: &str, body: Value) -> Value {
        let (seen, answer) = self.send(method, path, body.clone()).await;
        assert_eq!(seen, code, "{method} {path} {body}\n{answer:#}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.expect(200, "GET", path, Value::Null).await
    }
}

/// The version of an object or a list.
pub(crate) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// The path of an object.
pub(crate) fn named(path: &str, name: &str) -> String {
    format!("{path}/{name}")
}
