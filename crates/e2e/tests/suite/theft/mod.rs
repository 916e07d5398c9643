//! Is a place ever stolen in a hand-over?
//!
//! Nodes are filled by eight guardians each and nothing else fits on them. Pods of the same priority wait for a place
//! on each node, and twenty new ones come every second, while guardians give up their places to pods that were promised
//! them, eight at a time. A theft is a promised place that its pod does not get. The same is done by korder and, to see
//! that a theft would be noticed, by bare API calls that break one of its rules.

mod by_hand;
mod by_korder;
mod field;
mod pressure;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::audit::Capacity;
use e2e::{Case, Environment};

use self::by_hand::{ByHand, Rules};
use self::by_korder::ByKorder;
use self::field::{Field, GUARDIANS};
use self::pressure::Pressure;
use crate::suite::Suite;

/// Nodes of a field.
const NODES: usize = 3;
/// How many places change hands at a time.
const BATCH: usize = 8;
/// How many hand-overs korder makes in all where `HAND_OVERS` does not say.
const DEFAULT_HAND_OVERS: usize = 2 * NODES * GUARDIANS;
/// Environment variable: how many hand-overs korder makes in all.
const HAND_OVERS: &str = "KORDER_E2E_HANDOVERS";
/// How many of those by bare API calls: one round.
const BY_HAND: usize = NODES * GUARDIANS;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(korder_loses_no_place);
    suite.add(bare_calls_by_the_rules_lose_no_place);
    suite.add(bare_calls_without_a_nomination_lose_places);
    suite.add(bare_calls_that_overlap_on_a_node_lose_places);
    suite.add_with_own_cluster(restarts_of_the_scheduler);
}

/// A way of handing places over.
trait HandOver {
    /// Fills every node of the field with guardians.
    async fn fill(&self, field: &Field<'_>) -> Result<()>;

    /// Gives the places of so many guardians to as many new pods, all at the same time; what went wrong with which.
    async fn hand_over(&self, field: &Field<'_>, count: usize) -> Result<Vec<String>>;
}

async fn korder_loses_no_place(case: &Case) -> Result<()> {
    let hand_overs = match std::env::var(HAND_OVERS) {
        Ok(count) => count.parse().with_context(|| format!("`{HAND_OVERS}={count}` is not a number"))?,
        Err(_) => DEFAULT_HAND_OVERS,
    };
    let thefts = play(case, &ByKorder::default(), hand_overs).await?;
    ensure!(thefts.is_empty(), "{} of {hand_overs} places were lost:\n{}", thefts.len(), thefts.join("\n"));
    Ok(())
}

async fn bare_calls_by_the_rules_lose_no_place(case: &Case) -> Result<()> {
    keeps_places(case, Rules::Kept, BY_HAND).await
}

async fn bare_calls_without_a_nomination_lose_places(case: &Case) -> Result<()> {
    loses_places(case, Rules::NoNomination, BY_HAND).await
}

async fn bare_calls_that_overlap_on_a_node_lose_places(case: &Case) -> Result<()> {
    loses_places(case, Rules::Overlapping, BY_HAND).await
}

/// On a cluster of their own, since the scheduler is everybody's.
async fn restarts_of_the_scheduler() -> Result<()> {
    let environment = Arc::new(Environment::own(&[]).await?);
    let by_korder = async |case: &Case| korder_tells_a_new_scheduler(case).await;
    Case::run(&environment, "restart-korder", by_korder).await?;
    let touched = async |case: &Case| keeps_places(case, Rules::KeptWithRestart, BATCH).await;
    Case::run(&environment, "restart-touched", touched).await?;
    let untouched = async |case: &Case| loses_places(case, Rules::NoTouch, BATCH).await;
    Case::run(&environment, "restart-untouched", untouched).await?;
    Arc::into_inner(environment).context("somebody still uses the cluster")?.stop().await
}

/// The deletion of guardians is refused for a while, so that the scheduler begins anew while the places are promised and not free.
async fn korder_tells_a_new_scheduler(case: &Case) -> Result<()> {
    let (field, way) = (Field::new(case, NODES).await?, ByKorder::default());
    way.fill(&field).await?;
    field.is_full().await?;
    let pressure = Pressure::start(&field).await?;
    field.hold_guardians().await?;
    let handed_over = way.hand_over(&field, BATCH);
    let restarted = async {
        field.claimants_are_nominated(BATCH).await?;
        case.environment().restart_scheduler().await?;
        field.let_guardians_go().await
    };
    let (thefts, ()) = tokio::try_join!(handed_over, restarted)?;
    pressure.stop().await?;
    ensure!(thefts.is_empty(), "{} of {BATCH} places were lost:\n{}", thefts.len(), thefts.join("\n"));
    field.clear().await
}

async fn keeps_places(case: &Case, rules: Rules, count: usize) -> Result<()> {
    let thefts = play(case, &ByHand::new(rules), count).await?;
    ensure!(thefts.is_empty(), "{} of {count} places were lost:\n{}", thefts.len(), thefts.join("\n"));
    Ok(())
}

async fn loses_places(case: &Case, rules: Rules, count: usize) -> Result<()> {
    let thefts = play(case, &ByHand::new(rules), count).await?;
    ensure!(!thefts.is_empty(), "none of {count} places was lost: this test can't see thefts");
    Ok(())
}

/// Hands over so many places in rounds; the thefts. At no moment may there be more on a node than fits.
async fn play(case: &Case, way: &impl HandOver, hand_overs: usize) -> Result<Vec<String>> {
    let field = Field::new(case, NODES).await?;
    let mut thefts = Vec::new();
    let mut left = hand_overs;
    while left > 0 {
        way.fill(&field).await?;
        field.is_full().await?;
        let pressure = Pressure::start(&field).await?;
        let mut in_round = left.min(field.places());
        while in_round > 0 {
            let batch = in_round.min(BATCH);
            thefts.extend(way.hand_over(&field, batch).await?);
            in_round -= batch;
            left -= batch;
        }
        pressure.stop().await?;
        field.clear().await?;
    }
    let mut capacity = Capacity::of(&field.node_objects().await?);
    for event in case.pods.log().events() {
        capacity.see(event.change, &event.object);
    }
    let objections = capacity.objections();
    ensure!(objections.is_empty(), "more on a node than fits:\n{}", objections.join("\n"));
    Ok(thefts)
}
