//! The codec for messages, which reserves their decoded size before decoding them.
//!
//! A few bytes of protobuf can grow a hundredfold in memory (an empty search of a batch is two
//! bytes, and more than 500 decoded), so a bound on message size does not bound memory.

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

/// Size of messages that take so long to encode or decode that other requests should not wait.
const LARGE_BYTES: usize = 128 << 10;

tokio::task_local! {
    /// Budget for the messages of the current request on a server. Not set in a client.
    static RECEIVED: Arc<MemoryBudget>;
}

/// Runs `work` for a request whose messages are counted against `budget`.
pub async fn counted<F: Future>(budget: Arc<MemoryBudget>, work: F) -> F::Output {
    RECEIVED.scope(budget, work).await
}

/// The codec of `lanner.v1`, for clients and servers.
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

/// Encodes messages, yielding the thread for large ones.
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

/// Runs `work` on a message of `bytes` bytes; if it is large, another thread takes over the other
/// tasks of this one.
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
