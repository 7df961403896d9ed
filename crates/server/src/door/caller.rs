//! Who a request is from: what its key allows, and the memory it may use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::OwnedSemaphorePermit;
use tonic::{Request, Status};

use super::access::Access;
use super::turns::{Class, Turns};
use lanner::MemoryBudget;

/// The caller of a request; handlers find it with [`Caller::of`]. What it has spent returns when
/// the answer is gone.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    access: Access,
    /// Bytes of its messages.
    received: Arc<MemoryBudget>,
    /// Bytes of candidates and answers.
    work: Arc<MemoryBudget>,
    turns: Arc<Turns>,
    class: Class,
    /// Messages of a stream that were handled.
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

    /// A caller without bounds, for tests of handlers.
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
    /// If it did not come through the door, which is a mistake of the server.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| Status::permission_denied("the request did not come by the door"))
    }

    /// What its key allows.
    pub fn access(&self) -> &Access {
        &self.0.access
    }

    /// Bytes of its messages, and of what they are decoded into.
    pub fn received(&self) -> &Arc<MemoryBudget> {
        &self.0.received
    }

    /// Bytes of candidates and answers.
    pub fn work(&self) -> &Arc<MemoryBudget> {
        &self.0.work
    }

    /// Waits until what was received can be written: points are in memory several times until they
    /// are, so that few large messages are written at a time. Small ones do not wait.
    pub async fn turn_to_write(&self) -> Option<OwnedSemaphorePermit> {
        self.0.turns.write(self.0.received.used()).await
    }

    /// Waits for a thread among those for requests of its kind.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if too many wait already.
    pub async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, Status> {
        self.0.turns.take(self.0.class).await
    }

    /// Messages of a stream that were handled.
    pub(super) fn handled(&self) -> u64 {
        self.0.handled.load(Ordering::Relaxed)
    }

    /// Notes that a message of a stream was handled, and returns what it has spent.
    pub fn message_handled(&self) {
        for budget in [&self.0.received, &self.0.work] {
            budget.release(budget.used());
        }
        self.0.handled.fetch_add(1, Ordering::Relaxed);
    }
}
