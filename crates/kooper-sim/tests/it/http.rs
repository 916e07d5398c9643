//! Requests as they are on the wire, for what a typed client would not send.

use http::Request;
use http_body_util::BodyExt as _;
use kooper_sim::{Kind, Sim};
use kube::client::Body;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

pub(crate) const SHOPS: &str = "/apis/example.com/v1/namespaces/default/shops";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// A custom kind with status, without a Rust type.
pub(crate) fn shops() -> Kind {
    let api = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Shop"), "shops");
    Kind::custom(api).with_status().with_selectable_field("spec.town")
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

pub(crate) struct Http(kube::Client);

impl Http {
    pub(crate) fn new(sim: &Sim) -> Self {
        sim.register(shops());
        Self(sim.client("tester"))
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
            .uri(path)
            .header("content-type", content_type)
            .header("accept", accept)
            .body(Body::from(bytes))
            .unwrap();
        let response = self.0.send(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
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
