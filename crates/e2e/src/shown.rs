//! Objects in a line each, for the messages of failures.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Node, Pod, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use korder_api::{Inventory, Order, Stock, Ticket};

/// Says in one line what matters of an object's state.
pub trait Shown {
    /// The line, without the object's name.
    fn shown(&self) -> String;
}

impl Shown for Order {
    fn shown(&self) -> String {
        let status = self.status.clone().unwrap_or_default();
        format!(
            "wanted {}, pending {}, ready {}, claimed {}, used {}, expired {}, issued {}; {}",
            status.wanted,
            status.pending,
            status.ready,
            status.claimed,
            status.used,
            status.expired,
            status.issued,
            conditions(&status.conditions)
        )
    }
}

impl Shown for Ticket {
    fn shown(&self) -> String {
        let status = self.status.clone().unwrap_or_default();
        let holder = status.claim_ref.map_or_else(|| "nobody".to_owned(), |claim| format!("`{}`", claim.name));
        let node = status.node_name.as_deref().unwrap_or("no node");
        format!("{} on {node}, held by {holder}; {}", self.phase().as_str(), conditions(&status.conditions))
    }
}

impl Shown for Inventory {
    fn shown(&self) -> String {
        let status = self.status.clone().unwrap_or_default();
        format!(
            "ready {}, producing {}, claimed {}, waiting {}, level {}; {}",
            status.ready,
            status.producing,
            status.claimed,
            status.waiting,
            status.level.map_or_else(|| "?".to_owned(), |level| level.to_string()),
            conditions(&status.conditions)
        )
    }
}

impl Shown for Stock {
    fn shown(&self) -> String {
        let status = self.status.clone().unwrap_or_default();
        let holder = status.claim_ref.map_or_else(|| "nobody".to_owned(), |claim| format!("`{}`", claim.name));
        format!("{:?}, held by {holder}; {}", status.phase.unwrap_or_default(), conditions(&status.conditions))
    }
}

impl Shown for Pod {
    fn shown(&self) -> String {
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        let gates: Vec<String> = spec.scheduling_gates.into_iter().flatten().map(|gate| gate.name).collect();
        let mut parts = vec![format!(
            "{} on {}",
            status.phase.as_deref().unwrap_or("?"),
            spec.node_name.as_deref().unwrap_or("no node")
        )];
        parts.extend(status.nominated_node_name.map(|node| format!("nominated to {node}")));
        parts.extend((!gates.is_empty()).then(|| format!("gates {}", gates.join(", "))));
        parts.extend(self.metadata.deletion_timestamp.is_some().then(|| "being deleted".to_owned()));
        let telling = |type_: &str| type_ == "PodScheduled" || type_.contains("korder.dev/");
        for one in status.conditions.into_iter().flatten().filter(|one| telling(&one.type_)) {
            let reason = one.reason.unwrap_or_default();
            parts.push(format!("{}={} {reason} {}", one.type_, one.status, one.message.unwrap_or_default()));
        }
        parts.join("; ")
    }
}

impl Shown for Node {
    fn shown(&self) -> String {
        let taints = self.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let taints: Vec<String> = taints.map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
        let conditions = self.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        let ready = ready.map_or("?", |condition| condition.status.as_str());
        format!("Ready={ready}; taints {}", taints.join(", "))
    }
}

impl Shown for Namespace {
    fn shown(&self) -> String {
        let status = self.status.clone().unwrap_or_default();
        let holds = |one: &NamespaceCondition| one.status == "True";
        let conditions = status.conditions.into_iter().flatten().filter(holds);
        let messages: Vec<String> = conditions.filter_map(|one| one.message).collect();
        format!("{}; {}", status.phase.unwrap_or_default(), messages.join(", "))
    }
}

impl Shown for Lease {
    fn shown(&self) -> String {
        format!("held by {:?}", self.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()))
    }
}

impl Shown for ServiceAccount {
    fn shown(&self) -> String {
        "there".to_owned()
    }
}

impl Shown for Event {
    fn shown(&self) -> String {
        let regarding = self.regarding.clone().unwrap_or_default();
        format!(
            "{} {} on {} `{}`: {}",
            self.type_.as_deref().unwrap_or_default(),
            self.reason.as_deref().unwrap_or_default(),
            regarding.kind.unwrap_or_default(),
            regarding.name.unwrap_or_default(),
            self.note.as_deref().unwrap_or_default()
        )
    }
}

fn conditions(conditions: &[Condition]) -> String {
    let shown = conditions.iter().map(|one| format!("{}={} {} ({})", one.type_, one.status, one.reason, one.message));
    shown.collect::<Vec<_>>().join(", ")
}

impl Shown for MutatingWebhookConfiguration {
    fn shown(&self) -> String {
        let clients = self.webhooks.iter().flatten().map(|webhook| {
            let config = &webhook.client_config;
            format!("{} at {:?}, trusted: {}", webhook.name, config.url, config.ca_bundle.is_some())
        });
        clients.collect::<Vec<_>>().join(", ")
    }
}
