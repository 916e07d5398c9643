//! Definitions of custom resources: a cluster serves a kind from the moment that it is defined.
//!
//! A real API server takes a moment, and says when by the condition `Established`; here it is true at once.

use jiff::Timestamp;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::Scope;
use serde_json::{Value, json};

use super::{Call, Store, meta};
use crate::clock::rfc3339;
use crate::kind::{Kind, Rules};
use crate::refusal::{FieldError, Refusal, invalid, not_simulated};

/// Checks a definition and shows it as established.
pub(super) fn prepare(kind: &Kind, definition: &mut Value, now: Timestamp) -> Result<(), Refusal> {
    let defined = defined_kind(kind, definition)?;
    let since = definition["metadata"]["creationTimestamp"].as_str().map_or_else(|| rfc3339(now), str::to_owned);
    let condition = |name: &str, reason: &str| json!({"type": name, "status": "True", "reason": reason, "message": "", "lastTransitionTime": since});
    definition["status"] = json!({
        "acceptedNames": definition["spec"]["names"],
        "conditions": [condition("NamesAccepted", "NoConflicts"), condition("Established", "InitialNamesAccepted")],
        "storedVersions": [defined.api.version],
    });
    Ok(())
}

impl Store {
    /// Serves the kind that was just defined.
    pub(super) fn serve_defined(&mut self, call: &Call, kind: &Kind, definition: &Value) -> Result<(), Refusal> {
        if !call.dry_run && kind.rules == Rules::Definition {
            self.register(defined_kind(kind, definition)?);
        }
        Ok(())
    }
}

fn defined_kind(kind: &Kind, definition: &Value) -> Result<Kind, Refusal> {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let spec = &definition["spec"];
    let text = |value: &Value, path: &str| match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(invalid(kind, name, vec![FieldError::required(path, "")])),
    };
    let group = text(&spec["group"], "spec.group")?;
    let plural = text(&spec["names"]["plural"], "spec.names.plural")?;
    let kind_name = text(&spec["names"]["kind"], "spec.names.kind")?;
    if name != format!("{plural}.{group}") {
        let error =
            FieldError::invalid("metadata.name", format!("\"{name}\""), "must be spec.names.plural+\".\"+spec.group");
        return Err(invalid(kind, name, vec![error]));
    }
    let served: Vec<&Value> = meta::list(spec, "versions").iter().filter(|version| version["served"] == true).collect();
    let [version] = served[..] else {
        return Err(not_simulated("custom resources with other than one served version"));
    };
    let gvk = GroupVersionKind::gvk(&group, &text(&version["name"], "spec.versions[0].name")?, &kind_name);
    let selectable = meta::list(version, "selectableFields").iter().filter_map(|field| field["jsonPath"].as_str());
    Ok(Kind {
        scope: if spec["scope"] == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        status: version["subresources"]["status"].is_object(),
        selectable_fields: selectable.map(|path| path.trim_start_matches('.').to_owned()).collect(),
        ..Kind::custom(ApiResource::from_gvk_with_plural(&gvk, &plural))
    })
}
