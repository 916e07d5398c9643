//! Is a place ever stolen in a hand-over?
//!
//! Nodes are filled by guardians and nothing else fits on them. Pods of the same priority wait for a place, and twenty
//! new ones come every second, while guardians give up their places to pods that were promised them. A theft is a
//! promised place that its pod does not get. The same is done by korder and, to see that a theft would be noticed, by
//! bare API calls that break one of its rules. What each way of doing it came to is [told](table) at the end of a run.

mod bare;
mod by_hand;
mod by_korder;
mod field;
mod pressure;
mod table;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::OnNodesOf as _;
use e2e::{Case, Environment, Log};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use korder_api::TicketPhase;
use korder_api::order::RefreshPolicy;
use kube::ResourceExt as _;

use self::by_hand::{ByHand, Rules};
use self::by_korder::ByKorder;
use self::field::{Field, Layout};
use self::pressure::Pressure;
use self::table::Row;
use crate::held::Held;
use crate::pods::{is_pending, merged, waits_for};
use crate::suite::Suite;

pub(crate) use self::table::print as print_table;

/// How many places change hands at a time, where it is not one.
const BATCH: usize = 8;
/// How many hand-overs korder makes in all where `HAND_OVERS` does not say.
const DEFAULT_HAND_OVERS: usize = 96;
/// The same on a real node.
const DEFAULT_REAL: usize = 24;
/// How many places change hands there at a time, where it is not one.
const REAL_BATCH: usize = 4;
/// Environment variable: how many hand-overs korder makes in all, in [`ROWS`] ways.
const HAND_OVERS: &str = "KORDER_E2E_HANDOVERS";
/// One or eight guardians a node, refill off or on, one or eight claims at a time.
const ROWS: usize = 8;
/// How many of those by bare API calls: one round.
const BY_HAND: usize = 24;
/// What breaks a rule need not lose a place in every round.
const ROUNDS_TO_LOSE: usize = 5;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(korder_loses_no_place_on_nodes_of_one_guardian);
    suite.add(korder_loses_no_place_on_nodes_of_eight_guardians);
    suite.add(korder_loses_no_place_on_a_real_node);
    suite.add(korder_spends_no_ticket_while_stronger_pods_wait);
    suite.add(bare_calls_lose_places_where_a_rule_is_broken_and_only_there);
    suite.add_with_own_cluster(restarts_of_the_scheduler);
    suite.add_with_own_real_node(korder_loses_no_place_of_a_whole_cpu);
}

/// A way of handing places over.
trait HandOver {
    /// Fills every node of the field with guardians.
    async fn fill(&self, field: &Field<'_>) -> Result<()>;

    /// Gives the places of so many guardians to as many new pods, all at the same time; what went wrong with which.
    async fn hand_over(&self, field: &Field<'_>, count: usize) -> Result<Vec<String>>;
}

/// The name of the nth pod that is promised a place.
fn claimant(number: usize) -> String {
    format!("claimant-{number}")
}

async fn korder_loses_no_place_on_nodes_of_one_guardian(case: &Case) -> Result<()> {
    korder_loses_no_place(case, Layout::ONE).await
}

async fn korder_loses_no_place_on_nodes_of_eight_guardians(case: &Case) -> Result<()> {
    korder_loses_no_place(case, Layout::EIGHT).await
}

/// The kubelet refuses none either; and what the hand-over takes is shown beside the same pods without korder.
async fn korder_loses_no_place_on_a_real_node(case: &Case) -> Result<()> {
    korder_loses_no_container(case, Layout::REAL, &[1, REAL_BATCH]).await
}

/// The kubelet has taken the CPU from the guardian before it gives it to the pod.
async fn korder_loses_no_place_of_a_whole_cpu() -> Result<()> {
    let environment = Arc::new(Environment::own(&["--real-node", "--exclusive-cpus"]).await?);
    let test = async |case: &Case| korder_loses_no_container(case, Layout::WHOLE_CPU, &[1]).await;
    Case::run(&environment, "whole-cpu", test).await?;
    Arc::into_inner(environment).context("somebody still uses the cluster")?.stop().await
}

async fn korder_loses_no_container(case: &Case, layout: Layout, ways: &[usize]) -> Result<()> {
    let field = Field::new(case, layout).await?;
    let hand_overs = hand_overs()?.unwrap_or(DEFAULT_REAL) / ways.len();
    for &at_once in ways {
        let row = Row::keeps(&field, format!("free node, {layout}, without korder, {at_once} at a time"));
        bare::start(&field, hand_overs, at_once).await?;
        row.end(&[])?;
        let row = Row::keeps(&field, format!("korder, {layout}, refill on, {at_once} at a time"));
        row.end(&play(&field, &ByKorder::new(RefreshPolicy::OnClaim), hand_overs, at_once).await?)?;
    }
    field.audit()
}

fn hand_overs() -> Result<Option<usize>> {
    let given = std::env::var(HAND_OVERS).ok();
    let number = |count: String| count.parse().with_context(|| format!("`{HAND_OVERS}={count}` is not a number"));
    given.map(number).transpose()
}

async fn korder_loses_no_place(case: &Case, layout: Layout) -> Result<()> {
    let hand_overs = hand_overs()?.unwrap_or(DEFAULT_HAND_OVERS);
    let field = Field::new(case, layout).await?;
    for (policy, refill) in [(RefreshPolicy::Never, "off"), (RefreshPolicy::OnClaim, "on")] {
        for at_once in [1, BATCH] {
            let row = Row::keeps(&field, format!("korder, {layout}, refill {refill}, {at_once} at a time"));
            row.end(&play(&field, &ByKorder::new(policy), hand_overs.div_ceil(ROWS), at_once).await?)?;
        }
    }
    field.audit()
}

/// Whoever is stronger and can use a place gets it, whatever korder does: so nothing is promised meanwhile.
async fn korder_spends_no_ticket_while_stronger_pods_wait(case: &Case) -> Result<()> {
    let (field, way) = (Field::new(case, Layout::EIGHT).await?, ByKorder::new(RefreshPolicy::OnClaim));
    let strong = case.add_patient_priority_class("strong", 10).await?;
    way.fill(&field).await?;
    field.is_full().await?;
    let rival = |(number, node): (usize, &String)| {
        let pod = field.pod(&format!("rival-{number}")).on_node(node);
        merged(pod, &serde_json::json!({"spec": {"priorityClassName": strong}}))
    };
    let rivals: Vec<Pod> = field.nodes.iter().enumerate().map(rival).collect::<Result<_>>()?;
    try_join_all(rivals.iter().map(|pod| case.create(pod))).await?;
    let wait =
        |log: &Log<Pod>| rivals.iter().all(|rival| log.get(&rival.name_any()).is_some_and(|pod| is_pending(pod)));
    case.pods.until("the stronger pods wait", |log| wait(log).then_some(())).await?;

    let row = Row::keeps(&field, format!("korder, {}, stronger pods wait, then go", field.layout));
    let held = async {
        let held = |log: &Log<Pod>| {
            let told = |pod: &&Arc<Pod>| waits_for(pod).is_some_and(|(reason, _)| reason == "HigherPriorityWaiting");
            (log.objects().filter(told).count() == BATCH).then_some(())
        };
        case.pods.until("the claims are held", held).await?;
        let given = case.tickets.log().events().iter().any(|event| event.object.phase() == TicketPhase::Claimed);
        ensure!(!given, "a ticket was given away while stronger pods wait for its place");
        let names = rivals.iter().filter_map(|rival| rival.metadata.name.as_deref());
        try_join_all(names.map(|name| case.delete::<Pod>(name))).await
    };
    let (thefts, _) = tokio::try_join!(way.hand_over(&field, BATCH), held)?;
    row.end(&thefts)?;
    field.audit()
}

async fn bare_calls_lose_places_where_a_rule_is_broken_and_only_there(case: &Case) -> Result<()> {
    let field = Field::new(case, Layout::EIGHT).await?;
    keeps_places(&field, Rules::Kept, BY_HAND).await?;
    for broken in [Rules::NoNomination, Rules::Overlapping, Rules::StrongerGuardians] {
        loses_places(&field, broken, BY_HAND).await?;
    }
    field.audit()
}

/// On a cluster of their own, since the scheduler is everybody's.
async fn restarts_of_the_scheduler() -> Result<()> {
    let environment = Arc::new(Environment::own(&[]).await?);
    let by_korder = async |case: &Case| korder_tells_a_new_scheduler(case).await;
    Case::run(&environment, "restart-korder", by_korder).await?;
    let by_hand = async |case: &Case| {
        let field = Field::new(case, Layout::EIGHT).await?;
        keeps_places(&field, Rules::KeptWithRestart, BATCH).await?;
        loses_places(&field, Rules::NoTouch, BATCH).await?;
        field.audit()
    };
    Case::run(&environment, "restart-by-hand", by_hand).await?;
    Arc::into_inner(environment).context("somebody still uses the cluster")?.stop().await
}

/// The deletion of guardians is refused for a while, so that the scheduler begins anew while the places are promised and not free.
async fn korder_tells_a_new_scheduler(case: &Case) -> Result<()> {
    let (field, way) = (Field::new(case, Layout::EIGHT).await?, ByKorder::new(RefreshPolicy::OnClaim));
    way.fill(&field).await?;
    field.is_full().await?;
    let pressure = Pressure::start(&field).await?;
    let held = Held::guardians(case).await?;
    let row = Row::keeps(&field, format!("korder, {}, scheduler restarted", field.layout));
    let handed_over = way.hand_over(&field, BATCH);
    let restarted = async {
        field.claimants_are_nominated(BATCH).await?;
        case.environment().restart_scheduler().await?;
        held.let_go().await
    };
    let (thefts, ()) = tokio::try_join!(handed_over, restarted)?;
    pressure.stop().await?;
    row.end(&thefts)?;
    field.clear().await?;
    field.audit()
}

async fn keeps_places(field: &Field<'_>, rules: Rules, count: usize) -> Result<()> {
    let row = Row::keeps(field, rules.to_string());
    row.end(&play(field, &ByHand::new(field.case, rules).await?, count, BATCH).await?)
}

async fn loses_places(field: &Field<'_>, rules: Rules, count: usize) -> Result<()> {
    let way = ByHand::new(field.case, rules).await?;
    let row = Row::loses(field, rules.to_string());
    let mut thefts = Vec::new();
    for _ in 0..ROUNDS_TO_LOSE {
        thefts.extend(play(field, &way, count, BATCH).await?);
        if !thefts.is_empty() {
            break;
        }
    }
    row.end(&thefts)
}

/// Hands over so many places in rounds, so many at a time; the thefts. The field is empty again then.
async fn play(field: &Field<'_>, way: &impl HandOver, hand_overs: usize, at_once: usize) -> Result<Vec<String>> {
    let mut thefts = Vec::new();
    let mut left = hand_overs;
    while left > 0 {
        way.fill(field).await?;
        field.is_full().await?;
        let pressure = Pressure::start(field).await?;
        let mut in_round = left.min(field.places());
        while in_round > 0 {
            let batch = in_round.min(at_once);
            thefts.extend(way.hand_over(field, batch).await?);
            in_round -= batch;
            left -= batch;
        }
        pressure.stop().await?;
        field.clear().await?;
    }
    Ok(thefts)
}
