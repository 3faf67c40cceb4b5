//! Generates the protocol's Rust types and services from the `.proto` files, without a `protoc` on the machine.

use std::error::Error;

const FILES: [&str; 5] = [
    "proto/seagull/v1/environments.proto",
    "proto/seagull/v1/types.proto",
    "proto/seagull/v1/executors.proto",
    "proto/seagull/v1/runs.proto",
    "proto/seagull/v1/blobs.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".")
        .boxed(".seagull.v1.StreamItem.event.run_started")
        .boxed(".seagull.v1.StreamItem.event.test_finished")
        .boxed(".seagull.v1.Record.record.result")
        .compile_fds(protox::compile(FILES, ["proto"])?)?;
    Ok(())
}
