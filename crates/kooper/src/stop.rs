//! Telling everything to stop.

use tokio::sync::watch;

/// Stops whatever holds a [`Stop`] of the same pair. Clones stop the same things.
///
/// Dropping it stops nothing: then the other side just can't be stopped any more.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Tells when to stop. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A stopper and what it stops.
    pub fn pair() -> (Stopper, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Stop(receiver))
    }

    /// Whether it is time to stop.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is time to stop. It has no deadline: that is what it waits for.
    pub async fn stopped(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Stopper {
    /// Stops; more than once is the same as once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Another [`Stop`] of this pair.
    pub fn subscribe(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn every_clone_is_stopped_and_stays_so() {
        let (stopper, stop) = Stop::pair();
        let other = stop.clone();
        assert!(!stop.is_stopped());
        assert!(other.stopped().now_or_never().is_none());
        stopper.clone().stop();
        other.stopped().await;
        stopper.subscribe().stopped().await;
        assert!(stop.is_stopped());
    }

    #[tokio::test]
    async fn a_dropped_stopper_stops_nothing() {
        let (stopper, stop) = Stop::pair();
        drop(stopper);
        assert!(stop.stopped().now_or_never().is_none());
    }
}
