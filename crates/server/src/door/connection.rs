//! A connection: what its client holds, and when its patience is over.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use super::limits::ServerLimits;
use lanner::MemoryBudget;

/// What the requests of one connection share.
#[derive(Debug)]
pub struct Connection {
    /// Bytes that were received from it and not answered yet.
    pub received: Arc<MemoryBudget>,
    /// Whether a request of it was admitted.
    admitted: AtomicBool,
    /// The parts of answers that were handed out, and since when the client leaves them unread.
    unread: Mutex<HashMap<u64, Instant>>,
}

impl Connection {
    /// A connection that has sent nothing yet; `received` is of all connections.
    pub fn new(received: &Arc<MemoryBudget>, limits: &ServerLimits) -> Arc<Self> {
        let received = received.part("one connection", limits.connection_bytes, 0);
        Arc::new(Self { received, admitted: AtomicBool::new(false), unread: Mutex::default() })
    }

    /// Notes that a request was admitted: from now on the connection may idle.
    pub fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// Notes that a part of an answer was handed out now.
    pub fn handed_out(&self, answer: u64) {
        self.lock().insert(answer, Instant::now());
    }

    /// Notes that what was handed out is gone.
    pub fn taken(&self, answer: u64) {
        self.lock().remove(&answer);
    }

    fn is_unread_for(&self, time: Duration) -> bool {
        self.lock().values().any(|since| since.elapsed() > time)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        // Inserting and removing leaves a map sound even if a thread dies in between.
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a connection. Reading fails once the client was too slow, which closes it.
pub struct Wire {
    io: Either<TcpStream, TlsStream<TcpStream>>,
    connection: Arc<Connection>,
    limits: Arc<ServerLimits>,
    check: Interval,
    opened: Instant,
    /// When bytes came last.
    heard: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Wire {
    /// Watches a connection, which has one of the places that `limits` allow.
    pub fn new(
        io: Either<TcpStream, TlsStream<TcpStream>>,
        connection: Arc<Connection>,
        limits: Arc<ServerLimits>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let shortest = limits.handshake.min(limits.silence).min(limits.unread);
        let period = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
        let mut check = interval(period);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { io, connection, limits, check, opened: Instant::now(), heard: None, _place: place }
    }

    /// Why the connection should end, if it should.
    fn complaint(&self) -> Option<&'static str> {
        let (limits, opened) = (&self.limits, self.opened.elapsed());
        let silent = match self.heard {
            None => opened > limits.handshake,
            Some(heard) => heard.elapsed() > limits.silence,
        };
        if silent {
            return Some("the client is silent");
        }
        // Whoever has no key does not keep a place.
        if opened > limits.silence && !self.connection.admitted.load(Ordering::Relaxed) {
            return Some("no request was admitted");
        }
        let unread = self.connection.is_unread_for(limits.unread);
        unread.then_some("the client does not read its answer")
    }

    /// Fails if the client was too slow. Whatever of the connection is polled wakes up for the
    /// next check.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.check.poll_tick(context).is_ready() {
            let Some(reason) = self.complaint() else { continue };
            tracing::debug!(reason, "connection closed");
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        Ok(())
    }
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
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
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
