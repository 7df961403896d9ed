//! Compiles the protobuf definitions, without needing `protoc`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["collections", "points", "query"].map(|name| format!("proto/lanner/v1/{name}.proto"));
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // `bytes` fields stay slices of the request, so that a vector is copied once.
    tonic_prost_build::configure()
        .bytes(".")
        .file_descriptor_set_path(out.join("lanner_descriptor.bin"))
        .compile_fds(descriptors)?;
    Ok(())
}
