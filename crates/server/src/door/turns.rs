//! Thread limits per class of requests, so that slow requests of one class do not delay the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::status;

/// Calls of each class that hold a thread at a time; in total fewer than tokio's blocking threads
/// (512).
const READS: usize = 256;
const WRITES: usize = 192;
const ADMINISTRATION: usize = 16;
/// Administrative calls that may wait for a thread; more are rejected.
const ADMINISTRATION_WAITING: usize = 64;
/// Total size of messages being written at a time, in KiB.
const WRITING_KIB: usize = 64 << 10;

/// Classes of requests that do not wait for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Queries and other reads.
    Read,
    /// Writes of points.
    Write,
    /// Creation and deletion of collections, and maintenance jobs.
    Administer,
}

/// The thread permits of all requests.
#[derive(Debug)]
pub struct Turns {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    administration: Arc<Semaphore>,
    administration_waiting: Arc<Semaphore>,
    writing: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        let new = |permits| Arc::new(Semaphore::new(permits));
        Self {
            reads: new(READS),
            writes: new(WRITES),
            administration: new(ADMINISTRATION),
            administration_waiting: new(ADMINISTRATION_WAITING),
            writing: new(WRITING_KIB),
        }
    }
}

impl Turns {
    /// Waits for a thread; dropping the result releases it.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if too many administrative calls are already waiting.
    pub async fn take(&self, class: Class) -> Result<Option<OwnedSemaphorePermit>, Status> {
        // `acquire` only fails for a closed semaphore, which these never are.
        match class {
            Class::Read => Ok(self.reads.clone().acquire_owned().await.ok()),
            Class::Write => Ok(self.writes.clone().acquire_owned().await.ok()),
            Class::Administer => {
                if let Ok(turn) = self.administration.clone().try_acquire_owned() {
                    return Ok(Some(turn));
                }
                let waiting = self.administration_waiting.clone().try_acquire_owned();
                let _waiting = waiting.map_err(|_| too_many())?;
                Ok(self.administration.clone().acquire_owned().await.ok())
            }
        }
    }

    /// Waits until a message of this size can be written.
    pub async fn write(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = (bytes >> 10).min(WRITING_KIB as u64) as u32;
        if kib == 0 {
            return None;
        }
        self.writing.clone().acquire_many_owned(kib).await.ok()
    }
}

fn too_many() -> Status {
    status::busy(format!("expected at most {ADMINISTRATION_WAITING} calls that wait to administer"))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn classes_do_not_wait_for_one_another_and_too_many_are_refused() {
        let turns = Arc::new(Turns::default());
        let mut held = Vec::new();
        for _ in 0..ADMINISTRATION {
            held.push(turns.take(Class::Administer).await.unwrap());
        }
        for _ in 0..WRITES {
            held.push(turns.take(Class::Write).await.unwrap());
        }
        assert!(turns.take(Class::Read).await.unwrap().is_some());
        let wait = || {
            let turns = turns.clone();
            tokio::spawn(async move { turns.take(Class::Administer).await.map(drop) })
        };
        let waiting: Vec<_> = (0..ADMINISTRATION_WAITING).map(|_| wait()).collect();
        while turns.administration_waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = turns.take(Class::Administer).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        held.clear();
        for turn in waiting {
            turn.await.unwrap().unwrap();
        }
    }
}
