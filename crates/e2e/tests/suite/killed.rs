//! The controllers are killed, and the whole control plane while they live on, and the kinds are replaced, all under load.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster::Cluster;
use e2e::{Case, Environment};
use korder_api::names;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::installation::{Korder, cluster};
use crate::load::{Load, claims};
use crate::suite::Suite;
use crate::upgraded;

/// The controllers are killed once in so many claims, and the control plane.
const CLAIMS_PER_KILL: usize = 5;
const CLAIMS_PER_CUT: usize = 25;
/// A process that was started less than this ago may not have done anything yet, or all sorts of things.
const RANDOM_MILLIS: std::ops::Range<u64> = 0..1000;
const SEED: u64 = 1;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(what_is_killed_under_load_loses_nothing);
}

async fn what_is_killed_under_load_loses_nothing() -> Result<()> {
    let cluster = cluster().await?;
    let korder = Korder::on(&cluster).await?;
    korder.run(&["install", "--gate", "webhook"]).await?;
    let mut webhook = korder.start_webhook(&cluster.client()).await?;
    let environment = Arc::new(Environment::at(&cluster.data_dir().kubeconfig()).await?);
    Case::run(&environment, "killed", async |case: &Case| controllers_are_killed(case, &korder).await).await?;
    Case::run(&environment, "upgraded", async |case: &Case| the_kinds_are_upgraded(case, &korder).await).await?;
    let mut cluster = Some(cluster);
    let test = async |case: &Case| the_control_plane_is_killed(case, &korder, &mut cluster).await;
    Case::run(&environment, "cut", test).await?;
    ensure!(webhook.try_wait()?.is_none(), "the webhook has ended when the API server was away");
    cluster.context("the control plane has not come back")?.stop().await.context("cannot stop the cluster")
}

async fn the_kinds_are_upgraded(case: &Case, korder: &Korder) -> Result<()> {
    let mut controllers = korder.start(&case.client(), names::CONTROLLER_NAME, &["controller"]).await?;
    upgraded::kinds_are_upgraded_under_load(case).await?;
    ensure!(controllers.try_wait()?.is_none(), "the controllers have ended when the kinds were upgraded");
    Ok(())
}

async fn controllers_are_killed(case: &Case, korder: &Korder) -> Result<()> {
    let start = async || korder.start(&case.client(), names::CONTROLLER_NAME, &["controller"]).await;
    let mut controllers = start().await?;
    let (claims, mut random) = (claims()?, StdRng::seed_from_u64(SEED));
    let kills = claims / CLAIMS_PER_KILL;
    let load = Load::start(case).await?;
    let what = format!("Controllers killed {kills} times");
    let fault = async |load: &Load<'_>| {
        for kill in 0..kills {
            at_a_random_moment(load, kill * CLAIMS_PER_KILL, &mut random).await?;
            ensure!(controllers.try_wait()?.is_none(), "the controllers have ended by themselves");
            controllers.kill().await.context("cannot kill the controllers")?;
            controllers = start().await?;
        }
        Ok(())
    };
    load.run(&what, claims, fault).await
}

/// etcd, the API server, the scheduler and the controller manager, all at once; korder's programs go on.
async fn the_control_plane_is_killed(case: &Case, korder: &Korder, cluster: &mut Option<Cluster>) -> Result<()> {
    let mut controllers = korder.start(&case.client(), names::CONTROLLER_NAME, &["controller"]).await?;
    let (claims, mut random) = (claims()?, StdRng::seed_from_u64(SEED));
    let cuts = claims.div_ceil(CLAIMS_PER_CUT);
    let load = Load::start(case).await?;
    let what = format!("Control plane killed {cuts} times");
    let fault = async |load: &Load<'_>| {
        for cut in 0..cuts {
            at_a_random_moment(load, cut * CLAIMS_PER_CUT, &mut random).await?;
            let running = cluster.take().context("the control plane has not come back")?;
            *cluster = Some(running.kill_and_resume().await?);
        }
        Ok(())
    };
    load.run(&what, claims, fault).await?;
    ensure!(controllers.try_wait()?.is_none(), "the controllers have ended when the API server was away");
    Ok(())
}

/// Returns somewhere in a hand-over, once so many claimants were served.
async fn at_a_random_moment(load: &Load<'_>, served: usize, random: &mut StdRng) -> Result<()> {
    load.until_served(served).await?;
    load.amid_a_hand_over().await?;
    tokio::time::sleep(Duration::from_millis(random.random_range(RANDOM_MILLIS))).await;
    Ok(())
}
