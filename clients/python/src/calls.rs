//! How calls run: without Python's lock, so that other threads go on, and so that Ctrl-C ends them.
//!
//! Python notes a signal and raises it when its main thread runs Python code again. So a call that may
//! take long runs on a thread of its own while the main thread looks for signals, and is cancelled when
//! there is one. That costs some 20 µs, as much as a query, and milliseconds where other threads have the
//! cores, so queries and small batches are first tried on the calling thread with a deadline of their own,
//! and again in that way if they do not make it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use lanner::{CancelToken, ErrorKind};
use lanner_client::{Backend, ClientError, Limits};
use pyo3::prelude::*;

use crate::errors::{Result, exception, failed};

/// How often signals are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Time that a query may take on the calling thread.
const SHORT: Duration = Duration::from_millis(50);
/// After a query that took longer, so many are not tried on the calling thread.
const CAREFUL: u32 = 100;
/// Queries of a batch that is tried on the calling thread.
const SMALL_BATCH: usize = 256;

static MAIN_THREAD: OnceLock<ThreadId> = OnceLock::new();

/// Remembers the thread that signals are raised on, if this is it.
pub fn note_main_thread(py: Python<'_>) -> PyResult<()> {
    let threading = py.import("threading")?;
    let current = threading.call_method0("get_ident")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    if current.eq(main)? {
        MAIN_THREAD.get_or_init(|| std::thread::current().id());
    }
    Ok(())
}

/// Whether signals may be raised on this thread.
fn hears_signals() -> bool {
    MAIN_THREAD.get().is_none_or(|main| *main == std::thread::current().id())
}

/// Cancels calls; see `Backend.within`.
#[pyclass(frozen, name = "CancelToken", module = "lanner._native")]
pub struct PyCancelToken(CancelToken);

#[pymethods]
impl PyCancelToken {
    #[new]
    fn new() -> Self {
        Self(CancelToken::new())
    }

    fn cancel(&self) {
        self.0.cancel();
    }
}

impl PyCancelToken {
    pub fn token(&self) -> CancelToken {
        self.0.clone()
    }
}

/// A database that may be closed.
pub struct Shared {
    open: Mutex<Option<Arc<dyn Backend>>>,
    /// Whether it is in this process, where short calls take microseconds.
    embedded: bool,
    process: u32,
    /// Queries, and small batches, that are not tried on the calling thread.
    careful: Careful,
    careful_batches: Careful,
}

/// Number of calls that are not tried on the calling thread, because one took long.
struct Careful(AtomicU32);

impl Careful {
    fn holds(&self) -> bool {
        // Relaxed, as below: the number is a guess.
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Notes how long a call took that was not tried.
    fn note(&self, took: Duration) {
        let less = |left: u32| Some(left.saturating_sub(1));
        match took < SHORT {
            true => drop(self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)),
            false => self.begin(),
        }
    }

    fn begin(&self) {
        self.0.store(CAREFUL, Ordering::Relaxed);
    }
}

impl Shared {
    pub fn new(backend: Arc<dyn Backend>, embedded: bool) -> Self {
        let process = std::process::id();
        let [careful, careful_batches] = [(); 2].map(|()| Careful(AtomicU32::new(1)));
        Self { open: Mutex::new(Some(backend)), embedded, process, careful, careful_batches }
    }

    fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// The database.
    fn backend(&self, py: Python<'_>) -> PyResult<Arc<dyn Backend>> {
        if !self.is_ours() {
            return Err(self.forked(py));
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| exception(py, "Closed", "the database is closed".into()))
    }

    fn forked(&self, py: Python<'_>) -> PyErr {
        let (opened, this) = (self.process, std::process::id());
        let message = format!(
            "the database was opened in process {opened} and this is {this}, a fork of it without its \
             threads: open or connect after the fork"
        );
        exception(py, "Forked", message)
    }

    pub fn is_closed(&self) -> bool {
        self.is_ours() && self.open.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Closes it; calls that are under way on other threads end first.
    pub fn close(&self, py: Python<'_>) -> PyResult<()> {
        if !self.is_ours() {
            return Err(self.forked(py));
        }
        let backend = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(backend));
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // In a fork there are no threads that could be joined.
        if !self.is_ours() {
            std::mem::forget(self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// A database and the limits of its calls.
#[derive(Clone)]
pub struct Calls {
    pub shared: Arc<Shared>,
    pub limits: Limits,
}

impl Calls {
    /// Runs what is short on this thread, if the database is in this process.
    pub fn short<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&dyn Backend) -> Result<T> + Send,
    ) -> PyResult<T> {
        if !self.shared.embedded {
            return self.long(py, work);
        }
        let backend = self.shared.backend(py)?;
        let done = py.detach(|| work(&*backend));
        done.map_err(|error| failed(py, &error))
    }

    /// Runs a query, on this thread if it does not take long.
    pub fn query<T: Send>(
        &self,
        py: Python<'_>,
        work: impl Fn(&dyn Backend) -> Result<T> + Send + Sync,
    ) -> PyResult<T> {
        self.perhaps_short(py, &self.shared.careful, work)
    }

    /// Runs so many queries, on this thread if they do not take long.
    pub fn batch<T: Send>(
        &self,
        py: Python<'_>,
        queries: usize,
        work: impl Fn(&dyn Backend) -> Result<T> + Send + Sync,
    ) -> PyResult<T> {
        match queries <= SMALL_BATCH {
            true => self.perhaps_short(py, &self.shared.careful_batches, work),
            false => self.long(py, work),
        }
    }

    fn perhaps_short<T: Send>(
        &self,
        py: Python<'_>,
        careful: &Careful,
        work: impl Fn(&dyn Backend) -> Result<T> + Send + Sync,
    ) -> PyResult<T> {
        if !self.shared.embedded || careful.holds() {
            let started = Instant::now();
            let done = self.long(py, &work);
            careful.note(started.elapsed());
            return done;
        }
        let backend = self.shared.backend(py)?;
        let limits = &self.limits;
        let timeout = Some(limits.timeout.map_or(SHORT, |timeout| timeout.min(SHORT)));
        let view = backend.within(Limits { timeout, cancelled: limits.cancelled.clone() });
        let late = match py.detach(|| work(&*view)) {
            Ok(done) => return Ok(done),
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => error,
            Err(error) => return Err(failed(py, &error)),
        };
        if limits.timeout.is_some_and(|timeout| timeout <= SHORT) {
            return Err(failed(py, &late));
        }
        careful.begin();
        self.long(py, work)
    }

    /// Runs what may take long, and cancels it when a signal raises an exception.
    pub fn long<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&dyn Backend) -> Result<T> + Send,
    ) -> PyResult<T> {
        if hears_signals() {
            return self.watched(py, work, |_| Ok(()), CancelToken::cancel);
        }
        let backend = self.shared.backend(py)?;
        let done = py.detach(|| work(&*backend.within(self.limits.clone())));
        done.map_err(|error| failed(py, &error))
    }

    /// Runs work on a thread of its own. `look` is called now and then; when it or a signal raises an
    /// exception, `interrupt` is called, and the exception is raised when the work has ended.
    pub fn watched<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&dyn Backend) -> Result<T> + Send,
        look: impl Fn(Python<'_>) -> PyResult<()>,
        interrupt: impl Fn(&CancelToken) + Send + Sync,
    ) -> PyResult<T> {
        let backend = self.shared.backend(py)?;
        let token = self.limits.cancelled.clone().unwrap_or_default();
        let cancelled = Some(token.clone());
        let view = backend.within(Limits { timeout: self.limits.timeout, cancelled });
        drop(backend);
        let (sender, mut receiver) = mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let run = move || drop(sender.send(work(&*view)));
            let thread = std::thread::Builder::new().name("lanner-call".into());
            thread.spawn_scoped(scope, run).map_err(|error| {
                exception(py, "ResourceExhausted", format!("cannot start a thread: {error}"))
            })?;
            let mut raised: Option<PyErr> = None;
            loop {
                let (received, same) =
                    py.detach(move || (receiver.recv_timeout(LOOK_EVERY), receiver));
                receiver = same;
                match received {
                    Ok(done) => {
                        let done = done.map_err(|error: ClientError| failed(py, &error));
                        return raised.map_or(done, Err);
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => {
                        return Err(exception(py, "Internal", "the call panicked".into()));
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) if raised.is_none() => {
                        raised = py.check_signals().and_then(|()| look(py)).err();
                        if raised.is_some() {
                            py.detach(|| interrupt(&token));
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                }
            }
        })
    }
}
