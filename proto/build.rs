//! Compiles the contract with protox, so that no installed protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 10] = [
    "stillpoint/v1/types.proto",
    "stillpoint/v1/error.proto",
    "stillpoint/v1/op.proto",
    "stillpoint/v1/state_service.proto",
    "stillpoint/v1/session_service.proto",
    "stillpoint/v1/watch_service.proto",
    "stillpoint/v1/admin_service.proto",
    "stillpoint/v1/management_service.proto",
    "stillpoint/v1/backup_service.proto",
    "stillpoint/v1/migration_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=stillpoint");
    let descriptors = protox::compile(FILES, ["."])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    // Reflection answers from this file.
    fs::write(
        out_dir.join("stillpoint_descriptor.bin"),
        descriptors.encode_to_vec(),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
