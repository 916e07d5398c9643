//! Pods that claim tickets, and pods that never asked for one, while something goes wrong; and what must hold whatever it is.
//!
//! Claims go on until there were enough of them and the fault is over. Then every claimant has had its place and every
//! ticket is accounted for; at no moment had one two owners, or a node more on it than fits; with the order the last
//! guardian goes. The bystanders were never refused, never gated, and never written to.

mod judge;

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::objects::{self, OnNodesOf as _, Size};
use e2e::{Case, Change, History, Log, is_away};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Node, Pod};
use korder_api::{Ticket, TicketPhase, names};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::installation::GATE;
use crate::pods::{is_gated, node_of};
use crate::until::order_is_ready;

/// Environment variable: how many pods claim tickets while something goes wrong; it goes wrong in proportion.
const CLAIMS: &str = "KORDER_E2E_CLAIMS";
const DEFAULT_CLAIMS: usize = 30;
/// How many claim at a time, and how many tickets there are for them.
pub(crate) const AT_ONCE: usize = 8;
/// Two of the nodes have room for all tickets and claimants.
const NODES: usize = 3;
pub(crate) const NODE: Size = Size { cpu: "4", memory: "16Gi" };
const PLACE: Size = Size::SMALL;
/// Bystanders have a node of their own, on which nothing else fits.
const BYSTANDERS_NODE: Size = Size { cpu: "400m", memory: "2Gi" };
const BYSTANDER: Size = Size { cpu: "10m", memory: "16Mi" };
/// One comes this often; so many are there at a time at most.
const INTERVAL: Duration = Duration::from_millis(100);
const BYSTANDERS: usize = 20;
/// How long a pod may wait for its place while everything is killed again and again.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often a pod is tried again that could not be made.
const RETRY: Duration = Duration::from_millis(250);
const ORDER: &str = "shelf";

/// How many pods claim tickets while something goes wrong.
pub(crate) fn claims() -> Result<usize> {
    let given = std::env::var(CLAIMS).ok();
    let number = |count: String| count.parse().with_context(|| format!("`{CLAIMS}={count}` is not a number"));
    given.map_or(Ok(DEFAULT_CLAIMS), number)
}

/// Claimants and bystanders.
pub(crate) struct Load<'a> {
    case: &'a Case,
    nodes: History<Node>,
    bystanders_node: String,
    /// Claimants whose ticket is used.
    served: watch::Sender<usize>,
    /// Claimants that are there, behind the gate.
    let_in: watch::Sender<usize>,
    /// Claimants among them that were bound to another node than their ticket's.
    elsewhere: AtomicUsize,
    /// How often one was refused at the door, and tried again.
    refused: watch::Sender<usize>,
    /// What it was told the last time.
    refusal: Mutex<String>,
    /// Bystanders that were bound.
    passed: watch::Sender<usize>,
    /// Longest time that the API server took to let a bystander in.
    slowest: Mutex<Duration>,
    fault_is_over: AtomicBool,
    claims_are_over: AtomicBool,
}

impl<'a> Load<'a> {
    /// Nodes, and an order whose tickets are all ready.
    pub(crate) async fn start(case: &'a Case) -> Result<Self> {
        let own = ListParams::default().labels(&format!("{}={}", objects::OWN_NODE, case.namespace()));
        let nodes = History::selected(Api::all(case.client()), own).await?;
        let bystanders_node = case.add_nodes(1, BYSTANDERS_NODE).await?.remove(0);
        case.add_nodes(NODES, NODE).await?;
        let tickets = i32::try_from(AT_ONCE)?;
        case.create(&case.order(ORDER, tickets, PLACE)).await?;
        order_is_ready(case, ORDER, tickets).await?;
        Ok(Self {
            case,
            nodes,
            bystanders_node,
            served: watch::Sender::default(),
            let_in: watch::Sender::default(),
            elsewhere: AtomicUsize::default(),
            refused: watch::Sender::default(),
            refusal: Mutex::default(),
            passed: watch::Sender::default(),
            slowest: Mutex::default(),
            fault_is_over: AtomicBool::default(),
            claims_are_over: AtomicBool::default(),
        })
    }

    /// Goes on with so many claims, or more, until `fault` is over; then judges all that happened, and tells what it came to.
    /// `what` goes wrong.
    #[expect(clippy::print_stdout, reason = "the program of the tests tells what they have measured")]
    pub(crate) async fn run(
        self,
        what: &str,
        claims: usize,
        fault: impl AsyncFnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let begun = Instant::now();
        let faulty = async {
            fault(&self).await?;
            self.fault_is_over.store(true, Ordering::Relaxed);
            Ok(())
        };
        let claiming = async {
            let numbers = stream::iter(0..);
            let wanted = |number: &usize| ready(*number < claims || !self.fault_is_over.load(Ordering::Relaxed));
            let all = numbers.take_while(wanted).map(|number| self.claimant(number)).buffer_unordered(AT_ONCE);
            all.try_for_each(|()| ready(Ok(()))).await?;
            self.claims_are_over.store(true, Ordering::Relaxed);
            Ok(())
        };
        tokio::try_join!(Box::pin(faulty), claiming, self.bystanders()).with_context(|| what.to_owned())?;
        let took = begun.elapsed();
        let told = self.judge().await.with_context(|| what.to_owned())?;
        println!("{what}: {told}, in {:.0} s", took.as_secs_f32());
        Ok(())
    }

    /// How many claimants have used their tickets.
    pub(crate) fn served(&self) -> usize {
        *self.served.borrow()
    }

    /// Returns when so many claimants have used their tickets in all.
    pub(crate) async fn until_served(&self, count: usize) -> Result<()> {
        reached(&self.served, count, "claimants have used their tickets").await
    }

    /// Returns when so many more claimants than now are let in.
    pub(crate) async fn until_more_are_let_in(&self, count: usize) -> Result<()> {
        let now = *self.let_in.borrow();
        reached(&self.let_in, now + count, "pods that ask for a ticket are let in").await
    }

    /// How often a claimant was refused at the door.
    pub(crate) fn refused(&self) -> usize {
        *self.refused.borrow()
    }

    /// What a claimant was told that was refused last.
    pub(crate) fn refusal(&self) -> String {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when claimants were refused so often in all.
    pub(crate) async fn until_refused(&self, count: usize) -> Result<()> {
        reached(&self.refused, count, "times a pod that asks for a ticket is refused").await
    }

    /// Returns when so many more bystanders than now are bound.
    pub(crate) async fn until_others_pass(&self, count: usize) -> Result<()> {
        let now = *self.passed.borrow();
        reached(&self.passed, now + count, "pods that never asked for a ticket are bound").await
    }

    /// Returns in the middle of a hand-over on a node that is there to stay; on which.
    pub(crate) async fn amid_a_hand_over(&self) -> Result<String> {
        let stays = |node: &String| {
            let nodes = self.nodes.log();
            let spec = nodes.get(node).map(|node| node.spec.as_ref().and_then(|spec| spec.unschedulable));
            spec.is_some_and(|unschedulable| unschedulable != Some(true))
        };
        let node = |log: &Log<Ticket>| {
            let mut claimed = log.objects().filter(|ticket| ticket.phase() == TicketPhase::Claimed);
            claimed.find_map(|ticket| ticket.status.as_ref()?.node_name.clone().filter(stays))
        };
        self.case.tickets.until_within(PATIENCE, "a ticket is being handed over", node).await
    }

    /// Whether a node that a pod was promised a place on was cordoned, or deleted.
    fn its_node_went(&self, uid: Option<&String>) -> bool {
        let tickets = self.case.tickets.log();
        let claims = tickets.events().iter().filter_map(|event| event.object.status.as_ref());
        let its = claims.filter(|status| status.claim_ref.as_ref().map(|claim| &claim.uid) == uid);
        let promised: BTreeSet<&str> = its.filter_map(|status| status.node_name.as_deref()).collect();
        let nodes = self.nodes.log();
        let cordoned = |node: &Node| node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        let mut went = nodes.events().iter().filter(|event| event.change == Change::Deleted || cordoned(&event.object));
        went.any(|event| promised.contains(event.object.name_any().as_str()))
    }

    /// Comes, takes a ticket, and goes.
    async fn claimant(&self, number: usize) -> Result<()> {
        let name = format!("claimant-{number}");
        let made = self.make(&self.case.claimant(&name, ORDER, PLACE)).await?;
        ensure!(is_gated(&made), "pod `{name}` asks for a ticket and was let in without a gate");
        let is_bound = |log: &Log<Pod>| log.get(&name).is_some_and(|pod| node_of(pod).is_some()).then_some(());
        self.case.pods.until_within(PATIENCE, format!("pod `{name}` is bound"), is_bound).await?;
        let uid = made.uid();
        let is_used = |log: &Log<Ticket>| {
            let by_it = |ticket: &Ticket| ticket.claim().is_some_and(|claim| Some(&claim.uid) == uid.as_ref());
            log.objects().any(|ticket| ticket.phase() == TicketPhase::Used && by_it(ticket)).then_some(())
        };
        let used = self.case.tickets.until_within(PATIENCE, format!("a ticket is used by pod `{name}`"), is_used);
        let is_gone = |log: &Log<Pod>| log.get(&name).is_none().then_some(());
        let gone = self.case.pods.until_within(2 * PATIENCE, "", is_gone);
        let is_elsewhere = |log: &Log<Pod>| {
            let elsewhere = log.get(&name).is_some_and(|pod| is_elsewhere(pod));
            (elsewhere && self.its_node_went(made.metadata.uid.as_ref())).then_some(())
        };
        let elsewhere = self.case.pods.until_within(2 * PATIENCE, "", is_elsewhere);
        tokio::select! {
            biased;
            used = used => used?,
            // Its node was drained, or deleted.
            gone = gone => gone?,
            // It was cordoned when the pod's gate was off already: the scheduler has found another place for it.
            elsewhere = elsewhere => {
                elsewhere?;
                self.elsewhere.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.served.send_modify(|served| *served += 1);
        self.remove(&name).await
    }

    async fn bystanders(&self) -> Result<()> {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let numbers = stream::unfold((ticks, 0_usize), async |(mut ticks, number)| {
            ticks.tick().await;
            let goes_on = !self.claims_are_over.load(Ordering::Relaxed);
            goes_on.then_some((number, (ticks, number + 1)))
        });
        let all = numbers.map(|number| self.bystander(number)).buffer_unordered(BYSTANDERS);
        all.try_for_each(|()| ready(Ok(()))).await
    }

    /// Comes, is bound, and goes.
    async fn bystander(&self, number: usize) -> Result<()> {
        let name = format!("bystander-{number}");
        let made = self.make(&self.case.pod(&name, BYSTANDER).on_node(&self.bystanders_node)).await?;
        let gates = made.spec.and_then(|spec| spec.scheduling_gates).unwrap_or_default();
        ensure!(gates.is_empty(), "pod `{name}` did not ask for a ticket and has the gates {gates:?}");
        let is_bound = |log: &Log<Pod>| log.get(&name).is_some_and(|pod| node_of(pod).is_some()).then_some(());
        self.case.pods.until_within(PATIENCE, format!("pod `{name}` is bound"), is_bound).await?;
        self.passed.send_modify(|passed| *passed += 1);
        self.remove(&name).await
    }

    /// Makes a pod, as soon as the API server is there. One that asks for a ticket is tried again while the gate refuses it,
    /// as its controller would.
    async fn make(&self, pod: &Pod) -> Result<Pod> {
        let asks = pod.annotations().contains_key(names::ANNOTATION_ORDER);
        let (pods, name, begun) = (self.case.api::<Pod>(), pod.name_any(), Instant::now());
        loop {
            let asked = Instant::now();
            let made = match pods.create(&PostParams::default(), pod).await {
                // The answer to an earlier one was lost.
                Err(kube::Error::Api(status)) if status.is_already_exists() => pods.get(&name).await,
                made => made,
            };
            match made {
                Ok(made) if asks => {
                    self.let_in.send_modify(|let_in| *let_in += 1);
                    return Ok(made);
                }
                Ok(made) => {
                    let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
                    *slowest = asked.elapsed().max(*slowest);
                    return Ok(made);
                }
                Err(error) if begun.elapsed() > PATIENCE => {
                    return Err(error).with_context(|| format!("cannot make pod `{name}` for {PATIENCE:?}"));
                }
                Err(kube::Error::Api(status)) if status.message.contains(GATE) => {
                    ensure!(asks, "pod `{name}` did not ask for a ticket and was refused: {}", status.message);
                    self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&status.message);
                    self.refused.send_modify(|refused| *refused += 1);
                }
                Err(error) if is_away(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make pod `{name}`")),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Removes a pod at once, if it is still there, as soon as the API server is.
    async fn remove(&self, name: &str) -> Result<()> {
        let begun = Instant::now();
        let now = DeleteParams::background().grace_period(0);
        loop {
            match self.case.api::<Pod>().delete(name, &now).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
                Err(error) if is_away(&error) && begun.elapsed() < PATIENCE => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error).with_context(|| format!("cannot remove pod `{name}`")),
            }
        }
    }
}

/// Whether a pod with a claim was bound to another node than its ticket's, which was given back.
fn is_elsewhere(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let mut conditions = conditions.filter(|one| one.type_ == names::CONDITION_TICKET_BOUND && one.status == "False");
    node_of(pod).is_some() && conditions.any(|one| one.reason.as_deref() == Some("PlaceLost"))
}

/// Waits until a count is reached.
async fn reached(counted: &watch::Sender<usize>, count: usize, what: &str) -> Result<()> {
    let mut counted = counted.subscribe();
    let waited = tokio::time::timeout(PATIENCE, counted.wait_for(|now| *now >= count)).await;
    let waited = waited.map(|reached| reached.map(drop));
    waited.with_context(|| format!("waited {PATIENCE:?} in vain until {count} {what}"))?.context("nobody counts")
}
