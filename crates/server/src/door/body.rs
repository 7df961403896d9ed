//! Request and response bodies, with their memory counted and their time limited.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use prost::bytes::Bytes;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

use super::caller::Caller;
use super::connection::InProgress;
use crate::status;

/// Bytes of a request that are always admitted, so that large requests do not starve small ones.
const FREE_BYTES: u64 = 16 << 10;
/// Size of the parts in which a response is handed out.
const PART_BYTES: usize = 256 << 10;

/// The body of a request: its bytes are counted, and an incomplete message times out.
pub struct Received {
    inner: Body,
    caller: Caller,
    free: u64,
    patience: Duration,
    /// Running while a message is incomplete, from the arrival of its request.
    timer: Option<Pin<Box<Sleep>>>,
    /// Number of handled messages when the timer was set.
    message: u64,
}

impl Received {
    pub fn new(inner: Body, caller: Caller, patience: Duration) -> Self {
        let timer = Some(Box::pin(sleep(patience)));
        Self { inner, caller, free: FREE_BYTES, patience, timer, message: 0 }
    }

    fn count(&mut self, bytes: u64) -> Result<(), Status> {
        let free = bytes.min(self.free);
        self.free -= free;
        let counted = self.caller.received().spend("received messages", bytes - free);
        counted.map_err(|error| status::from_error(&error.into()))
    }

    /// The timer of the current message, if it is incomplete; none once it was handled.
    fn timer(&mut self) -> Option<&mut Pin<Box<Sleep>>> {
        let handled = self.caller.handled();
        if self.message != handled {
            (self.message, self.free, self.timer) = (handled, FREE_BYTES, None);
        }
        self.timer.as_mut()
    }

    fn start_timer(&mut self) {
        if self.timer().is_none() {
            self.timer = Some(Box::pin(sleep(self.patience)));
        }
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(end) => return Poll::Ready(end),
            Poll::Pending => {
                let Some(timer) = self.timer() else { return Poll::Pending };
                ready!(timer.as_mut().poll(context));
                let message = format!("expected a whole message within {:?}", self.patience);
                return Poll::Ready(Some(Err(Status::deadline_exceeded(message))));
            }
        };
        if let Some(data) = frame.data_ref() {
            let bytes = data.len() as u64;
            self.start_timer();
            if let Err(status) = self.count(bytes) {
                return Poll::Ready(Some(Err(status)));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response: it is handed out in parts, so that the connection notices whether its
/// client reads, and holds the request's reservations until it has been sent.
pub struct Answer {
    inner: Body,
    rest: Bytes,
    connection: InProgress,
    number: u64,
    _caller: Caller,
}

impl Answer {
    pub fn new(inner: Body, connection: InProgress, caller: Caller) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { inner, rest: Bytes::new(), connection, number, _caller: caller }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.connection.taken(self.number);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let part = self.rest.len().min(PART_BYTES);
        let part = self.rest.split_to(part);
        self.connection.handed_out(self.number);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.taken(self.number);
    }
}
