//! Everything is killed at once and started again.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::audit::Ownership;
use e2e::objects::{self, Size};
use e2e::{Environment, History, Log};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Order, Ticket, TicketPhase};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};

use crate::pods::node_of;
use crate::suite::Suite;

const PLACES: usize = 8;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(nothing_acknowledged_is_lost);
}

/// The cut comes in the middle of hand-overs.
async fn nothing_acknowledged_is_lost() -> Result<()> {
    let environment = Environment::own(&[]).await?;
    let client = environment.client();
    let places = i32::try_from(PLACES)?;
    let order = objects::order("shelf", places, Size::SMALL);
    let order = api::<Order>(&client).create(&PostParams::default(), &order).await?;
    let orders = History::start(api::<Order>(&client)).await?;
    orders.until("all tickets are ready", |log| counts(log, places, 0)).await?;

    let tickets = History::start(api::<Ticket>(&client)).await?;
    let pods: Vec<Pod> =
        (0..PLACES).map(|number| objects::claimant(&format!("app-{number}"), "shelf", Size::SMALL)).collect();
    let (pod_api, params) = (api::<Pod>(&client), PostParams::default());
    let made = try_join_all(pods.iter().map(|pod| pod_api.create(&params, pod))).await?;
    let claimed = |log: &Log<Ticket>| log.objects().any(|ticket| ticket.phase() == TicketPhase::Claimed).then_some(());
    tickets.until("a ticket is being handed over", claimed).await?;
    let issued: BTreeMap<String, Option<String>> =
        tickets.log().objects().map(|ticket| (ticket.name_any(), ticket.uid())).collect();

    let environment = environment.kill_and_resume().await?;
    let client = environment.client();
    let orders = History::start(api::<Order>(&client)).await?;
    let tickets = History::start(api::<Ticket>(&client)).await?;
    let pods = History::start(api::<Pod>(&client)).await?;
    let served = |log: &Log<Pod>| {
        let there = |pod: &Pod| log.get(&pod.name_any()).filter(|now| now.uid() == pod.uid());
        made.iter().all(|pod| there(pod).is_some_and(|pod| node_of(pod).is_some())).then_some(())
    };
    pods.until("the pods that were made before have their places", served).await?;
    let order_now = orders.until("the order has refilled", |log| counts(log, places, places)).await?;
    ensure!(order_now.uid() == order.uid(), "the order is another one");
    let log = tickets.log();
    let lost: Vec<_> = issued.iter().filter(|(name, uid)| log.get(name).is_none_or(|now| now.uid() != **uid)).collect();
    ensure!(lost.is_empty(), "tickets that were there before are gone: {lost:?}");
    let mut ownership = Ownership::default();
    log.events().iter().for_each(|event| ownership.see(event.change, &event.object));
    ensure!(ownership.objections().is_empty(), "{}", ownership.objections().join("; "));
    drop(log);
    environment.stop().await
}

fn api<K>(client: &Client) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    Api::default_namespaced(client.clone())
}

fn counts(log: &Log<Order>, ready: i32, used: i32) -> Option<Arc<Order>> {
    let order = log.get("shelf")?;
    let status = order.status.as_ref()?;
    (status.ready == ready && status.used == used).then(|| Arc::clone(order))
}
