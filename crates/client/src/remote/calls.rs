//! Calls to a server, with deadlines, cancellation and retries.
//!
//! Delays between attempts double, and each is shortened by a random share, so that clients that
//! lost a server at the same time do not reconnect at the same time.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use super::Remote;
use crate::backend::Limits;
use crate::error::{ClientError, Result};
use lanner::CancelToken;

/// The first and the longest delay between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Polling interval of cancellation tokens.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Retry policy of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// No retries: a second attempt would see the effect of the first.
    One,
    /// Retries as often as the connection allows.
    Many,
}

impl Remote {
    /// Calls the server and waits for its response.
    pub(super) fn ask<M: Clone, T>(
        &self,
        attempts: Attempts,
        message: M,
        call: impl AsyncFn(Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T> {
        let ends = Ends::from_now(&self.limits);
        let retries = if attempts == Attempts::Many { self.connection.retries } else { 0 };
        let mut pauses = Pauses::new(retries);
        self.connection.runtime.block_on(async {
            loop {
                let mut request = Request::new(message.clone());
                if let Some(at) = ends.at {
                    request.set_timeout(at.saturating_duration_since(Instant::now()));
                }
                let failed = match ends.before(call(request)).await? {
                    Ok(answer) => return Ok(answer.into_inner()),
                    Err(status) => status,
                };
                match pauses.next(&failed) {
                    Some(pause) => ends.before(tokio::time::sleep(pause)).await?,
                    None => return Err(failed.into()),
                }
            }
        })
    }

    /// Waits for a response within the limits of the call.
    pub(super) fn within_limits<T>(
        &self,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T> {
        let ends = Ends::from_now(&self.limits);
        Ok(self.connection.runtime.block_on(ends.before(work))??)
    }
}

/// Limits of a call: deadline and cancellation.
pub struct Ends {
    at: Option<Instant>,
    cancelled: Option<CancelToken>,
}

impl Ends {
    /// The limits of a call that starts now.
    pub fn from_now(limits: &Limits) -> Self {
        let at = limits.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { at, cancelled: limits.cancelled.clone() }
    }

    /// Runs `work`; fails if the call reaches one of its limits first.
    pub async fn before<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let late = lanner::Error::DeadlineExceeded;
        tokio::select! {
            biased;
            done = work => match self.at {
                // The connection has its own timer, with its own error for the same condition.
                Some(at) if Instant::now() >= at => Err(late.into()),
                _ => Ok(done),
            },
            () = passed(self.at) => Err(late.into()),
            () = cancelled(self.cancelled.as_ref()) => Err(ClientError::Cancelled),
        }
    }
}

async fn passed(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn cancelled(token: Option<&CancelToken>) {
    let Some(token) = token else { return std::future::pending().await };
    while !token.is_cancelled() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Retry delays of a call.
pub struct Pauses {
    left: u32,
    next: Duration,
}

impl Pauses {
    pub fn new(retries: u32) -> Self {
        Self { left: retries, next: FIRST_PAUSE }
    }

    /// The delay before the next attempt; `None` if the failure is final.
    pub fn next(&mut self, failed: &Status) -> Option<Duration> {
        let asked = failed.get_details_retry_info().and_then(|info| info.retry_delay);
        let passes = match failed.code() {
            Code::Unavailable => true,
            // A request that can never fit must not be retried.
            Code::ResourceExhausted => asked.is_some(),
            _ => false,
        };
        self.left = self.left.checked_sub(1).filter(|_| passes)?;
        let pause = self.next.max(asked.unwrap_or_default());
        self.next = (2 * self.next).min(LONGEST_PAUSE);
        Some(pause.mul_f64(0.5 + 0.5 * random_share()))
    }
}

/// A random number between 0 and 1.
fn random_share() -> f64 {
    // Every `RandomState` has its own random keys.
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{RETRY_AFTER, from_error};

    #[test]
    fn pauses_grow_and_end() {
        let mut pauses = Pauses::new(7);
        let away = Status::unavailable("away");
        let mut longest = FIRST_PAUSE;
        for _ in 0..7 {
            let pause = pauses.next(&away).unwrap();
            assert!(pause <= longest && pause >= longest / 2, "{pause:?} of {longest:?}");
            longest = (2 * longest).min(LONGEST_PAUSE);
        }
        assert_eq!(pauses.next(&away), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let pause = |status: &Status| Pauses::new(1).next(status);
        for code in [Code::Internal, Code::DeadlineExceeded, Code::Aborted, Code::Unknown] {
            assert_eq!(pause(&Status::new(code, "")), None, "{code:?}");
        }
        assert_eq!(pause(&Status::resource_exhausted("too large for this server")), None);
        let full = lanner::Error::DiskFull { free_bytes: 1, needed_bytes: 2 };
        let asked = pause(&from_error(&full)).unwrap();
        assert!(asked >= RETRY_AFTER / 2 && asked <= RETRY_AFTER, "{asked:?}");
    }

    #[tokio::test]
    async fn a_call_ends_when_it_is_cancelled_or_late() {
        let token = CancelToken::new();
        let limits = Limits { timeout: None, cancelled: Some(token.clone()) };
        token.cancel();
        let ended = Ends::from_now(&limits).before(std::future::pending::<()>()).await;
        assert!(matches!(ended, Err(ClientError::Cancelled)));
        let limits = Limits { timeout: Some(Duration::from_millis(1)), cancelled: None };
        let ended = Ends::from_now(&limits).before(std::future::pending::<()>()).await;
        assert!(matches!(ended, Err(ClientError::Engine(lanner::Error::DeadlineExceeded))));
        let done = Ends::from_now(&Limits::default()).before(async { 7 }).await;
        assert!(matches!(done, Ok(7)));
    }
}
