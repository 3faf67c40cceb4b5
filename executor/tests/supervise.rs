//! The supervisor alone, for this crate's tests: what `seagull supervise` runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    seagull_executor::supervisor::main(std::env::args_os().skip(1))
}
