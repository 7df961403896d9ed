//! The only mapping between errors, gRPC codes and error kinds.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use lanner::{Error, ErrorKind, InvalidInput};

/// Delay before a client retries an unavailable call.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

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

/// The gRPC code of an error kind.
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

/// The error kind of a gRPC code.
pub fn kind(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidArgument,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::FailedPrecondition | Code::Unauthenticated | Code::PermissionDenied => {
            ErrorKind::FailedPrecondition
        }
        Code::ResourceExhausted => ErrorKind::ResourceExhausted,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::DataLoss => ErrorKind::Corrupted,
        Code::Ok | Code::Unknown | Code::Aborted | Code::Internal => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanner::Problem;

    #[test]
    fn kinds_survive_the_way_through_a_code() {
        for all in [
            ErrorKind::InvalidArgument,
            ErrorKind::NotFound,
            ErrorKind::AlreadyExists,
            ErrorKind::FailedPrecondition,
            ErrorKind::ResourceExhausted,
            ErrorKind::Unavailable,
            ErrorKind::DeadlineExceeded,
            ErrorKind::Cancelled,
            ErrorKind::Unsupported,
            ErrorKind::Corrupted,
            ErrorKind::Internal,
        ] {
            assert_eq!(kind(code(all)), all);
        }
    }

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
