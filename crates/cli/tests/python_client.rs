//! The Python example works against a server, where a Python with its packages is there.
//!
//! `LANNER_PYTHON` names the interpreter; otherwise `python3` is tried.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::process::Command;

use support::server::ServerProcess;

#[test]
fn the_python_client_stores_and_finds() {
    let python = std::env::var("LANNER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import grpc, grpc_tools, numpy"]).output();
    if !import.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no grpcio, grpcio-tools and numpy");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(folder.path(), &[]);
    let output = Command::new(&python)
        .args(["examples/python/client.py", "--server", server.address()])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("20 answers equal the exact search").count(), 2, "{text}");
    assert_eq!(server.terminate(), Some(0));
}
