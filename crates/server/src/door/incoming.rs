//! Accepts connections, up to a limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;

use super::connection::{Connection, Wire};
use super::limits::ServerLimits;
use super::tls::Tls;
use lanner::MemoryBudget;

/// Delay after a failed accept: the system may have run out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Shared state of all connections.
#[derive(Clone)]
struct Desk {
    tls: Option<Arc<Tls>>,
    limits: Arc<ServerLimits>,
    received: Arc<MemoryBudget>,
    stopping: watch::Receiver<bool>,
}

/// Connections that are ready for requests; stops when the result is dropped.
pub fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    limits: Arc<ServerLimits>,
    received: Arc<MemoryBudget>,
    stopping: watch::Receiver<bool>,
) -> ReceiverStream<Result<Wire, Infallible>> {
    let (ready, connections) = mpsc::channel(16);
    let places = Arc::new(Semaphore::new(limits.connections));
    let desk = Desk { tls, limits, received, stopping };
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection was accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                tracing::warn!("a connection was closed: all places are taken");
                continue;
            };
            tokio::spawn(desk.clone().greet(stream, place, ready.clone()));
        }
    });
    ReceiverStream::new(connections)
}

impl Desk {
    async fn greet(
        self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        ready: mpsc::Sender<Result<Wire, Infallible>>,
    ) {
        // Sends small messages at once; if the system refuses, they are only delayed.
        let _ = stream.set_nodelay(true);
        let acceptor = self.tls.as_ref().and_then(|tls| tls.acceptor());
        let io = match acceptor {
            None => Either::Left(stream),
            Some(acceptor) => {
                let shaken = tokio::time::timeout(self.limits.handshake, acceptor.accept(stream));
                match shaken.await {
                    Ok(Ok(stream)) => Either::Right(stream),
                    Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => return tracing::debug!("a TLS handshake took too long"),
                }
            }
        };
        let connection = Connection::new(&self.received, &self.limits);
        // A stopping server accepts no more connections.
        let wire = Wire::new(io, connection, self.limits, self.stopping, place);
        let _ = ready.send(Ok(wire)).await;
    }
}
