//! Every name by which users and the parts of korder know each other: labels, annotations, gates, conditions.
//!
//! They stand here once; manifests, controllers and tests take them from here.

/// The API group of korder's kinds.
pub const GROUP: &str = "core.korder.dev";
/// The served version of the group.
pub const VERSION: &str = "v1alpha1";
/// `group/version` as it stands in a manifest's `apiVersion`.
pub const API_VERSION: &str = "core.korder.dev/v1alpha1";

/// The namespace in which korder's own programs run.
pub const SYSTEM_NAMESPACE: &str = "korder-system";
/// The service account (and Deployment) of the controllers.
pub const CONTROLLER_NAME: &str = "korder-controller-manager";
/// The Lease by which one of the controllers' processes leads, in [`SYSTEM_NAMESPACE`].
pub const LEADER_LEASE: &str = "korder-controllers";
/// The field manager of all the controllers' writes.
pub const CONTROLLER_FIELD_MANAGER: &str = "korder-controller";
/// The service account (and Deployment) of the admission webhook, and its field manager.
pub const WEBHOOK_NAME: &str = "korder-webhook";

/// What the keys of korder's labels and annotations begin with.
pub const PREFIX: &str = "korder.dev/";
/// Label on guardian pods; its only value is [`ROLE_GUARDIAN`].
pub const LABEL_ROLE: &str = "korder.dev/role";
/// Value of [`LABEL_ROLE`] on guardian pods.
pub const ROLE_GUARDIAN: &str = "guardian";
/// Label on guardian pods: the ticket whose place they hold.
pub const LABEL_TICKET: &str = "korder.dev/ticket";
/// Label on tickets and guardian pods: the order that they belong to.
pub const LABEL_ORDER: &str = "korder.dev/order";
/// Label on stocks, and on what produces them: the inventory that they belong to.
pub const LABEL_INVENTORY: &str = "korder.dev/inventory";
/// Label on inventories that were made for orders with inputs of their own: the inventory that they are variants of.
pub const LABEL_VARIANT_OF: &str = "korder.dev/variant-of";
/// Label on everything that a stock consists of or is produced by: the stock's name.
pub const LABEL_STOCK: &str = "korder.dev/stock";
/// Label on everything that a stock consists of or is produced by: the stock's uid.
pub const LABEL_STOCK_UID: &str = "korder.dev/stock-uid";
/// Label on the priority classes that korder makes for guardians.
pub const LABEL_TWIN: &str = "korder.dev/priority-twin";

/// Annotation of a business pod: `"true"` waits for a ticket, `"false"` takes one if it is there.
pub const ANNOTATION_REQUIRED: &str = "korder.dev/required";
/// Annotation of a business pod: the order to claim from, as `NAME` or `NAMESPACE/NAME`.
pub const ANNOTATION_ORDER: &str = "korder.dev/order";
/// Annotation of a business pod: the one ticket to claim.
pub const ANNOTATION_TICKET: &str = "korder.dev/ticket";
/// Annotation of a business pod: a label selector of the tickets to claim.
pub const ANNOTATION_TICKET_SELECTOR: &str = "korder.dev/ticket-selector";
/// Annotation of a business pod: the group that claims all or nothing.
pub const ANNOTATION_GROUP: &str = "korder.dev/group";
/// Annotation of a business pod: how many pods its group has.
pub const ANNOTATION_GROUP_SIZE: &str = "korder.dev/group-size";
/// Annotation of a business pod: how long it waits for a ticket.
pub const ANNOTATION_TIMEOUT: &str = "korder.dev/timeout";
/// Annotation of a business pod: what happens after [`ANNOTATION_TIMEOUT`].
pub const ANNOTATION_ON_TIMEOUT: &str = "korder.dev/on-timeout";
/// Annotation that the controller sets when it hands a ticket's place over: the ticket's name, and its namespace where
/// that is not the pod's.
pub const ANNOTATION_BOUND_TICKET: &str = "korder.dev/bound-ticket";
/// Annotation that the controller sets when it nominates a pod: the term of the scheduler that was told.
pub const ANNOTATION_SCHEDULER_TERM: &str = "korder.dev/scheduler-term";

/// The annotations that nobody but the controller writes.
pub const CONTROLLER_ANNOTATIONS: [&str; 2] = [ANNOTATION_BOUND_TICKET, ANNOTATION_SCHEDULER_TERM];

/// The annotations by which a pod asks for a ticket; any of them makes admission add [`GATE`].
pub const CLAIM_ANNOTATIONS: [&str; 8] = [
    ANNOTATION_REQUIRED,
    ANNOTATION_ORDER,
    ANNOTATION_TICKET,
    ANNOTATION_TICKET_SELECTOR,
    ANNOTATION_GROUP,
    ANNOTATION_GROUP_SIZE,
    ANNOTATION_TIMEOUT,
    ANNOTATION_ON_TIMEOUT,
];

/// The most pods that one group may have: all of them are looked at together.
pub const MAX_GROUP_SIZE: usize = 500;

/// The scheduling gate that holds a business pod back until it has a ticket.
pub const GATE: &str = "korder.dev/ticket";
/// The condition of a business pod that tells of its ticket.
pub const CONDITION_TICKET_BOUND: &str = "korder.dev/TicketBound";

/// Annotation on objects whose program runs as a process on the host and not as the pod that stands for it.
pub const ANNOTATION_RUNS_ON: &str = "korder.dev/runs-on";

/// Annotation of a job's pod template: the container whose termination message is the result; the first one where not given.
pub const ANNOTATION_OUTPUT_CONTAINER: &str = "korder.dev/output-container";
/// Annotation of a stock whose tear-down gets stuck: what is left of it is left.
pub const ANNOTATION_ABANDON: &str = "korder.dev/abandon";
/// Annotation of an inventory that was made for an order, and goes when nobody needs it any more.
pub const ANNOTATION_MADE_FOR_ORDERS: &str = "korder.dev/made-for-orders";

/// Finalizer of a stock: it stays until what it consists of is gone.
pub const FINALIZER_TEARDOWN: &str = "korder.dev/teardown";
/// Finalizer of a producing pod: it stays until its output is in the stock.
pub const FINALIZER_OUTPUT: &str = "korder.dev/output";
/// Finalizer of an inventory: it stays until the last of its units is given back.
pub const FINALIZER_UNITS: &str = "korder.dev/units";

/// How long an inventory's name may be: its stocks append an ordinal, and both must fit a label's value (63).
pub const MAX_INVENTORY_NAME: usize = 52;
/// How long an order's name may be: its tickets append an ordinal, and both must fit a label's value (63).
pub const MAX_ORDER_NAME: usize = 52;

/// What the names of all priority classes of guardians begin with.
pub const TWIN_PREFIX: &str = "korder-guardian-";

/// Name of the priority class of guardians whose claimants have this priority.
///
/// One class serves all classes of one value, so that it stays right when a user's class is made anew.
pub fn twin_priority_class(value: i32) -> String {
    if value < 0 { format!("{TWIN_PREFIX}minus-{}", value.unsigned_abs()) } else { format!("{TWIN_PREFIX}{value}") }
}

/// Name of a ticket's first guardian pod.
pub fn guardian_name(ticket: &str) -> String {
    format!("{ticket}-guardian")
}

/// Name of the guardian pod that takes the place of the first when the ticket is moved; the next takes the first name
/// again. Two names a ticket, so that there are never more guardians than these.
pub fn other_guardian_name(ticket: &str) -> String {
    format!("{ticket}-guardian-2")
}
