//! What each subcommand does.

mod executor;
pub mod run;
mod scheduler;

use std::thread;

use seagull_proto::Token;

use crate::cli::{Command, TokenArgs};
use crate::errors::usage;
use crate::state;

/// Performs a command; returns the exit code.
pub async fn perform(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => run::run(*args).await,
        Command::Scheduler(args) => scheduler::run(args).await,
        Command::Executor(args) => executor::run(args).await,
    }
}

/// As many slots as this process may use cores.
fn cores() -> u16 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(u16::MAX).min(4096)
}

/// The token that a scheduler is spoken to with.
fn token(args: &TokenArgs) -> anyhow::Result<Token> {
    let path = args.token_file.as_deref().ok_or_else(|| {
        usage(
            "a scheduler needs its token\n\
             hint: pass the file `token` of the scheduler's state directory with --token-file",
        )
    })?;
    state::read_token(path)
}
