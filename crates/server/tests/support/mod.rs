//! What the tests of the service share.
#![allow(dead_code, reason = "each test file uses a part of this")]

pub mod grpc;
pub mod http2;
