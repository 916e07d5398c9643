//! What is of no use goes.

use anyhow::{Context as _, ensure};
use korder_api::StockPhase;

use super::INVENTORY;
use super::look::{self, LONG};
use crate::objects::eventually_within;
use crate::show::Show;
use crate::stage::Cluster;

pub(super) async fn obsolete(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    show.step("The recipe changes: the old cakes stay until new ones are there")?;
    look::ready(&cluster.client, INVENTORY, 1).await?;
    let old = look::units(&cluster.client, INVENTORY, StockPhase::Ready).await?;
    show.run(&format!(
        "kubectl patch kinv {INVENTORY} --type merge -p '{{\"spec\":{{\"item\":{{\"inputs\":{{\"FLOUR\":\"rye\"}}}}}}}}'"
    ))
    .await?;
    let replaced = eventually_within(LONG, "the old ones are replaced", async || {
        let units = look::units(&cluster.client, INVENTORY, StockPhase::Ready).await?;
        ensure!(!units.is_empty() && units.iter().all(|unit| !old.contains(unit)), "{units:?} are ready");
        Ok(units)
    });
    let new = replaced.await?;
    show.run("kubectl get kst").await?;
    show.holds(format!("{} went when {} were ready", old.join(", "), new.join(", ")))?;
    Ok(())
}

pub(super) async fn expired(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    show.step("What is too old goes")?;
    let before = look::units(&cluster.client, INVENTORY, StockPhase::Ready).await?;
    show.run(&format!("kubectl patch kinv {INVENTORY} --type merge -p '{{\"spec\":{{\"maxAge\":\"30s\"}}}}'")).await?;
    let gone = eventually_within(LONG, "the old ones are gone", async || {
        let units = look::units(&cluster.client, INVENTORY, StockPhase::Ready).await?;
        ensure!(before.iter().all(|unit| !units.contains(unit)), "{units:?} are ready");
        Ok(())
    });
    gone.await?;
    show.run("kubectl get kst").await?;
    show.holds(format!("{} had lain for more than 30 s", before.join(", ")))?;
    show.run(&format!("kubectl patch kinv {INVENTORY} --type merge -p '{{\"spec\":{{\"maxAge\":null}}}}'")).await?;
    Ok(())
}

pub(super) async fn failed(show: &mut Show, cluster: &Cluster) -> anyhow::Result<()> {
    show.step("What can't be made is told, tried again later, and does not stay")?;
    show.run("kubectl apply -f examples/kepot/burnt.yaml").await?;
    let reason = eventually_within(LONG, "the failure is told", async || {
        let status = look::inventory(&cluster.client, "burnt").await?;
        let ready = status.conditions.iter().find(|one| one.type_ == "Ready").context("it says nothing")?;
        ensure!(ready.reason == "ProductionFailed", "{}", ready.message);
        Ok(ready.message.clone())
    });
    let message = reason.await?;
    show.run("kubectl get kst -l korder.dev/inventory=burnt").await?;
    show.holds(message)?;
    let gone = eventually_within(LONG, "the first failure is forgotten", async || {
        let failed = look::units(&cluster.client, "burnt", StockPhase::Failed).await?;
        ensure!(!failed.contains(&"burnt-1".to_owned()), "{failed:?} are there");
        Ok(())
    });
    gone.await?;
    show.run("kubectl get kinv,kst").await?;
    show.holds("`burnt-1` was kept for a while to be looked at, and is gone")?;
    show.run("kubectl delete kinv burnt").await
}
