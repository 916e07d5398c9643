//! Validating admission policies, as a list of things that are refused.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::{labels, object};

/// A policy that refuses requests, or warns, and its binding to the whole cluster.
pub(crate) struct Policy {
    /// Name of the policy and of its binding; the user sees it in the refusal.
    pub(crate) name: &'static str,
    /// What becomes of a request that a validation is against.
    pub(crate) action: Action,
    /// Which requests are looked at.
    pub(crate) rules: Value,
    /// Name and CEL of what must also hold for a request to be looked at.
    pub(crate) only_if: Vec<(&'static str, String)>,
    /// Name and CEL of values that the validations share.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What is refused.
    pub(crate) validations: Vec<Validation>,
}

/// What becomes of a request that a policy is against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is refused.
    Deny,
    /// It passes, and the user is warned.
    Warn,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Warn => "Warn",
        }
    }
}

/// One thing that is refused, or warned of.
#[derive(Clone, Debug)]
pub(crate) struct Validation {
    /// CEL that is true while all is well.
    pub(crate) expression: String,
    /// CEL of the message that the user sees otherwise.
    pub(crate) message: String,
}

impl Policy {
    /// The policy and its binding.
    pub(crate) fn objects(&self) -> Vec<DynamicObject> {
        let named = |(name, expression): &(&str, String)| json!({ "name": name, "expression": expression });
        let validations = self.validations.iter().map(|validation| {
            json!({
                "expression": validation.expression,
                "messageExpression": validation.message,
                "reason": "Invalid",
            })
        });
        let mut spec = json!({
            "failurePolicy": "Fail",
            "matchConstraints": constraints(&self.rules),
            "validations": validations.collect::<Vec<_>>(),
        });
        // The API server drops empty lists, and a manifest that has them never looks applied.
        for (field, values) in [("matchConditions", &self.only_if), ("variables", &self.variables)] {
            if !values.is_empty() {
                spec[field] = values.iter().map(named).collect();
            }
        }
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": self.name, "labels": labels::ours() },
            "spec": spec,
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": self.name, "labels": labels::ours() },
            "spec": { "policyName": self.name, "validationActions": [self.action.as_str()] },
        });
        vec![object(policy), object(binding)]
    }
}

/// Which requests are looked at: those that do one of the operations to one of the resources.
pub(crate) fn rules(group: &str, version: &str, resources: &[&str], operations: &[&str]) -> Value {
    json!([{
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": resources,
        "operations": operations,
        "scope": "*",
    }])
}

/// Of which requests a policy is.
///
/// With what the API server would fill in: it takes constraints as one value, and another tool that applies the same manifests
/// would be told of a conflict over what neither has written.
pub(crate) fn constraints(rules: &Value) -> Value {
    json!({ "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": rules })
}

/// CEL of a map of an object's metadata; empty where the object or the map is missing.
pub(crate) fn cel_map_of(object: &str, map: &str) -> String {
    format!("{object} != null && has({object}.metadata.{map}) ? {object}.metadata.{map} : {{}}")
}

/// A CEL list of strings.
pub(crate) fn cel_list(texts: &[&str]) -> String {
    format!("['{}']", texts.join("', '"))
}

/// CEL that tells whether two maps agree about a key: both have it with one value, or none has it.
pub(crate) fn cel_agree(key: &str, new: &str, old: &str) -> String {
    format!("({key} in {new} ? {key} in {old} && {new}[{key}] == {old}[{key}] : !({key} in {old}))")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use kube_cel::KubeCelExt;
    use kube_cel::cel::extractors::This;
    use kube_cel::cel::objects::Value as Cel;
    use kube_cel::cel::parser::Parser;
    use kube_cel::cel::{Context, ResolveResult, to_value};

    use super::*;

    /// The message of the first validation that refuses the object, as the API server would give it.
    ///
    /// Not kube-cel's own evaluator of policies: it knows no variables and escapes the keys of maps as if they were
    /// fields. The syntax for optional fields isn't evaluated right at all; policies of ours do without.
    #[track_caller]
    pub(crate) fn refusal(policy: &Policy, object: &Value, old: Option<&Value>) -> Option<String> {
        refusal_to(&[], policy, object, old)
    }

    /// The same to somebody who may do this and nothing else, as `create jobs.batch` or `impersonate serviceaccounts/builder`, in
    /// the namespace `team-a`.
    #[track_caller]
    pub(crate) fn refusal_to(may: &[&str], policy: &Policy, object: &Value, old: Option<&Value>) -> Option<String> {
        let mut context = Context::default().with_all();
        add_authorizer(&mut context, may);
        context.add_variable_from_value("request", cel_of(&json!({ "namespace": "team-a" })));
        context.add_function("dyn", |value: Cel| -> ResolveResult { Ok(value) });
        context.add_variable_from_value("object", cel_of(object));
        context.add_variable_from_value("oldObject", old.map_or(Cel::Null, cel_of));
        let (mut variables, mut of_messages) = (HashMap::new(), HashMap::new());
        for (name, expression) in &policy.variables {
            let value = evaluate(expression, &context);
            if !expression.contains("authorizer") {
                of_messages.insert((*name).to_owned(), value.clone());
            }
            variables.insert((*name).to_owned(), value);
            context.add_variable_from_value("variables", variables.clone());
        }
        let refusing =
            policy.validations.iter().find(|validation| match evaluate(&validation.expression, &context) {
                Cel::Bool(passed) => !passed,
                other => panic!("`{}` is {other:?}", validation.expression),
            })?;
        // Messages can't ask what somebody may do.
        context.add_variable_from_value("variables", of_messages);
        match evaluate(&refusing.message, &context) {
            Cel::String(message) => Some(message.to_string()),
            other => panic!("`{}` is {other:?}", refusing.message),
        }
    }

    /// What the API server offers under the same names; the question is put together as a text.
    fn add_authorizer(context: &mut Context, may: &[&str]) {
        let may: Vec<String> = may.iter().map(|right| (*right).to_owned()).collect();
        context.add_variable_from_value("authorizer", Cel::Null);
        context.add_function("group", |This(_): This<Cel>, group: Arc<String>| group);
        context.add_function("resource", |This(group): This<Arc<String>>, resource: Arc<String>| {
            Arc::new(if group.is_empty() { (*resource).clone() } else { format!("{resource}.{group}") })
        });
        context.add_function("namespace", |This(asked): This<Arc<String>>, namespace: Arc<String>| {
            assert_eq!(*namespace, "team-a");
            asked
        });
        context.add_function("name", |This(asked): This<Arc<String>>, name: Arc<String>| {
            Arc::new(format!("{asked}/{name}"))
        });
        context.add_function("check", move |This(asked): This<Arc<String>>, verb: Arc<String>| {
            may.contains(&format!("{verb} {asked}"))
        });
        context.add_function("allowed", |This(answer): This<bool>| answer);
    }

    #[track_caller]
    fn evaluate(cel: &str, context: &Context) -> Cel {
        let parsed = Parser::new().parse(cel).unwrap();
        Cel::resolve(&parsed, context).unwrap_or_else(|error| panic!("`{cel}`: {error}"))
    }

    /// As the API server has it: numbers of an object are signed.
    fn cel_of(value: &Value) -> Cel {
        match value {
            Value::Array(items) => Cel::List(Arc::new(items.iter().map(cel_of).collect())),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), cel_of(value))).collect::<HashMap<_, _>>().into()
            }
            Value::Number(number) => Cel::Int(number.as_i64().unwrap()),
            scalar => to_value(scalar).unwrap(),
        }
    }
}
