//! The layer that does what a plan says.

use super::plan::FaultPlan;

/// A [`tower::Layer`] that puts the faults of a plan between a client and its API server.
#[derive(Clone, Debug)]
pub struct FaultLayer {}

impl FaultLayer {
    /// A layer for one client, and the handle that tells what it did. Counting starts at zero.
    pub fn new(plan: FaultPlan) -> (Self, Faults) {
        todo!("{plan:?}")
    }
}

impl<S> tower::Layer<S> for FaultLayer {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}

/// What a [`FaultLayer`] did so far.
#[derive(Clone, Debug)]
pub struct Faults {}

impl Faults {
    /// Waits until the client has crashed; for ever, if it never does. Then drop everything that uses the client.
    pub async fn crashed(&self) {
        todo!()
    }

    /// Whether the client has crashed.
    pub fn has_crashed(&self) -> bool {
        todo!()
    }

    /// How many writes the client has sent, those that failed included: the points at which it could crash.
    pub fn writes(&self) -> u64 {
        todo!()
    }

    /// How often the plan's fault of this index struck.
    pub fn struck(&self, fault: usize) -> u64 {
        todo!("{fault}")
    }
}
