//! The interface of [`Backend`] for async programs.

use std::sync::Arc;
use std::time::Duration;

use lanner::CancelToken;

use crate::backend::{Backend, Limits};
use crate::error::{ClientError, Result};

/// A database for async programs: every call of [`Backend`], on a thread of tokio's for blocking work.
///
/// ```
/// use lanner_client::{AsyncBackend, Embedded};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = std::env::temp_dir().join(format!("lanner-doc-{}", std::process::id()));
/// let database = AsyncBackend::new(Embedded::open(&folder)?);
/// let collections = database.call(|backend| backend.list()).await?;
/// assert!(collections.is_empty());
/// # drop(database);
/// # std::fs::remove_dir_all(folder).ok();
/// # Ok::<(), lanner_client::ClientError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct AsyncBackend {
    backend: Arc<dyn Backend>,
    timeout: Option<Duration>,
}

impl AsyncBackend {
    /// The same database as `backend`.
    pub fn new(backend: impl Backend + 'static) -> Self {
        Self { backend: Arc::new(backend), timeout: None }
    }

    /// The same database with a limit on the time of each call; see [`Limits::timeout`].
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Runs a call, or several one after the other. If the future is dropped, the call is cancelled; see
    /// [`Limits::cancelled`].
    ///
    /// # Errors
    /// Those of the call.
    ///
    /// # Panics
    /// If `call` does, or outside of a tokio runtime.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Backend) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let guard = CancelOnDrop(CancelToken::new());
        let cancelled = Some(guard.0.clone());
        let backend = self.backend.within(Limits { timeout: self.timeout, cancelled });
        match tokio::task::spawn_blocking(move || call(&*backend)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            Err(_) => Err(ClientError::Cancelled),
        }
    }
}

/// Cancels a call when nobody waits for it any more.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use lanner::{CollectionConfig, Durability, Metric, Point, QueryRequest, VectorField};

    use super::*;
    use crate::Embedded;

    fn open(folder: &std::path::Path) -> AsyncBackend {
        let database = AsyncBackend::new(Embedded::open(folder).unwrap());
        let config = CollectionConfig::new().with_field("v", VectorField::single(2, Metric::Dot));
        let create = |backend: &dyn Backend| backend.create("c", &config, &Default::default());
        create(&*database.backend).unwrap();
        database
    }

    #[tokio::test]
    async fn calls_do_what_the_blocking_interface_does() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path());
        let point = Point::new(7).with_vector("v", vec![1.0, 2.0]);
        let write = move |backend: &dyn Backend| {
            let mut writer = backend.writer("c", Durability::Synced)?;
            writer.write(vec![point])
        };
        database.call(write).await.unwrap();
        let request = QueryRequest::new("v", vec![1.0, 0.0]).limit(3);
        let answers = database.call(move |backend| backend.query_batch("c", &[request])).await;
        assert_eq!(answers.unwrap()[0].hits[0].point.id, 7.into());
        let missing = database.call(|backend| backend.info("d")).await.unwrap_err();
        assert_eq!(missing.kind(), lanner::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_dropped_future_cancels_its_call() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path());
        let (began, begun) = tokio::sync::oneshot::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        let (go_on, gone_on) = std::sync::mpsc::channel::<()>();
        let call = database.call(move |backend| {
            began.send(()).unwrap();
            gone_on.recv().unwrap();
            let request = QueryRequest::new("v", vec![1.0, 0.0]);
            end.send(backend.query_batch("c", &[request]).map(drop)).unwrap();
            Ok(())
        });
        tokio::select! {
            biased;
            _ = call => unreachable!("it waits"),
            begun = begun => begun.unwrap(),
        }
        go_on.send(()).unwrap();
        let error = ended.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), lanner::ErrorKind::Cancelled);
    }
}
