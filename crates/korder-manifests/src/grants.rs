//! What lets the controllers make units as a service account of a namespace: granted there account by account, never for the
//! whole cluster.

use std::collections::BTreeSet;

use korder_api::names::CONTROLLER_NAME;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::accounts::granted_as;

/// Name of the Role, and of its binding, of the grants of one namespace.
pub const GRANT_NAME: &str = "korder-namespace-grant";

/// The Role and its binding by which the controllers act as these accounts of a namespace, and keep there what units have of
/// secrets.
pub fn namespace_grant(namespace: &str, accounts: &BTreeSet<String>) -> Vec<DynamicObject> {
    let rules = json!([
        { "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": accounts, "verbs": ["impersonate"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "delete"] },
    ]);
    granted_as(GRANT_NAME, CONTROLLER_NAME, Some(namespace), &rules)
}

/// The accounts that a Role of this name with these rules grants; none where it is no grant.
pub fn granted_accounts(role: &str, rules: &Value) -> BTreeSet<String> {
    let rules = rules.as_array().filter(|_| role == GRANT_NAME);
    let of_accounts = rules.into_iter().flatten().filter(|rule| rule["verbs"] == json!(["impersonate"]));
    let names = of_accounts.filter_map(|rule| rule["resourceNames"].as_array()).flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_back_and_names_whom_it_is_for() {
        let accounts = BTreeSet::from(["builder".to_owned(), "deployer".to_owned()]);
        let [role, binding] = &namespace_grant("team-a", &accounts)[..] else { panic!("a Role and its binding") };
        assert_eq!(granted_accounts(GRANT_NAME, &role.data["rules"]), accounts);
        assert_eq!(granted_accounts("another", &role.data["rules"]), BTreeSet::new());
        for object in [role, binding] {
            assert_eq!(object.metadata.namespace.as_deref(), Some("team-a"));
        }
        for rule in role.data["rules"].as_array().unwrap() {
            let unbounded =
                rule["verbs"] == json!(["impersonate"]) && rule["resourceNames"].as_array().unwrap().is_empty();
            assert!(!unbounded && !rule.to_string().contains('*'), "{rule}");
        }
    }
}
