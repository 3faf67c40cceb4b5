//! The `seagull` command.

mod again;
mod branch;
mod cli;
mod client;
mod commands;
mod config;
mod duration;
mod errors;
mod framework;
mod fresh;
mod git;
#[cfg(test)]
#[path = "../tests/snapshots/golden.rs"]
mod golden;
mod memory;
mod nearest;
mod place;
mod progress;
mod report;
mod signals;
mod state;
mod version;
mod written;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

/// What supervisors are started as; no subcommand for people.
const SUPERVISE: &str = "supervise";
/// What workers of frameworks without a process of ours are started as; likewise.
const ADAPT: &str = "adapt";
/// What guards of sandboxes on a Docker engine are started as; likewise.
const GUARD: &str = "guard";
/// How long the end waits for what still runs in the background.
const PARTING: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    // These start with every worker and must stay small: no runtime, no parsing of options.
    match env::args_os().nth(1) {
        Some(first) if first == SUPERVISE => {
            return seagull_executor::supervisor::main(env::args_os().skip(2));
        }
        Some(first) if first == ADAPT => return seagull_executor::adapters::main(env::args_os().skip(2)),
        Some(first) if first == GUARD => return seagull_executor::docker::guard_main(env::args_os().skip(2)),
        _ => {}
    }
    let cli = cli::Cli::try_parse().unwrap_or_else(|error| cli::refuse(&error));
    let code = run(cli.command).unwrap_or_else(|error| errors::tell(&error));
    ExitCode::from(code)
}

fn run(command: cli::Command) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let code = runtime.block_on(commands::perform(command));
    runtime.shutdown_timeout(PARTING);
    code
}
