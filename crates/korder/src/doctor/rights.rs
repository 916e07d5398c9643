//! What the user must be allowed to install korder.

use std::collections::BTreeSet;

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use korder_manifests::{Gate, Options, PolicyApi, Profile};
use kube::api::PostParams;
use kube::{Api, Client, Discovery};

use crate::install::IMAGE;

/// What an installation does to each kind of object.
const VERBS: [&str; 4] = ["create", "patch", "list", "delete"];
/// How many questions are asked side by side.
const IN_FLIGHT: usize = 16;

/// What the user may not do that an installation needs, as `create deployments.apps`.
pub(super) async fn denied(
    client: &Client,
    discovery: &Discovery,
    policies: Option<PolicyApi>,
) -> anyhow::Result<Vec<String>> {
    let gate = policies.map_or(Gate::Webhook, Gate::Policy);
    let options = Options { profile: Profile::InCluster { image: IMAGE.to_owned() }, gate };
    let kinds: BTreeSet<(String, String)> = korder_manifests::manifests(&options)
        .iter()
        .filter_map(|object| object.types.as_ref())
        .map(|types| {
            let group = types.api_version.split_once('/').map_or("", |(group, _)| group);
            (group.to_owned(), types.kind.clone())
        })
        .collect();
    let resources = kinds.into_iter().filter_map(|(group, kind)| {
        let group = discovery.get(&group)?;
        let (resource, _) = group.recommended_kind(&kind)?;
        Some((resource.group, resource.plural))
    });
    let questions = resources.flat_map(|(group, plural)| VERBS.map(|verb| (verb, group.clone(), plural.clone())));
    let answers = stream::iter(questions).map(|(verb, group, plural)| async move {
        let allowed = may(client, verb, &group, &plural).await?;
        let resource = if group.is_empty() { plural } else { format!("{plural}.{group}") };
        anyhow::Ok((!allowed).then(|| format!("{verb} {resource}")))
    });
    let denied: Vec<_> = answers.buffered(IN_FLIGHT).try_collect().await?;
    Ok(denied.into_iter().flatten().collect())
}

/// Whether the user may do this to a resource, in all namespaces.
pub(super) async fn may(client: &Client, verb: &str, group: &str, plural: &str) -> anyhow::Result<bool> {
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(plural.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await;
    let answer = answer.context("cannot ask what your account may do")?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
