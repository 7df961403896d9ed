//! A connection: its memory, and its timeouts.
//!
//! A stopping server announces it on every connection (GOAWAY and a ping), and closes the
//! connection once it has answered the requests that the client sent before it knew. A client that
//! does not answer the ping, because its process is suspended or a fork of it holds the socket,
//! would keep the server waiting: such a connection is closed when nothing is in progress on it.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use super::limits::ServerLimits;
use lanner::MemoryBudget;

/// State shared by the requests of a connection.
#[derive(Debug)]
pub struct Connection {
    /// Bytes received and not yet answered.
    pub received: Arc<MemoryBudget>,
    /// Set once a request was admitted.
    admitted: AtomicBool,
    /// Number of admitted requests whose responses have not been sent completely.
    in_progress: AtomicUsize,
    /// Parts of responses that the client has not read, with the time they were handed out.
    unread: Mutex<HashMap<u64, Instant>>,
}

impl Connection {
    /// A new connection; `received` is the budget of all connections.
    pub fn new(received: &Arc<MemoryBudget>, limits: &ServerLimits) -> Arc<Self> {
        let received = received.part("one connection", limits.connection_bytes, 0);
        let (admitted, in_progress) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Self { received, admitted, in_progress, unread: Mutex::default() })
    }

    /// Records an admitted request: from now on the connection may idle.
    pub fn admit(self: Arc<Self>) -> InProgress {
        self.admitted.store(true, Ordering::Relaxed);
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(self)
    }

    /// Records that a part of a response was handed out.
    pub fn handed_out(&self, answer: u64) {
        self.lock().insert(answer, Instant::now());
    }

    /// Records that the part was sent.
    pub fn taken(&self, answer: u64) {
        self.lock().remove(&answer);
    }

    fn is_unread_for(&self, time: Duration) -> bool {
        self.lock().values().any(|since| since.elapsed() > time)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        // Inserting and removing leaves the map valid even if a thread panics in between.
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection of a request, which is in progress until this is dropped.
#[derive(Debug)]
pub struct InProgress(Arc<Connection>);

impl Deref for InProgress {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The byte stream of a connection. Reading fails once the client exceeds a timeout, which closes
/// it.
pub struct Wire {
    io: Either<TcpStream, TlsStream<TcpStream>>,
    connection: Arc<Connection>,
    limits: Arc<ServerLimits>,
    check: Interval,
    opened: Instant,
    /// Time of the last received bytes.
    heard: Option<Instant>,
    /// Time of the last sent bytes.
    sent: Option<Instant>,
    /// Ready when the server stops; polled until then.
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Time at which the server began to stop.
    stopping: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Wire {
    /// Watches a connection, which holds one of the places of `limits`, until `stopping` is true
    /// and its client has had time to react.
    pub fn new(
        io: Either<TcpStream, TlsStream<TcpStream>>,
        connection: Arc<Connection>,
        limits: Arc<ServerLimits>,
        mut stopping: watch::Receiver<bool>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let check = checks(limits.handshake.min(limits.silence).min(limits.unread));
        let stop = Box::pin(async move {
            // An error means that nobody can stop the server any more.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        });
        Self {
            io,
            connection,
            limits,
            check,
            opened: Instant::now(),
            heard: None,
            sent: None,
            stop,
            stopping: None,
            _place: place,
        }
    }

    /// Reason to close the connection, if there is one.
    fn complaint(&self) -> Option<&'static str> {
        let (limits, opened) = (&self.limits, self.opened.elapsed());
        let silent = match self.heard {
            None => opened > limits.handshake,
            Some(heard) => heard.elapsed() > limits.silence,
        };
        if silent {
            return Some("the client is silent");
        }
        // A connection without an admitted request may not keep its place.
        if opened > limits.silence && !self.connection.admitted.load(Ordering::Relaxed) {
            return Some("no request was admitted");
        }
        if self.is_left_behind() {
            return Some("the server stops, and the client does not answer");
        }
        let unread = self.connection.is_unread_for(limits.unread);
        unread.then_some("the client does not read its answer")
    }

    /// True if the server is stopping and nothing is in progress or moving on this connection.
    fn is_left_behind(&self) -> bool {
        let Some(stopping) = self.stopping else { return false };
        let moved = self.heard.max(self.sent).map_or(stopping, |moved| moved.max(stopping));
        let in_progress = self.connection.in_progress.load(Ordering::Relaxed);
        in_progress == 0 && moved.elapsed() > self.limits.farewell
    }

    /// Fails if the client exceeded a timeout. Whichever part of the connection is polled wakes up
    /// for the next check.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.stopping.is_none() && self.stop.as_mut().poll(context).is_ready() {
            self.stopping = Some(Instant::now());
            self.check = checks(self.limits.farewell);
        }
        while self.check.poll_tick(context).is_ready() {
            let Some(reason) = self.complaint() else { continue };
            tracing::debug!(reason, "connection closed");
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        Ok(())
    }

    fn note_sent(&mut self, written: &Poll<io::Result<usize>>) {
        if written.is_ready() {
            self.sent = Some(Instant::now());
        }
    }
}

/// Interval of checks for the given shortest timeout.
fn checks(shortest: Duration) -> Interval {
    let period = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
    let mut check = interval(period);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    check
}

impl Connected for Wire {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        self.connection.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_ready() {
            self.heard = Some(Instant::now());
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note_sent(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.note_sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
