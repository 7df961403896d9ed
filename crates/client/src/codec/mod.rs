//! How messages are read: what they will take in memory is counted before they are decoded.
//!
//! A few bytes of protobuf can become a hundred times as many in memory (an empty search of a batch
//! is two bytes, and more than 500 decoded), so that a bound on the size of messages is none on
//! memory.

mod cost;

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use prost::bytes::Buf;
use prost::{Message, Name};
use tokio::runtime::{Handle, RuntimeFlavor};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::status;
use lanner::MemoryBudget;

/// Bytes of a message that take so long to be read or written that other requests should not wait.
const LARGE_BYTES: usize = 128 << 10;

tokio::task_local! {
    /// What the messages of a server's request are counted in. A client has none.
    static RECEIVED: Arc<MemoryBudget>;
}

/// Runs work on a request, whose messages are counted in `budget`.
pub async fn counted<F: Future>(budget: Arc<MemoryBudget>, work: F) -> F::Output {
    RECEIVED.scope(budget, work).await
}

/// The codec of `lanner.v1`, on both sides.
#[derive(Debug)]
pub struct CountingCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CountingCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for CountingCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = YieldingEncoder<T>;
    type Decoder = CountingDecoder<U>;

    fn encoder(&mut self) -> YieldingEncoder<T> {
        YieldingEncoder(ProstCodec::<T, U>::raw_encoder(BufferSettings::default()))
    }

    fn decoder(&mut self) -> CountingDecoder<U> {
        CountingDecoder(PhantomData)
    }
}

/// Writes messages, large ones while others work on.
#[derive(Debug)]
pub struct YieldingEncoder<T>(ProstEncoder<T>);

impl<T: Message> Encoder for YieldingEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let bytes = message.encoded_len();
        yielding(bytes, || self.0.encode(message, buffer))
    }
}

/// Works on a message of so many bytes; if it is large, whatever else the thread had to do is done by
/// another meanwhile.
fn yielding<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let several = |runtime: &Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
    match Handle::try_current() {
        Ok(runtime) if bytes > LARGE_BYTES && several(&runtime) => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}

/// See [`CountingCodec`].
#[derive(Debug)]
pub struct CountingDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for CountingDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let Ok(budget) = RECEIVED.try_with(Arc::clone) else {
            let decoded = U::decode(bytes).map(Some);
            return decoded.map_err(|error| Status::internal(format!("malformed answer: {error}")));
        };
        yielding(bytes.len(), || {
            let cost = cost::decoded_bytes(&U::full_name(), &bytes);
            let counted = budget.spend("decoded messages", cost);
            counted.map_err(|error| status::from_error(&error.into()))?;
            let decoded = U::decode(bytes).map(Some);
            decoded.map_err(|error| Status::invalid_argument(format!("malformed message: {error}")))
        })
    }
}
