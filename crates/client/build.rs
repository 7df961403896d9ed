//! Compiles the protobuf definitions, without needing `protoc`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../proto");
    let mut compiler = protox::Compiler::new(["../../proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(
        ["collections", "filter", "jobs", "points", "query"]
            .map(|name| format!("lanner/v1/{name}.proto")),
    )?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("lanner_descriptor.bin"), compiler.encode_file_descriptor_set())?;
    // `bytes` fields stay slices of the request; maps are ordered, so that errors are, too.
    let mut prost = tonic_prost_build::Config::new();
    prost.btree_map(["."]).bytes(["."]).enable_type_names();
    tonic_prost_build::configure()
        // Counts what a message takes before it is decoded.
        .codec_path("crate::codec::CountingCodec")
        .compile_fds_with_config(compiler.file_descriptor_set(), prost)?;
    Ok(())
}
