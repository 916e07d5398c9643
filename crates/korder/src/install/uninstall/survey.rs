//! What an uninstallation finds, by namespace: said before anything goes.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use korder_api::{Order, Ticket};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectList};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};

use super::pods::{guardians, waiting};
use crate::told::Told as _;

/// Namespaces that are named one by one; of the others only the sum is told.
const MAX_NAMED: usize = 20;

/// What is there, by namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey(BTreeMap<String, Counts>);

/// How much of it is in one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    orders: usize,
    tickets: usize,
    guardians: usize,
    waiting: usize,
}

/// Counts what is there.
pub(crate) async fn survey(client: &Client) -> anyhow::Result<Survey> {
    let (orders, tickets, guardians, waiting) = futures::future::try_join4(
        metadata::<Order>(client),
        metadata::<Ticket>(client),
        guardians(client),
        waiting(client),
    )
    .await?;
    let mut survey = Survey::default();
    survey.add(namespaces(&orders), |counts| &mut counts.orders);
    survey.add(namespaces(&tickets), |counts| &mut counts.tickets);
    survey.add(namespaces(&guardians), |counts| &mut counts.guardians);
    survey.add(namespaces(&waiting), |counts| &mut counts.waiting);
    Ok(survey)
}

fn namespaces(objects: &[impl ResourceExt]) -> Vec<String> {
    objects.iter().filter_map(ResourceExt::namespace).collect()
}

/// How many objects of each of these kinds there are, by the kind's plural name; those without any are left out.
pub(super) async fn objects(client: &Client, definitions: &[DynamicObject]) -> anyhow::Result<Vec<(String, usize)>> {
    let mut counted = Vec::new();
    for definition in definitions {
        let definition: CustomResourceDefinition = definition.clone().try_parse().context("cannot read a kind")?;
        let Some(version) = definition.spec.versions.iter().find(|version| version.storage) else { continue };
        let names = &definition.spec.names;
        let gvk = GroupVersionKind::gvk(&definition.spec.group, &version.name, &names.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &names.plural);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let list = api.list_metadata(&ListParams::default()).await.told(|| format!("count the {}", names.plural))?;
        if !list.items.is_empty() {
            counted.push((names.plural.clone(), list.items.len()));
        }
    }
    Ok(counted)
}

/// All objects of a kind; none where the cluster does not have it any more.
async fn metadata<K>(client: &Client) -> anyhow::Result<Vec<PartialObjectMeta<K>>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match Api::<K>::all(client.clone()).list_metadata(&ListParams::default()).await {
        Ok(ObjectList { items, .. }) => Ok(items),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(vec![]),
        Err(error) => Err(error).told(|| format!("count the {}", K::plural(&()))),
    }
}

impl Survey {
    fn add(&mut self, namespaces: Vec<String>, count: impl Fn(&mut Counts) -> &mut usize) {
        for namespace in namespaces {
            *count(self.0.entry(namespace).or_default()) += 1;
        }
    }

    /// How many orders there are in a namespace.
    pub(super) fn orders_in(&self, namespace: &str) -> usize {
        self.0.get(namespace).map_or(0, |counts| counts.orders)
    }

    /// Whether there are guardians, or pods that wait for tickets.
    pub(super) fn holds_pods(&self) -> bool {
        let Counts { guardians, waiting, .. } = self.sum(|_| true);
        guardians + waiting > 0
    }

    fn sum(&self, of: impl Fn(usize) -> bool) -> Counts {
        let counted = self.0.values().enumerate().filter(|(index, _)| of(*index));
        counted.fold(Counts::default(), |sum, (_, counts)| Counts {
            orders: sum.orders + counts.orders,
            tickets: sum.tickets + counts.tickets,
            guardians: sum.guardians + counts.guardians,
            waiting: sum.waiting + counts.waiting,
        })
    }

    /// What will become of it, for whoever is asked.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self(rows) = self;
        let mut named: Vec<(&str, Counts)> =
            rows.iter().take(MAX_NAMED).map(|(namespace, counts)| (namespace.as_str(), *counts)).collect();
        if rows.len() > MAX_NAMED {
            named.push(("others", self.sum(|index| index >= MAX_NAMED)));
        }
        let width = named.iter().map(|(namespace, _)| namespace.len()).max().unwrap_or_default().max("NAMESPACE".len());
        let mut lines = Vec::new();
        if !named.is_empty() {
            lines.push(format!(
                "{:width$}  {:>7}  {:>7}  {:>9}  {:>12}",
                "NAMESPACE", "ORDERS", "TICKETS", "GUARDIANS", "WAITING PODS"
            ));
        }
        lines.extend(named.into_iter().map(|(namespace, Counts { orders, tickets, guardians, waiting })| {
            format!("{namespace:width$}  {orders:>7}  {tickets:>7}  {guardians:>9}  {waiting:>12}")
        }));
        let Counts { guardians, waiting, .. } = self.sum(|_| true);
        lines.push(format!(
            "{guardians} guardians go, and with them the places that they hold; {waiting} waiting pods go to the scheduler \
             without a ticket; running pods stay as they are."
        ));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> Survey {
        let mut survey = Survey::default();
        survey.add(vec!["shop".into(), "default".into(), "shop".into()], |counts| &mut counts.tickets);
        survey.add(vec!["shop".into()], |counts| &mut counts.orders);
        survey.add(vec!["default".into()], |counts| &mut counts.waiting);
        survey
    }

    #[test]
    fn what_goes_is_told_by_namespace() {
        assert_eq!(
            counted().lines(),
            [
                "NAMESPACE   ORDERS  TICKETS  GUARDIANS  WAITING PODS",
                "default          0        1          0             1",
                "shop             1        2          0             0",
                "0 guardians go, and with them the places that they hold; 1 waiting pods go to the scheduler without a \
                 ticket; running pods stay as they are.",
            ]
        );
    }

    #[test]
    fn of_many_namespaces_the_rest_is_a_sum() {
        let mut survey = Survey::default();
        survey.add((0..50).map(|number| format!("team-{number:02}")).collect(), |counts| &mut counts.orders);
        let lines = survey.lines();
        assert_eq!(lines.len(), 1 + MAX_NAMED + 1 + 1);
        assert!(lines[1 + MAX_NAMED].starts_with("others          30"), "{}", lines[1 + MAX_NAMED]);
    }
}
