//! What each subcommand does.

mod around;
mod doctor;
mod drain;
mod executor;
mod export;
mod gc;
mod health;
mod import;
mod init;
mod manual;
mod plan;
mod results_proxy;
pub mod run;
mod scheduler;
mod services;

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write, stdout};
use std::thread;

use anyhow::Context;
use seagull_proto::Token;
use seagull_results::StoreUrl;
use seagull_results::index;
use tonic::transport::Uri;

use crate::cli::{Command, TlsArgs, TokenArgs};
use crate::client::{self, Client};
use crate::errors::usage;
use crate::state;

/// Performs a command; returns the exit code.
pub async fn perform(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => run::run(*args).await,
        Command::Plan(args) => plan::run(*args).await,
        Command::Runs(args) => around::runs(*args).await,
        Command::Results(args) => around::results(*args).await,
        Command::Logs(args) => around::logs(*args).await,
        Command::Attachments(args) => around::attachments(*args).await,
        Command::Watch(args) => around::watch(*args).await,
        Command::Explain(args) => around::explain(*args).await,
        Command::Rerun(args) => around::rerun(*args).await,
        Command::Repro(args) => around::repro(*args).await,
        Command::History(args) => around::history(*args).await,
        Command::Tests(args) => around::tests(*args).await,
        Command::Search(args) => around::search(*args).await,
        Command::Gc(args) => gc::run(*args).await,
        Command::Export(args) => export::run(*args).await,
        Command::Import(args) => import::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Doctor(args) => doctor::run(*args).await,
        Command::Scheduler(args) => scheduler::run(*args).await,
        Command::ResultsProxy(args) => results_proxy::run(*args).await,
        Command::Executor(args) => executor::run(*args).await,
        Command::Services(args) => services::run(args.command).await,
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::page(&args),
        Command::Docs(args) => manual::docs(&args),
    }
}

/// Writes data to standard output; a reader that has seen enough is no error.
fn print(write: impl FnOnce(&mut BufWriter<StdoutLock>) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(()),
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

/// The URL of a store. It is read here and not by the command line's reader, which repeats what it cannot take: it may have
/// a secret in it.
fn store_url(option: &str, text: &str) -> anyhow::Result<StoreUrl> {
    text.parse().map_err(|error| usage(format!("{option}: {error}")))
}

/// The address of an index, read here for the same reason.
fn index_address(option: &str, text: &str) -> anyhow::Result<index::Address> {
    text.parse().map_err(|error: index::Error| usage(format!("{option}: {error}")))
}

/// A scheduler elsewhere, which is not spoken to yet.
fn client(url: &Uri, token: &Token, tls: &TlsArgs) -> anyhow::Result<Client> {
    Ok(Client::new(client::channel(url, tls.tls_ca.as_deref())?, token).at(url))
}
