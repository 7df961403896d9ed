//! The caller of a request: its access rights and memory budgets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::OwnedSemaphorePermit;
use tonic::{Request, Status};

use super::access::Access;
use super::turns::{Class, Turns};
use lanner::MemoryBudget;

/// The caller of a request; handlers get it with [`Caller::of`]. Its spent memory is released when
/// the response has been sent.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    access: Access,
    /// Budget of its messages.
    received: Arc<MemoryBudget>,
    /// Budget of candidates and responses.
    work: Arc<MemoryBudget>,
    turns: Arc<Turns>,
    class: Class,
    /// Number of handled messages of a stream.
    handled: AtomicU64,
    _place: Option<OwnedSemaphorePermit>,
}

impl Caller {
    pub(super) fn new(
        access: Access,
        received: Arc<MemoryBudget>,
        work: Arc<MemoryBudget>,
        (turns, class): (Arc<Turns>, Class),
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (handled, place) = (AtomicU64::new(0), Some(place));
        Self(Arc::new(Inner { access, received, work, turns, class, handled, _place: place }))
    }

    /// A caller without limits, for tests of handlers.
    #[cfg(test)]
    pub fn unbounded() -> Self {
        let (received, work) = (MemoryBudget::unlimited(), MemoryBudget::unlimited());
        let (access, handled) = (Access::FULL, AtomicU64::new(0));
        let (turns, class) = (Arc::default(), Class::Read);
        Self(Arc::new(Inner { access, received, work, turns, class, handled, _place: None }))
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// If the request did not pass the door, which is a bug of the server.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| Status::permission_denied("the request did not come by the door"))
    }

    /// Access rights of its key.
    pub fn access(&self) -> &Access {
        &self.0.access
    }

    /// Budget of its messages, encoded and decoded.
    pub fn received(&self) -> &Arc<MemoryBudget> {
        &self.0.received
    }

    /// Budget of candidates and responses.
    pub fn work(&self) -> &Arc<MemoryBudget> {
        &self.0.work
    }

    /// Waits until the received points can be written. While being written, points are in memory
    /// several times, so only a few large messages are written at a time. Small ones do not wait.
    pub async fn turn_to_write(&self) -> Option<OwnedSemaphorePermit> {
        self.0.turns.write(self.0.received.used()).await
    }

    /// Waits for a thread of the request's class.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if too many are already waiting.
    pub async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, Status> {
        self.0.turns.take(self.0.class).await
    }

    /// Number of handled messages of a stream.
    pub(super) fn handled(&self) -> u64 {
        self.0.handled.load(Ordering::Relaxed)
    }

    /// Records a handled message of a stream and releases the memory it has spent.
    pub fn message_handled(&self) {
        for budget in [&self.0.received, &self.0.work] {
            budget.release(budget.used());
        }
        self.0.handled.fetch_add(1, Ordering::Relaxed);
    }
}
