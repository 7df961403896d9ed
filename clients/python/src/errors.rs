//! The one place where failures become exceptions of `lanner._errors`.

use lanner::{ErrorKind, InvalidInput};
use lanner_client::{ClientError, Denied};
use lanner_storage::StorageError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// What a call fails with before it is an exception.
pub type Result<T> = std::result::Result<T, ClientError>;

/// An exception of the package, by the name of its class.
pub fn exception(py: Python<'_>, class: &str, message: String) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let module = ERRORS
            .get_or_try_init(py, || py.import("lanner._errors").map(|module| module.unbind()))?;
        let class = module.bind(py).getattr(class)?.cast_into::<PyType>()?;
        Ok(PyErr::from_type(class, message))
    };
    made().unwrap_or_else(|error| error)
}

/// A failed call.
pub fn failed(py: Python<'_>, error: &ClientError) -> PyErr {
    let class = match error.denied() {
        Some(Denied::Unauthenticated) => "Unauthenticated",
        Some(Denied::PermissionDenied) => "PermissionDenied",
        None if is_locked(error) => "Locked",
        None => class(error.kind()),
    };
    exception(py, class, message(error))
}

/// Refused input.
pub fn invalid(py: Python<'_>, error: InvalidInput) -> PyErr {
    failed(py, &ClientError::from(error))
}

/// An argument of another kind than what is expected.
pub fn mismatch(py: Python<'_>, path: &str, expected: &'static str, got: impl ToString) -> PyErr {
    invalid(py, InvalidInput::mismatch(path, expected, got))
}

fn class(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => "InvalidInput",
        ErrorKind::NotFound => "NotFound",
        ErrorKind::AlreadyExists => "AlreadyExists",
        ErrorKind::FailedPrecondition => "FailedPrecondition",
        ErrorKind::ResourceExhausted => "ResourceExhausted",
        ErrorKind::Unavailable => "Unavailable",
        ErrorKind::DeadlineExceeded => "DeadlineExceeded",
        ErrorKind::Cancelled => "Cancelled",
        ErrorKind::Unsupported => "Unsupported",
        ErrorKind::Corrupted => "Corrupted",
        ErrorKind::Internal => "Internal",
    }
}

fn is_locked(error: &ClientError) -> bool {
    matches!(error, ClientError::Engine(lanner::Error::Storage(StorageError::Locked { .. })))
}

/// The message without the name of the code, which the class stands for.
fn message(error: &ClientError) -> String {
    match error {
        ClientError::Server(status) if error.kind() == ErrorKind::Unsupported => {
            let said = status.message();
            let hint = "the server does not know this call: it is of another version, or no Lanner";
            if said.is_empty() { hint.to_owned() } else { format!("{hint} ({said})") }
        }
        ClientError::Server(status) => status.message().to_owned(),
        other => other.to_string(),
    }
}
