//! `seagull scheduler`: a scheduler of its own, until it is interrupted or its journal fails.

use std::io::{self, Write};

use anyhow::Context;
use seagull_scheduler::{Options, Server, Settings};

use crate::cli;
use crate::errors::usage;
use crate::place::Place;
use crate::signals::Signals;
use crate::state::State;

pub async fn run(args: cli::Scheduler) -> anyhow::Result<u8> {
    if !args.listen.ip().is_loopback() && !args.insecure {
        return Err(usage(format!(
            "{} can be reached from other machines, and nothing that is sent is encrypted\n\
             hint: listen on 127.0.0.1, or accept that with --insecure",
            args.listen
        )));
    }
    let mut signals = Signals::new()?;
    let state = State::open(args.state.state.as_deref(), &Place::here()?)?;
    let defaults = Settings::default();
    let lease_closed = defaults.lease_closed.min(args.lease);
    let options = Options {
        journal: state.directory.clone(),
        state: state.directory.clone(),
        settings: Settings { lease: args.lease, lease_closed, ..defaults },
        token: state.token()?,
    };
    let mut server = Server::start(options).context("the scheduler cannot start")?;
    let address = server.listen(args.listen).await?;
    eprintln!("clients and executors need the token in {}", state.token_file().display());
    let mut out = io::stdout();
    writeln!(out, "listening on http://{address}").and_then(|()| out.flush()).context("cannot write")?;
    tokio::select! {
        () = signals.next() => Ok(0),
        error = server.failed() => Err(error).context("the scheduler has ended"),
    }
}
