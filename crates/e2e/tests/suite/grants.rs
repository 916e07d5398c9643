//! Service accounts as which units of stock may be made: granted one by one, and taken away where nothing needs them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::Case;
use korder_api::names;

use crate::suite::Suite;

/// How long a change of rights takes at most until it counts.
const RIGHTS_DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(accounts_are_granted_and_taken_away);
}

/// An inventory that keeps nothing on its shelf, whose units would be made as `builder`.
const INVENTORY: &str = "apiVersion: core.korder.dev/v1alpha1\nkind: Inventory\nmetadata: {name: settings}\nspec:\n  replicas: 0\n  \
                         item: {serviceAccountName: builder, operation: {manifests: [{apiVersion: v1, kind: ConfigMap, metadata: \
                         {name: $(stock.name)}}]}}\n";

async fn accounts_are_granted_and_taken_away(case: &Case) -> Result<()> {
    let grant = |account: &str| format!("{}/{account}", case.namespace());
    let (builder, deployer) = (grant("builder"), grant("deployer"));
    is_allowed(case, "impersonate", "serviceaccounts/builder", false).await?;
    case.kubectl().get(&["create", "serviceaccount", "builder"]).await?;

    let added = korder(case, &["install", "--namespace-grant", &builder, "--namespace-grant", &deployer]).await?;
    let created = format!("role/korder-namespace-grant in {} created", case.namespace());
    ensure!(added.contains(&created) && added.lines().count() == 2, "nothing else is to be done:\n{added}");
    for account in ["builder", "deployer"] {
        is_allowed(case, "impersonate", &format!("serviceaccounts/{account}"), true).await?;
    }
    is_allowed(case, "create", "secrets", true).await?;
    is_allowed(case, "list", "secrets", false).await?;
    is_allowed(case, "impersonate", "serviceaccounts/default", false).await?;
    let doctor = case.run_korder(&["doctor"]).await?.stdout;
    ensure!(doctor.contains(&format!("`{builder}`")), "{doctor}");
    ensure!(korder(case, &["install", "--namespace-grant", &builder]).await?.is_empty(), "it is there already");

    case.kubectl().apply(INVENTORY).await?;
    let revoke = |grant: &str| ["uninstall".to_owned(), "--namespace-grant".to_owned(), grant.to_owned()];
    let told = refused(case, &revoke(&builder)).await?;
    ensure!(told.contains(&format!("the grant `{builder}` is in use, by `inventory/settings`")), "{told}");
    korder(case, &revoke(&deployer).each_ref().map(String::as_str)).await?;
    is_allowed(case, "impersonate", "serviceaccounts/deployer", false).await?;
    is_allowed(case, "impersonate", "serviceaccounts/builder", true).await?;
    let told = refused(case, &revoke(&deployer)).await?;
    ensure!(told.contains(&format!("`{deployer}` is not granted")) && told.contains(&builder), "{told}");

    case.kubectl().get(&["delete", "kinv/settings"]).await?;
    let gone = korder(case, &revoke(&builder).each_ref().map(String::as_str)).await?;
    ensure!(gone.contains("removed") && gone.lines().count() == 2, "{gone}");
    is_allowed(case, "create", "secrets", false).await
}

async fn korder(case: &Case, arguments: &[&str]) -> Result<String> {
    let output = case.run_korder(arguments).await?;
    ensure!(output.status.success(), "`korder {}` failed:\n{}{}", arguments.join(" "), output.stdout, output.stderr);
    Ok(output.stdout)
}

async fn refused(case: &Case, arguments: &[String]) -> Result<String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = case.run_korder(&arguments).await?;
    ensure!(output.status.code() == Some(1), "`korder {}` ended with {}", arguments.join(" "), output.status);
    Ok(output.stderr)
}

/// Waits until the controllers may, or may not, do this in the namespace.
async fn is_allowed(case: &Case, verb: &str, resource: &str, allowed: bool) -> Result<()> {
    let account = format!("system:serviceaccount:{}:{}", names::SYSTEM_NAMESPACE, names::CONTROLLER_NAME);
    let kubectl = case.kubectl().acting_as(account);
    let wanted = if allowed { "yes" } else { "no" };
    let seen = async {
        while kubectl.run(&["auth", "can-i", verb, resource], "").await?.stdout.trim() != wanted {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    let late = || format!("whether the controllers may {verb} {resource} is not `{wanted}`");
    tokio::time::timeout(RIGHTS_DEADLINE, seen).await.with_context(late)?
}
