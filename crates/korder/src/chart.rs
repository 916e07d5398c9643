//! The Helm chart, made of the same manifests as `korder install`.
//!
//! The manifests are written with marks where values of the chart go, and the marks become template actions. Kinds are
//! templates as well, since Helm never upgrades what is in a chart's `crds` folder, and are kept when the release goes: with
//! them all orders would be deleted.

use std::collections::BTreeSet;

use korder_api::names::WEBHOOK_NAME;
use korder_manifests::{Gate, Options, PolicyApi, Profile};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::yaml;

/// Stands in manifests for the image.
const IMAGE: &str = "@image@";
/// Stands for a number of pods.
const REPLICAS: &str = "@replicas@";
/// Stands for requests and limits.
const RESOURCES: &str = "@resources@";
/// Stands for the namespace of a grant.
const NAMESPACE: &str = "@namespace@";
/// Stands for the service accounts of a grant.
const ACCOUNTS: &str = "@accounts@";

/// All of these.
const MARKS: [&str; 5] = [IMAGE, REPLICAS, RESOURCES, NAMESPACE, ACCOUNTS];

/// A file of the chart: its path and its text.
pub(crate) type File = (&'static str, String);

/// The files of the chart, whose image is in this repository.
pub(crate) fn files(repository: &str) -> anyhow::Result<Vec<File>> {
    let of = |gate| korder_manifests::manifests(&Options { profile: Profile::InCluster { image: IMAGE.into() }, gate });
    let (kinds, rest): (Vec<_>, Vec<_>) = of(Gate::Webhook).into_iter().partition(is_kind);
    let (webhook, mut rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_gate);
    // Helm makes the namespace of a release before anything else, and adopts none.
    rest.retain(|object| kind(object) != "Namespace");
    let policy: Vec<_> = of(Gate::Policy(PolicyApi::V1)).into_iter().filter(is_gate).collect();
    let kinds: Vec<_> = kinds.into_iter().map(kept).collect();
    let resources = rest.iter().find(|object| kind(object) == "Deployment").map(|object| resources_of(object).clone());
    for program in rest.iter_mut().filter(|object| kind(object) == "Deployment") {
        mark(program);
    }
    let hook = korder_manifests::helm_hook(IMAGE);
    Ok(vec![
        ("Chart.yaml", chart()),
        ("values.yaml", values(repository, resources.as_ref())?),
        ("templates/NOTES.txt", NOTES.to_owned()),
        ("templates/korder.yaml", format!("{CHECK}{}", template(&rest)?)),
        ("templates/crds.yaml", format!("{{{{- if .Values.crds.install }}}}\n{}{{{{- end }}}}\n", template(&kinds)?)),
        (
            "templates/gate.yaml",
            format!("{IF_POLICY}\n{}{{{{- else }}}}\n{}{{{{- end }}}}\n", template(&policy)?, template(&webhook)?),
        ),
        ("templates/grants.yaml", format!("{FOR_EACH_GRANT}\n{}{{{{- end }}}}\n", template(&grants())?)),
        ("templates/uninstall.yaml", template(&hook)?),
    ])
}

/// The programs know their namespace by name, and so do the policies that trust them.
const CHECK: &str = r#"{{- if ne .Release.Namespace "korder-system" }}
{{- fail "korder runs in the namespace korder-system: add --namespace korder-system --create-namespace" }}
{{- end }}
"#;

const IF_POLICY: &str = r#"{{- if or (eq .Values.gate "policy") (and (eq .Values.gate "auto") (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")) }}"#;

const FOR_EACH_GRANT: &str = "{{- range $namespace, $accounts := .Values.namespaceGrants }}";

/// What lets the controllers act as the accounts of one namespace.
fn grants() -> Vec<DynamicObject> {
    let mut objects = korder_manifests::namespace_grant(NAMESPACE, &BTreeSet::new());
    let rules = objects.iter_mut().filter_map(|object| object.data.get_mut("rules")?.as_array_mut()).flatten();
    for rule in rules.filter(|rule| rule.get("resourceNames").is_some()) {
        rule["resourceNames"] = json!(ACCOUNTS);
    }
    objects
}

const NOTES: &str = "korder {{ .Chart.AppVersion }} is installed. `korder doctor` tells whether it does what it should.

Orders stay when the release goes, and so do their kinds; `kubectl delete crd -l app.kubernetes.io/part-of=korder` deletes them,
and with them every order and ticket.
";

fn chart() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "apiVersion: v2\nname: korder\ntype: application\nversion: {version}\nappVersion: {version:?}\n\
         description: Order cluster capacity before you need it\nkubeVersion: \">=1.32.0-0\"\n"
    )
}

fn values(repository: &str, resources: Option<&Value>) -> anyhow::Result<String> {
    let resources = serde_saphyr::to_string(&json!({ "resources": resources }))?;
    let resources = resources.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "# How pods that ask for a ticket are made to wait: policy, webhook, or auto (policy where the cluster can).\n\
         gate: auto\n\n\
         image:\n  repository: {repository}\n  tag: {version:?}\n  # Instead of the tag, as in sha256:...\n  digest: \"\"\n\n\
         # The controllers, of which one acts at a time.\ncontroller:\n  replicas: 2\n{resources}\n\n\
         webhook:\n  replicas: 2\n{resources}\n\n\
         # Service accounts as which units of stock may be made, by namespace, as in `team-a: [builder]`.\n\
         namespaceGrants: {{}}\n\n\
         crds:\n  # Whether the release has the kinds; they are upgraded with it, and stay when it goes.\n  install: true\n"
    ))
}

/// Objects as YAML documents, with template actions in the places of marks.
fn template(objects: &[DynamicObject]) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        let document = yaml::documents(std::slice::from_ref(object))?;
        // What is no action of ours must not become one.
        let escaped = document.replace("{{", "{{ \"{{\" }}");
        for line in escaped.lines() {
            text.push_str(&marked(line, &object.name_any()));
            text.push('\n');
        }
    }
    Ok(text)
}

/// A line with the action that its mark stands for.
fn marked(line: &str, program: &str) -> String {
    let values = if program == WEBHOOK_NAME { "webhook" } else { "controller" };
    let indent = line.len() - line.trim_start().len() + 2;
    let image = r"{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag }}{{ end }}";
    let action = |mark: &str| match mark {
        IMAGE => format!(" \"{image}\""),
        REPLICAS => format!(" {{{{ .Values.{values}.replicas }}}}"),
        NAMESPACE => " {{ $namespace }}".to_owned(),
        ACCOUNTS => format!(" {{{{- toYaml $accounts | nindent {indent} }}}}"),
        _ => format!(" {{{{- toYaml .Values.{values}.resources | nindent {indent} }}}}"),
    };
    for mark in MARKS {
        for quoted in [format!(" '{mark}'"), format!(" \"{mark}\""), format!(" {mark}")] {
            if let Some(key) = line.strip_suffix(&quoted) {
                return format!("{key}{}", action(mark));
            }
        }
    }
    line.to_owned()
}

fn mark(program: &mut DynamicObject) {
    program.data["spec"]["replicas"] = json!(REPLICAS);
    program.data["spec"]["template"]["spec"]["containers"][0]["resources"] = json!(RESOURCES);
}

fn resources_of(program: &DynamicObject) -> &Value {
    &program.data["spec"]["template"]["spec"]["containers"][0]["resources"]
}

fn kept(mut definition: DynamicObject) -> DynamicObject {
    definition.annotations_mut().insert("helm.sh/resource-policy".into(), "keep".into());
    definition
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

fn is_kind(object: &DynamicObject) -> bool {
    kind(object) == "CustomResourceDefinition"
}

fn is_gate(object: &DynamicObject) -> bool {
    kind(object).starts_with("Mutating")
}

#[cfg(test)]
mod tests {
    use korder_api::names::{CONTROLLER_NAME, SYSTEM_NAMESPACE};

    use super::*;

    #[test]
    fn every_mark_has_become_an_action() {
        let files = files("ghcr.io/example/korder").unwrap();
        for (path, text) in &files {
            for mark in MARKS {
                assert!(!text.contains(mark), "{path} has {mark}");
            }
        }
        let (_, values) = files.iter().find(|(path, _)| *path == "values.yaml").unwrap();
        assert!(values.contains("\n  repository: ghcr.io/example/korder\n"), "{values}");
        let (_, korder) = files.iter().find(|(path, _)| *path == "templates/korder.yaml").unwrap();
        for action in [".Values.controller.replicas", ".Values.webhook.replicas", ".Values.webhook.resources | nindent"]
        {
            assert!(korder.contains(action), "{action}");
        }
        assert_eq!(korder.matches(".Values.image.repository").count(), 2);
        let (_, grants) = files.iter().find(|(path, _)| *path == "templates/grants.yaml").unwrap();
        assert_eq!(grants.matches("\n  namespace: {{ $namespace }}\n").count(), 2, "{grants}");
        assert!(grants.contains("resourceNames: {{- toYaml $accounts | nindent"), "{grants}");
        let names = [SYSTEM_NAMESPACE, CONTROLLER_NAME];
        assert!(names.iter().all(|name| korder.contains(name)));
    }
}
