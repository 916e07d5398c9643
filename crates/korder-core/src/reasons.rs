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

// Of orders for stock.

/// It waits for a unit.
pub const WAITING_FOR_STOCK: &str = "WaitingForStock";
/// It has its units.
pub const FILLED: &str = "Filled";
/// It gave its units back.
pub const RELEASED: &str = "Released";
/// A unit was deleted while it held it.
pub const STOCK_LOST: &str = "StockLost";
/// It was not filled in time.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// There is no inventory for it.
pub const NO_INVENTORY: &str = "NoInventory";
/// Its inventory is being deleted, or was.
pub const INVENTORY_GONE: &str = "InventoryGone";
/// Its inventory does not serve its namespace.
pub const NOT_ALLOWED: &str = "NotAllowed";
/// Its unit has a password, which it does not say where to put.
pub const SENSITIVE_NEEDS_DELIVER: &str = "SensitiveNeedsDeliver";
/// What it wants delivered would overwrite something.
pub const DELIVER_EXISTS: &str = "DeliverExists";
/// Somebody deleted the Secret with what its unit brings.
pub const OUTPUTS_GONE: &str = "OutputsGone";
/// korder may not handle Secrets, or act as an account, in a namespace.
pub const GRANT_MISSING: &str = "GrantMissing";
/// It sets an input that its inventory does not let orders set so.
pub const INVALID_INPUT: &str = "InvalidInput";
/// Its inventory has as many variants as it may have.
pub const TOO_MANY_VARIANTS: &str = "TooManyVariants";
/// The API server does not take the inventory that it would need.
pub const INVENTORY_REFUSED: &str = "InventoryRefused";

// Of inventories.

/// The level of an inventory went up.
pub const LEVEL_RAISED: &str = "LevelRaised";
/// The level of an inventory went down.
pub const LEVEL_LOWERED: &str = "LevelLowered";
/// Too many units in a row could not be made.
pub const STALLED: &str = "Stalled";
/// The item was changed, and units of the former one are on the shelf.
pub const ITEM_CHANGED: &str = "ItemChanged";
/// None is any more.
pub const ROLLED_OVER: &str = "RolledOver";
/// Units left the shelf that nobody held.
pub const RETIRED: &str = "Retired";
/// The API server does not take an inventory's units.
pub const STOCK_REFUSED: &str = "StockRefused";

/// As much is ready as is to be.
pub const STOCKED: &str = "Stocked";
/// Units are being made.
pub const REPLENISHING: &str = "Replenishing";
/// A unit could not be made.
pub const PRODUCTION_FAILED: &str = "ProductionFailed";
/// Units are ordered nearly as fast as they can be made, or faster.
pub const PRODUCTION_BOUND: &str = "ProductionBound";
/// More would be needed than the greatest level allows.
pub const AT_MAX: &str = "AtMax";
/// More than half of the units on the shelf fail their checks, and none goes for that.
pub const PROBE_SUSPECT: &str = "ProbeSuspect";
/// The item makes no sense.
pub const INVALID_ITEM: &str = "InvalidItem";
/// It is being deleted.
pub const DELETING: &str = "Deleting";

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

// Of stocks.

/// A unit is being made.
pub const PRODUCING: &str = "Producing";
/// A unit is made, and nothing is wrong with it.
pub const MADE: &str = "Made";
/// A unit that was given back is being made like new.
pub const RESETTING: &str = "Resetting";
/// A unit that was given back could not be made like new.
pub const RESET_FAILED: &str = "ResetFailed";
/// A check found a unit good.
pub const PROBED: &str = "Probed";
/// A check found a unit bad.
pub const PROBE_FAILED: &str = "ProbeFailed";
/// A check of a unit could not be made.
pub const PROBE_REFUSED: &str = "ProbeRefused";
/// An object of a unit was changed, or is gone.
pub const DRIFTED: &str = "Drifted";
/// A unit is being torn down.
pub const TEARING_DOWN: &str = "TearingDown";
/// Nothing is left of a unit.
pub const TEAR_DOWN_DONE: &str = "Gone";
/// An object of a unit can't be removed.
pub const TEAR_DOWN_STUCK: &str = "TearDownStuck";
/// What was left of a unit is left: its record goes.
pub const ABANDONED: &str = "Abandoned";
/// A result is too long to be known whole.
pub const OUTPUT_TOO_LARGE: &str = "OutputTooLarge";
/// A result is not of the form that the outputs need.
pub const OUTPUT_INVALID: &str = "OutputInvalid";
/// A result lacks an output.
pub const OUTPUT_MISSING: &str = "OutputMissing";
/// An object of a unit's name is there already, and is somebody else's.
pub const OBJECT_EXISTS: &str = "ObjectExists";
/// An object of a unit went before the unit was ready.
pub const OBJECT_GONE: &str = "ObjectGone";
/// The API server does not take an object of a unit, or the one that an order wants its outputs in.
pub const REFUSED: &str = "Refused";

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
    STOCK_LOST,
    DEADLINE_EXCEEDED,
    NO_INVENTORY,
    INVENTORY_GONE,
    NOT_ALLOWED,
    SENSITIVE_NEEDS_DELIVER,
    DELIVER_EXISTS,
    OUTPUTS_GONE,
    GRANT_MISSING,
    INVENTORY_REFUSED,
    INVALID_INPUT,
    TOO_MANY_VARIANTS,
    STOCK_REFUSED,
    PRODUCTION_FAILED,
    PRODUCTION_BOUND,
    AT_MAX,
    STALLED,
    INVALID_ITEM,
    TEAR_DOWN_STUCK,
    ABANDONED,
    OUTPUT_TOO_LARGE,
    OUTPUT_INVALID,
    OUTPUT_MISSING,
    OBJECT_EXISTS,
    OBJECT_GONE,
    REFUSED,
    RESET_FAILED,
    PROBE_FAILED,
    PROBE_REFUSED,
    PROBE_SUSPECT,
    DRIFTED,
];

/// Whether somebody should look at what has this reason.
pub fn is_warning(reason: &str) -> bool {
    WARNINGS.contains(&reason)
}
