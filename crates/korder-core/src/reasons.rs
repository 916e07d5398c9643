//! Why things are as they are, in one CamelCase word each: the reasons of conditions and events, which users' tools read.

// Of orders.

/// An order makes no more tickets.
pub const COMPLETE: &str = "Complete";
/// An order is paused.
pub const PAUSED: &str = "Paused";
/// An order has as many tickets ready as it wants.
pub const ALL_READY: &str = "Ready";
/// Tickets of an order are on their way.
pub const FILLING: &str = "Filling";
/// A ticket of an order finds no place.
pub const WAITING_FOR_CAPACITY: &str = "WaitingForCapacity";
/// The API server does not take an order's tickets.
pub const TICKET_REFUSED: &str = "TicketRefused";
/// The API server does not remove an order's tickets.
pub const TICKET_NOT_REMOVED: &str = "TicketNotRemoved";

// Of tickets.

/// A `ResourceQuota` refuses a guardian, or a ticket.
pub const RESOURCE_QUOTA_EXCEEDED: &str = "ResourceQuotaExceeded";
/// A `LimitRange` refuses a guardian.
pub const LIMIT_RANGE_VIOLATED: &str = "LimitRangeViolated";
/// Something else does.
pub const GUARDIAN_REFUSED: &str = "GuardianRefused";
/// A guardian holds less than its ticket reserves.
pub const GUARDIAN_TOO_SMALL: &str = "GuardianTooSmall";
/// The scheduler finds no place; its own word, too.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// A guardian has a place and does not run yet.
pub const STARTING: &str = "Starting";
/// A guardian holds a place that is not to be left.
pub const HELD: &str = "Held";
/// A guardian's successor is on its way.
pub const MOVING: &str = "Moving";
/// There is no place for a guardian's successor.
pub const NO_OTHER_PLACE: &str = "NoOtherPlace";
/// A guardian is gone, and another one is made.
pub const GUARDIAN_GONE: &str = "GuardianGone";
/// The API server does not let go the guardian of a claimed ticket.
pub const GUARDIAN_NOT_REMOVED: &str = "GuardianNotRemoved";
/// A ticket is given to a pod, which is not bound yet.
pub const HANDING_OVER: &str = "HandingOver";
/// A pod has the place.
pub const IN_USE: &str = "InUse";
/// A pod does not take the place, which is not held any more.
pub const GIVEN_BACK: &str = "GivenBack";
/// The pod that used a ticket has ended.
pub const POD_ENDED: &str = "PodEnded";
/// No pod came in a ticket's time.
pub const EXPIRED: &str = "Expired";
/// A place can't be freed or held any more.
pub const LOST: &str = "Lost";

// Of pods.

/// No ticket that a pod may have is ready.
pub const NO_TICKET_READY: &str = "NoTicketReady";
/// None of those that are fits it.
pub const NO_TICKET_FITS: &str = "NoTicketFits";
/// There is no order of the name that admits it.
pub const ORDER_NOT_FOUND: &str = "OrderNotFound";
/// No ticket is ready, and its order makes none again.
pub const ORDER_COMPLETE: &str = "OrderComplete";
/// What it asks for makes no sense.
pub const INVALID_ANNOTATION: &str = "InvalidAnnotation";
/// It needs something that is not judged yet.
pub const NOT_SUPPORTED_YET: &str = "NotSupportedYet";
/// A pod of higher priority would take the place.
pub const HIGHER_PRIORITY_WAITING: &str = "HigherPriorityWaiting";
/// Another scheduling gate holds it back too.
pub const OTHER_GATE: &str = "OtherGate";
/// Pods of its group are missing.
pub const GROUP_INCOMPLETE: &str = "GroupIncomplete";
/// It has waited for longer than it wanted to.
pub const TIMED_OUT: &str = "TicketTimedOut";
/// It goes on without a ticket that it did not require.
pub const WITHOUT_TICKET: &str = "WithoutTicket";
/// It is nominated to a ticket's place.
pub const CLAIMED: &str = "Claimed";
/// It is nominated to its second ticket's place, without a gate.
pub const CLAIMED_AGAIN: &str = "ClaimedAgain";
/// It has its ticket no more.
pub const PLACE_LOST: &str = "PlaceLost";
/// It has its second ticket no more either, and gets no third.
pub const PLACE_LOST_AGAIN: &str = "PlaceLostAgain";
/// Its ticket's place can't be freed, or is on a node that takes it no more: it must take another ticket.
pub const TICKET_LOST: &str = "TicketLost";
/// Somebody else took its gate off too soon: it gets no ticket.
pub const GATE_REMOVED: &str = "GateRemoved";
/// It can't be written: it gets no ticket for a while.
pub const WRITE_REFUSED: &str = "WriteRefused";

/// Those that somebody should look at.
const WARNINGS: &[&str] = &[
    GUARDIAN_GONE,
    GUARDIAN_REFUSED,
    GUARDIAN_TOO_SMALL,
    RESOURCE_QUOTA_EXCEEDED,
    LIMIT_RANGE_VIOLATED,
    UNSCHEDULABLE,
    NO_OTHER_PLACE,
    TICKET_REFUSED,
    TICKET_NOT_REMOVED,
    WAITING_FOR_CAPACITY,
    ORDER_NOT_FOUND,
    ORDER_COMPLETE,
    NO_TICKET_FITS,
    NOT_SUPPORTED_YET,
    PLACE_LOST,
    INVALID_ANNOTATION,
    TIMED_OUT,
    PLACE_LOST_AGAIN,
    TICKET_LOST,
    GATE_REMOVED,
    WRITE_REFUSED,
    LOST,
    GUARDIAN_NOT_REMOVED,
];

/// Whether somebody should look at what has this reason.
pub fn is_warning(reason: &str) -> bool {
    WARNINGS.contains(&reason)
}
