//! The one place where errors become gRPC codes.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::model::InvalidInput;
use crate::{Error, ErrorKind};

/// When a client may try again what failed as unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The status of an error, with `google.rpc.BadRequest` or `RetryInfo` where they apply.
pub fn from_error(error: &Error) -> Status {
    let code = code(error.kind());
    let message = error.to_string();
    match error {
        Error::Invalid(InvalidInput { path, problem }) => {
            let details = ErrorDetails::with_bad_request_violation(path, problem.to_string());
            Status::with_error_details(code, message, details)
        }
        Error::Exhausted(exhausted) if !exhausted.may_pass => Status::new(code, message),
        _ if matches!(code, Code::Unavailable | Code::ResourceExhausted) => {
            let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
            Status::with_error_details(code, message, details)
        }
        _ => {
            if matches!(code, Code::Internal | Code::DataLoss) {
                tracing::error!(%error, "request failed");
            }
            Status::new(code, message)
        }
    }
}

/// What may work when it is tried again.
pub fn busy(message: String) -> Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// The code of a kind of error.
pub fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Corrupted => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        from_error(&error)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Problem;

    #[test]
    fn refused_input_names_its_field_in_the_details() {
        let problem = Problem::Dimension { expected: 3, got: 2 };
        let status = from_error(&InvalidInput::new("points[1].vectors.v", problem).into());
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(violation.field, "points[1].vectors.v");
        assert_eq!(violation.description, "expected 3 dimensions, got 2");
    }

    #[test]
    fn unavailability_says_when_to_try_again() {
        let status = from_error(&Error::Closing);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.get_error_details().retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
    }
}
