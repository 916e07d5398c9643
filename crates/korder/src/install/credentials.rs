//! Access for programs that run outside the cluster under an account of theirs.

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use korder_api::names::SYSTEM_NAMESPACE;
use kube::api::PostParams;
use kube::config::{AuthInfo, Context, Kubeconfig, NamedAuthInfo, NamedContext};
use kube::{Api, Client};

use crate::told::Told as _;

/// How long a token is asked for: longer than anybody leaves an embedded cluster running.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;

/// A kubeconfig for the account `name` of korder's namespace, on the cluster that `administrator` reaches.
///
/// It holds a token: whoever writes it to a file makes that readable by its owner only.
pub(crate) async fn service_account_kubeconfig(
    client: &Client,
    administrator: &Kubeconfig,
    name: &str,
) -> anyhow::Result<Kubeconfig> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let token = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await
        .told(|| format!("get a token for the service account `{name}`"))?
        .status
        .with_context(|| format!("the cluster gave no token for the service account `{name}`"))?
        .token;
    with_token(administrator, name, token)
}

fn with_token(administrator: &Kubeconfig, name: &str, token: String) -> anyhow::Result<Kubeconfig> {
    let current = administrator.current_context.as_deref().unwrap_or_default();
    let context = administrator.contexts.iter().find(|context| context.name == current);
    let cluster = context
        .and_then(|context| context.context.as_ref())
        .map(|context| context.cluster.clone())
        .with_context(|| format!("the kubeconfig has no current context `{current}`"))?;
    let clusters = administrator.clusters.iter().filter(|named| named.name == cluster).cloned().collect();
    let user = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Ok(Kubeconfig {
        api_version: Some("v1".into()),
        kind: Some("Config".into()),
        clusters,
        auth_infos: vec![NamedAuthInfo { name: name.into(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext {
            name: name.into(),
            context: Some(Context {
                cluster,
                user: Some(name.into()),
                namespace: Some(SYSTEM_NAMESPACE.into()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        current_context: Some(name.into()),
        ..Kubeconfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMINISTRATOR: &str = "
current-context: embedded
clusters:
- {name: other, cluster: {server: 'https://other:1'}}
- {name: here, cluster: {server: 'https://127.0.0.1:1'}}
users:
- {name: admin, user: {client-key-data: secret}}
contexts:
- {name: embedded, context: {cluster: here, user: admin}}
";

    #[test]
    fn it_leads_to_the_same_cluster_as_the_account_and_nobody_else() {
        let administrator = Kubeconfig::from_yaml(ADMINISTRATOR).unwrap();
        let made = with_token(&administrator, "korder-webhook", "t0ken".into()).unwrap();
        assert_eq!(made.current_context.as_deref(), Some("korder-webhook"));
        assert_eq!(made.clusters.len(), 1);
        assert_eq!(made.clusters[0].cluster.as_ref().unwrap().server.as_deref(), Some("https://127.0.0.1:1"));
        let text = serde_saphyr::to_string(&made).unwrap();
        assert!(text.contains("t0ken") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn a_kubeconfig_without_context_is_told_so() {
        let error = with_token(&Kubeconfig::default(), "korder-webhook", "t0ken".into()).unwrap_err();
        assert_eq!(error.to_string(), "the kubeconfig has no current context ``");
    }
}
