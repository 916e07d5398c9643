//! The writes for a ticket, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kooper::{Context, Failure, Key, Outcome};
use korder_api::{TicketStatus, names};
use korder_core::ticket::{self, Step, Ticket};
use korder_core::{guardian, pod::Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, PostParams};
use tracing::warn;

use super::Tickets;
use super::observe::Seen;
use crate::news;
use crate::write::{self, Created};

/// A refusal by quota, policy or limits may end by itself, and nothing tells us when.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// The same where the API server does not know the guardian's class: it learns of classes by a watch of its own, and we have
/// just made this one or seen it.
const UNKNOWN_CLASS_RETRY: Duration = Duration::from_secs(1);

/// Makes one step. `None`: look again for the next one at once.
pub(super) async fn step(tickets: &Tickets, cx: &Context, seen: &Seen, step: Step) -> Result<Option<Outcome>, Failure> {
    let Tickets { client, caches, .. } = tickets;
    match step {
        Step::CreateTwin(value) => create_twin(tickets, value).await?,
        Step::CreateGuardian(class) => {
            let name = seen.ticket.guardian_name();
            return create_guardian(tickets, cx, seen, &name, &class, ticket::refused).await;
        }
        Step::CreateSuccessor(class) => {
            let name = seen.ticket.successor_name();
            return create_guardian(tickets, cx, seen, &name, &class, ticket::unmoved).await;
        }
        Step::DeleteSuccessor(uid) => {
            let successor = seen.successor.as_deref().filter(|successor| successor.uid() == uid);
            if let Some(successor) = successor
                && is_still(tickets, &seen.ticket).await.map_err(write::failure)?
            {
                write::delete(client, &caches.pods, successor, false).await.map_err(write::failure)?;
            }
        }
        Step::DeleteGuardian(uid) => {
            let guardian = seen.guardian.as_deref().filter(|guardian| guardian.uid() == uid);
            if let Some(guardian) = guardian {
                write::delete(client, &caches.pods, guardian, false).await.map_err(write::failure)?;
            }
        }
        Step::WriteStatus(status) => write_status(tickets, cx, &seen.ticket, *status).await?,
        Step::DeleteTicket => {
            write::delete(client, &caches.tickets, seen.ticket.as_ref(), true).await.map_err(write::failure)?;
        }
    }
    Ok(None)
}

/// Removes the guardians under the names of a ticket's that are no ticket's, whether that ticket is there or not. Only the
/// very version that names no owner: a pod that is somebody's by now stays.
pub(super) async fn remove_orphans(tickets: &Tickets, key: &Key) -> Result<(), Failure> {
    for orphan in guardians(tickets, key).filter(|pod| ticket::is_orphan(pod)) {
        match write::delete(&tickets.client, &tickets.caches.pods, orphan.as_ref(), true).await {
            // The ticket, if there is one, says that the pod is in its way.
            Err(error) if write::is_refused_for_good(&error) => {
                warn!(pod = %orphan.name(), error = %error, "a guardian that is nobody's can't be removed");
            }
            removed => removed.map_err(write::failure)?,
        }
    }
    Ok(())
}

/// Ends deletions of guardians that were begun and not done; when to look again at what may still end by itself.
pub(super) async fn delete_again(tickets: &Tickets, key: &Key, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let mut again = None;
    for guardian in guardians(tickets, key) {
        match ticket::deleted_again_from(&guardian) {
            Some(due) if due <= now => {
                let deleted = write::delete(&tickets.client, &tickets.caches.pods, guardian.as_ref(), false).await;
                deleted.map_err(write::failure)?;
            }
            due => again = again.into_iter().chain(due).min(),
        }
    }
    Ok(again)
}

/// The guardians under the names of a ticket's, whether that ticket is there or not.
fn guardians(tickets: &Tickets, key: &Key) -> impl Iterator<Item = Arc<Pod>> {
    let names = [names::guardian_name(&key.name), names::other_guardian_name(&key.name)];
    let pods = names.map(|name| tickets.caches.pods.get(&Key { namespace: key.namespace.clone(), name }));
    let ticket = key.name.clone();
    pods.into_iter().flatten().filter(move |pod| pod.is_guardian() && pod.label(names::LABEL_TICKET) == Some(&ticket))
}

/// Whether a ticket, read live, is the version that we look at. It may have been moved or given away since, with the reply
/// lost, and what we take for nobody's pod be its guardian.
async fn is_still(tickets: &Tickets, ticket: &Ticket) -> Result<bool, kube::Error> {
    let live: Option<Ticket> = write::api(&tickets.client, ticket.namespace()).get_opt(&ticket.name_any()).await?;
    let version = |ticket: &Ticket| (ticket.uid(), ticket.resource_version());
    let same = live.as_ref().is_some_and(|live| version(live) == version(ticket));
    match live {
        Some(live) => tickets.caches.tickets.wrote(live),
        None => tickets.caches.tickets.deleted(&Key::of(ticket), ticket.metadata.uid.as_deref().unwrap_or_default()),
    }
    Ok(same)
}

/// Makes a guardian; `refused` is the ticket's status where the API server does not take it.
async fn create_guardian(
    tickets: &Tickets,
    cx: &Context,
    seen: &Seen,
    name: &str,
    class: &str,
    refused: fn(&Ticket, &str, Timestamp) -> TicketStatus,
) -> Result<Option<Outcome>, Failure> {
    let body = guardian::pod(&seen.ticket, name, class, &tickets.image);
    let why = match write::create::<_, Pod>(&tickets.client, &tickets.caches.pods, &body).await {
        // Somebody else's pod is in no cache, so that only this answer tells of it.
        Ok(Created::Exists(pod)) if !ticket::is_guardian_of(&pod, &seen.ticket) => ticket::in_the_way(&pod),
        Ok(_) => return Ok(None),
        Err(kube::Error::Api(status)) if write::is_refused(&status) => status.message.clone(),
        Err(error) => return Err(write::failure(error)),
    };
    let refused = refused(&seen.ticket, &why, cx.now());
    if seen.ticket.status.as_ref() != Some(&refused) {
        write_status(tickets, cx, &seen.ticket, refused).await?;
    }
    let is_unknown = why.contains(&format!("no PriorityClass with name {class} was found"));
    Ok(Some(Outcome::After(if is_unknown { UNKNOWN_CLASS_RETRY } else { REFUSED_RETRY })))
}

async fn write_status(tickets: &Tickets, cx: &Context, ticket: &Ticket, status: TicketStatus) -> Result<(), Failure> {
    let before = ticket.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let after = status.conditions.clone();
    let written = ticket.with_status(status);
    write::status(&tickets.client, &tickets.caches.tickets, &written).await.map_err(write::failure)?;
    match ticket::moved(ticket, &written.into()) {
        Some(note) => news::tell(&cx.recorder, ticket, "Move", "Moved", &note),
        None => news::of_transition(&cx.recorder, ticket, "Reconcile", &before, &after),
    }
    Ok(())
}

/// Makes the priority class for guardians of this value.
async fn create_twin(tickets: &Tickets, value: i32) -> Result<(), Failure> {
    let name = names::twin_priority_class(value);
    let class = PriorityClass {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(BTreeMap::from([
                (names::LABEL_TWIN.to_owned(), "true".to_owned()),
                ("app.kubernetes.io/managed-by".to_owned(), "korder".to_owned()),
                ("app.kubernetes.io/part-of".to_owned(), "korder".to_owned()),
            ])),
            ..ObjectMeta::default()
        },
        value,
        preemption_policy: Some(ticket::TWIN_PREEMPTION.to_owned()),
        description: Some(format!("Guardians of tickets for pods of priority {value}. Made by korder.")),
        global_default: None,
    };
    let api: Api<PriorityClass> = Api::all(tickets.client.clone());
    let there = match api.create(&PostParams::default(), &class).await {
        Err(kube::Error::Api(status)) if status.code == 409 => api.get(&name).await?,
        made => made?,
    };
    let right = ticket::is_twin(there.value, there.preemption_policy.as_deref(), value);
    tickets.caches.classes.wrote(there);
    if right {
        return Ok(());
    }
    Err(Failure::terminal(format!(
        "priority class `{name}` is not korder's: it must have the value {value} and never preempt; delete it"
    )))
}
