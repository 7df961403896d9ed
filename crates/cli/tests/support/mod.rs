//! What the tests of the program share.
#![allow(dead_code, reason = "each test file uses a part of this")]

pub mod case;
pub mod program;
pub mod server;
