//! What must hold of everything that has happened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use e2e::audit::Auditor;
use e2e::{Change, Event, Log};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Order, Ticket, TicketPhase, names};
use kube::{Resource, ResourceExt as _};

use super::{AT_ONCE, Load, ORDER, PATIENCE};

impl Load<'_> {
    /// What came of it, if all was right.
    pub(super) async fn judge(&self) -> Result<String> {
        let case = self.case;
        let settled = |log: &Log<Ticket>| Some(Accounts::of(log)).filter(Accounts::are_settled);
        let accounts = case.tickets.until_within(PATIENCE, "all tickets are used, or ready again", settled).await?;
        ensure!(accounts.wrong.is_empty(), "{}", accounts.wrong.join("; "));
        let issued = i64::try_from(accounts.issued)?;
        let counted = |log: &Log<Order>| (log.get(ORDER)?.status.as_ref()?.issued == issued).then_some(());
        case.orders.until_within(PATIENCE, format!("{issued} tickets are said to be issued"), counted).await?;

        case.delete::<Order>(ORDER).await?;
        let none = |log: &Log<Ticket>| log.objects().next().is_none().then_some(());
        case.tickets.until_within(PATIENCE, "the tickets go with their order", none).await?;
        let none = |log: &Log<Pod>| log.objects().next().is_none().then_some(());
        case.pods.until_within(PATIENCE, "the guardians go with their tickets", none).await?;
        let report = self.audit().report(Timestamp::now());
        ensure!(report.objections.is_empty(), "{}", report.objections.join("\n"));
        ensure!(report.guardians == 0, "{} guardians are left of nothing", report.guardians);
        self.nobody_wrote_to_bystanders()?;

        let (served, refused, passed) = (self.served(), self.refused(), *self.passed.borrow());
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        let slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner).as_secs_f32();
        Ok(format!(
            "{served} claimants served, {elsewhere} of them elsewhere, {refused} times one was refused; {accounts}; {passed} \
             other pods, each let in within {slowest:.2} s"
        ))
    }

    /// Everything that happened, in its order, to the auditor.
    fn audit(&self) -> Auditor {
        let (case, now) = (self.case, Timestamp::now());
        let (nodes, orders) = (self.nodes.log(), case.orders.log());
        let (tickets, pods) = (case.tickets.log(), case.pods.log());
        let mut all = told(&nodes, |auditor, event| auditor.see_node(event.change, &event.object));
        all.extend(told(&orders, move |auditor, event| auditor.see_order(event.change, &event.object, now)));
        all.extend(told(&tickets, move |auditor, event| auditor.see_ticket(event.change, &event.object, now)));
        all.extend(told(&pods, move |auditor, event| auditor.see_pod(event.change, &event.object, now)));
        all.sort_by_key(|(version, _)| *version);
        let mut auditor = Auditor::default();
        for (_, see) in all {
            see(&mut auditor);
        }
        auditor
    }

    fn nobody_wrote_to_bystanders(&self) -> Result<()> {
        let ours = [names::CONTROLLER_FIELD_MANAGER, names::WEBHOOK_NAME];
        let log = self.case.pods.log();
        let bystanders = log.events().iter().map(|event| &event.object);
        for pod in bystanders.filter(|pod| pod.name_any().starts_with("bystander-")) {
            let written = pod.metadata.managed_fields.iter().flatten();
            let mut writers = written.filter_map(|entry| entry.manager.as_deref());
            ensure!(!writers.any(|writer| ours.contains(&writer)), "korder wrote to `{}`", pod.name_any());
        }
        Ok(())
    }
}

/// A change with its version, to be told to the auditor.
type Told<'a> = (u64, Box<dyn FnOnce(&mut Auditor) + 'a>);

fn told<'a, K: Resource>(log: &'a Log<K>, see: impl Fn(&mut Auditor, &Event<K>) + Copy + 'a) -> Vec<Told<'a>> {
    let one = |event: &'a Event<K>| -> Told<'a> { (event.version(), Box::new(move |auditor| see(auditor, event))) };
    log.events().iter().map(one).collect()
}

/// What became of each ticket that was ever made.
#[derive(Default)]
struct Accounts {
    issued: usize,
    used: usize,
    ready: usize,
    lost: usize,
    /// Taken back before anybody had it.
    unused: usize,
    /// Which went while somebody had it.
    wrong: Vec<String>,
}

impl Accounts {
    fn of(log: &Log<Ticket>) -> Self {
        let mut last: BTreeMap<String, &Event<Ticket>> = BTreeMap::new();
        let prefix = format!("{ORDER}-");
        for event in log.events().iter().filter(|event| event.object.name_any().starts_with(&prefix)) {
            last.insert(event.object.uid().unwrap_or_default(), event);
        }
        let mut accounts = Self { issued: last.len(), ..Self::default() };
        for event in last.values() {
            match (event.object.phase(), event.change) {
                (TicketPhase::Used, _) => accounts.used += 1,
                (TicketPhase::Lost, _) => accounts.lost += 1,
                (TicketPhase::Ready, Change::Added | Change::Modified) => accounts.ready += 1,
                (TicketPhase::Ready | TicketPhase::Pending, Change::Deleted) => accounts.unused += 1,
                (TicketPhase::Pending | TicketPhase::Claimed, Change::Added | Change::Modified) => {}
                (phase, Change::Deleted | Change::Added | Change::Modified) => {
                    accounts.wrong.push(format!("ticket `{}` was {phase:?} when it went", event.object.name_any()));
                }
            }
        }
        accounts
    }

    fn are_settled(&self) -> bool {
        let Self { issued, used, ready, lost, unused, wrong } = self;
        !wrong.is_empty() || *ready == AT_ONCE && used + ready + lost + unused == *issued
    }
}

impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issued, used, ready, lost, unused, wrong: _ } = self;
        write!(f, "{issued} tickets: {used} used, {ready} ready, {lost} lost, {unused} taken back unused")
    }
}
