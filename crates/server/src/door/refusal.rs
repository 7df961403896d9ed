//! Requests that are rejected by the door.

use http::{HeaderValue, Response, StatusCode, header};
use tonic::body::Body;
use tonic::{Code, Status};

/// A rejection, in gRPC and in HTTP terms.
#[derive(Debug)]
pub struct Refusal {
    pub code: Code,
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub fn new(code: Code, status: StatusCode, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into() }
    }

    /// The same for a missing and a wrong key.
    pub fn unauthenticated() -> Self {
        let message = "UNAUTHENTICATED: expected the header `authorization: Bearer <API key>`";
        Self::new(Code::Unauthenticated, StatusCode::UNAUTHORIZED, message)
    }

    /// The response, for gRPC and other clients.
    pub fn into_response(self, grpc: bool) -> Response<Body> {
        if grpc {
            return Status::new(self.code, self.message).into_http();
        }
        let mut response = Response::new(Body::new(self.message + "\n"));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, text);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
