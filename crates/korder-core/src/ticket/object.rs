//! The part of a ticket that korder's rules look at.
//!
//! A cache holds every ticket, and most of them are like many others: made from one template of one order. So what is alike
//! stands apart, where many can share it. What nobody asks is not kept. It is never written back but for the status.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use korder_api::ticket::{ClaimRef, Disruption};
use korder_api::{TicketPhase, TicketSpec, TicketStatus, names};
use serde::Deserialize;

use crate::resources::Amounts;
use crate::selector::Labels;

/// A ticket as korder sees it.
#[derive(kube::Resource, Clone, Debug, PartialEq, Deserialize)]
#[resource(inherit = korder_api::Ticket)]
#[serde(from = "korder_api::Ticket")]
pub struct Ticket {
    /// Name, uid, version. Labels and owners are in the template.
    pub metadata: ObjectMeta,
    /// What it has in common with others.
    pub template: Arc<Template>,
    /// What became of it.
    pub status: Option<TicketStatus>,
}

/// What tickets of one order have in common, as long as the order stays as it is and nobody labels one of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// Labels.
    pub labels: Labels,
    /// The order that the controller owner reference names.
    pub order: Option<Owner>,
    /// What was asked for.
    pub spec: TicketSpec,
    /// The amounts that the spec reserves.
    reserved: Amounts,
}

/// Whose an object is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is the one that manages the object.
    pub is_controller: bool,
}

impl Template {
    /// A template of these parts.
    pub fn new(labels: Labels, order: Option<Owner>, spec: TicketSpec) -> Self {
        let reserved = Amounts::of_ticket(&spec.resources);
        Self { labels, order, spec, reserved }
    }
}

impl From<korder_api::Ticket> for Ticket {
    fn from(ticket: korder_api::Ticket) -> Self {
        let korder_api::Ticket { metadata, spec, mut status } = ticket;
        let order = order(metadata.owner_references.as_deref().unwrap_or_default());
        let template = Template::new(metadata.labels.unwrap_or_default(), order, spec);
        if let Some(status) = &mut status {
            // A list grows by more than it needs, and a ready ticket stays as it is for long.
            status.conditions.shrink_to_fit();
        }
        let metadata =
            ObjectMeta { labels: None, owner_references: None, annotations: None, managed_fields: None, ..metadata };
        Self { metadata, template: Arc::new(template), status }
    }
}

fn order(owners: &[OwnerReference]) -> Option<Owner> {
    let of_our_group = |version: &str| version.split_once('/').is_some_and(|(group, _)| group == names::GROUP);
    let is_order = |owner: &&OwnerReference| owner.kind == "Order" && of_our_group(&owner.api_version);
    let owner = owners.iter().find(|owner| owner.controller == Some(true) && is_order(owner))?;
    Some(owner.clone().into())
}

impl Ticket {
    /// What is sent when the status is written: all that the API server looks at beside it are the name, the uid and the
    /// version.
    pub fn with_status(&self, status: TicketStatus) -> korder_api::Ticket {
        let metadata = self.metadata.clone();
        korder_api::Ticket { metadata, spec: self.spec().clone(), status: Some(status) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// What was asked for.
    pub fn spec(&self) -> &TicketSpec {
        &self.template.spec
    }

    /// The amounts that it reserves.
    pub fn reserved(&self) -> &Amounts {
        &self.template.reserved
    }

    /// The phase, [`TicketPhase::Pending`] while no status was written.
    pub fn phase(&self) -> TicketPhase {
        TicketPhase::of(self.status.as_ref())
    }

    /// The pod that the ticket was given to.
    pub fn claim(&self) -> Option<&ClaimRef> {
        self.status.as_ref()?.claim_ref.as_deref()
    }

    /// The name of the pod that holds the place, or is to hold it.
    pub fn guardian_name(&self) -> String {
        let written = self.status.as_ref().and_then(|status| status.guardian_name.clone());
        written.unwrap_or_else(|| names::guardian_name(self.name()))
    }

    /// The name of the pod that is to hold a place on another node when the ticket is moved.
    pub fn successor_name(&self) -> String {
        let first = names::guardian_name(self.name());
        if self.guardian_name() == first { names::other_guardian_name(self.name()) } else { first }
    }

    /// Whether the ticket may be moved to another node while nobody has claimed it.
    pub fn is_movable(&self) -> bool {
        self.spec().disruption != Some(Disruption::Pinned)
    }

    /// The order that the ticket's controller owner reference names: its name and uid.
    pub fn order(&self) -> Option<(&str, &str)> {
        self.template.order.as_ref().map(|order| (order.name.as_str(), order.uid.as_str()))
    }
}
