//! The server's own statuses, beside those of the engine's errors.

use lanner_client::status::RETRY_AFTER;
pub use lanner_client::status::from_error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What may work when it is tried again.
pub fn busy(message: String) -> Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// tonic reports an oversized message as out of range; clients know it as exhausted.
pub fn oversized(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => Status::resource_exhausted(status.message()),
        _ => status,
    }
}

/// Messages of tonic about bytes that are no gRPC message.
const MALFORMED: [&str; 2] = ["Unexpected EOF", "protocol error"];

/// [`oversized`] for responses that never reached a handler; and what tonic reports as a failure of
/// the server is the client's, where its bytes are malformed.
pub fn refused_response<B>(mut response: http::Response<B>) -> http::Response<B> {
    const STATUS: &str = "grpc-status";
    let code = response.headers().get(STATUS).map(|value| Code::from_bytes(value.as_bytes()));
    let better = match code {
        Some(Code::OutOfRange) => Code::ResourceExhausted,
        Some(Code::Internal) => match Status::from_header_map(response.headers()) {
            Some(status) if MALFORMED.iter().any(|text| status.message().starts_with(text)) => {
                Code::InvalidArgument
            }
            _ => return response,
        },
        _ => return response,
    };
    let value = http::HeaderValue::from(better as i32);
    response.headers_mut().insert(STATUS, value);
    response
}
