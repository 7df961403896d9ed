//! The server's own statuses, in addition to those of the engine's errors.

use lanner_client::status::RETRY_AFTER;
pub use lanner_client::status::from_error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// A failure that may succeed on a retry.
pub fn busy(message: String) -> Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// Maps tonic's out-of-range status for an oversized message to resource-exhausted.
pub fn oversized(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => Status::resource_exhausted(status.message()),
        _ => status,
    }
}

/// Tonic's messages for bytes that are not a gRPC message.
const MALFORMED: [&str; 2] = ["Unexpected EOF", "protocol error"];

/// As [`oversized`], for responses that never reached a handler; also reports malformed bytes as an
/// error of the client, where tonic reports one of the server.
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
