//! What the controllers may do: what they need, under their own account, and no more.

use anyhow::{Result, ensure};
use e2e::Case;
use e2e::objects::Size;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use korder_api::names;

use crate::suite::Suite;
use crate::until::order_is_ready;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(the_controllers_act_under_their_own_account);
    suite.add(the_controllers_may_do_no_more_than_they_need);
}

fn account() -> String {
    format!("system:serviceaccount:{}:{}", names::SYSTEM_NAMESPACE, names::CONTROLLER_NAME)
}

/// A guardian can be made by nobody but the controllers' account. That there are guardians tells that the controllers
/// act under it, and all the other tests that its rights suffice.
async fn the_controllers_act_under_their_own_account(case: &Case) -> Result<()> {
    case.add_nodes(1, Size::SMALL).await?;
    case.create(&case.order("shelf", 1, Size::SMALL)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let forged = "apiVersion: v1\nkind: Pod\nmetadata: {name: forged, labels: {korder.dev/role: guardian}}\n\
                  spec: {containers: [{name: guardian, image: pause}]}\n";
    let kubectl = case.kubectl();
    let refused = kubectl.refused(forged).await?;
    ensure!(refused.contains("`korder.dev/role` is korder's own"), "{refused}");
    let dry_run = ["create", "-f", "-", "--dry-run=server", "--as", &account()];
    let allowed = kubectl.run(&dry_run, forged).await?;
    ensure!(allowed.status.success(), "the controllers' account can't make a guardian: {}", allowed.stderr);
    Ok(())
}

async fn the_controllers_may_do_no_more_than_they_need(case: &Case) -> Result<()> {
    let too_much = [
        ["get", "secrets"],
        ["create", "secrets"],
        ["patch", "nodes"],
        ["delete", "nodes"],
        ["create", "deployments.apps"],
        ["delete", "namespaces"],
        ["create", "orders.core.korder.dev"],
        ["patch", "orders.core.korder.dev"],
        ["impersonate", "serviceaccounts"],
        ["impersonate", "users"],
        ["update", "configmaps"],
        ["patch", "customresourcedefinitions.apiextensions.k8s.io"],
        ["create", "clusterrolebindings.rbac.authorization.k8s.io"],
        ["create", "pods --subresource=exec"],
        ["create", "pods --subresource=binding"],
    ];
    let kubectl = case.kubectl();
    let denied = async |[verb, resource]: [&'static str; 2]| {
        let account = account();
        let question = ["auth", "can-i", verb].into_iter().chain(resource.split(' ')).chain(["-A", "--as", &account]);
        let output = kubectl.run(&question.collect::<Vec<_>>(), "").await?;
        ensure!(
            output.stdout.trim() == "no",
            "may the controllers {verb} {resource}? {}{}",
            output.stdout,
            output.stderr
        );
        Ok(())
    };
    stream::iter(too_much).map(denied).buffer_unordered(4).try_collect().await
}
