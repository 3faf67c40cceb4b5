//! `seagull executor`: this machine's slots for a scheduler, until it leaves.

use std::process;
use std::sync::Arc;

use anyhow::Context;
use seagull_domain::Resources;
use seagull_executor::notice::Source;
use seagull_executor::{Executor, Notice, Options, machine};

use super::{drain, services};
use crate::cli::{self, OfExecutors};
use crate::client::{self, Client};
use crate::errors::{INTERRUPTED, say};
use crate::fresh;
use crate::place::Place;
use crate::report::count;
use crate::signals::Signals;
use crate::state::State;

pub async fn run(args: cli::Executor) -> anyhow::Result<u8> {
    match args.command {
        Some(OfExecutors::Drain(args)) => return drain::run(&args).await,
        Some(OfExecutors::Gc(args)) => return services::gc::run(&args).await,
        None => {}
    }
    let mut signals = Signals::new()?;
    let scheduler = args.scheduler.context("no scheduler is named")?;
    let token = super::token(&args.token)?;
    let id = args.id.map_or_else(fresh::executor_id, Ok)?;
    let state = State::open(args.state.as_deref(), &Place::here()?)?;
    let channel = client::channel(&scheduler, args.tls.tls_ca.as_deref())?;
    greet(&Client::new(channel.clone(), &token).at(&scheduler), &scheduler).await?;
    let slots = args.slots.unwrap_or_else(super::cores);
    say!(
        "executor {id} (process {}) offers {} to {}",
        process::id(),
        count(slots.into(), "slot"),
        client::name(&scheduler)
    );
    let all = machine::capacity();
    let capacity = Resources {
        memory_kib: args.memory.unwrap_or(all.memory_kib),
        millicpus: args.cpus.map_or(all.millicpus, u64::from),
    };
    let image_bytes = args.images << 10;
    let labels = args.labels.into_iter().collect();
    let (state, setups) = (state.directory, None);
    let tell = Arc::new(|text: String| say!("{text}"));
    let options = Options {
        id,
        slots,
        capacity,
        image_bytes,
        labels,
        state,
        setups,
        tell,
        channel,
        token,
        in_place: false,
    };
    let mut executor = Executor::start(options).context("the executor cannot start")?;
    for source in args.notice_files.into_iter().map(Source::File).chain(args.notices) {
        executor.heed(source, args.drain_limit);
    }
    tokio::select! {
        outcome = executor.wait() => return left(outcome),
        () = signals.next() => {}
    }
    say!("another signal ends it now");
    executor.leave(Notice::drain("a signal", args.drain_limit));
    tokio::select! {
        outcome = executor.wait() => left(outcome),
        () = signals.next() => Ok(INTERRUPTED),
    }
}

/// A wrong token, certificate or protocol is told at once; a scheduler that is not there yet is waited for.
async fn greet(client: &Client, url: &tonic::transport::Uri) -> anyhow::Result<()> {
    match client.info().await {
        Ok(()) => Ok(()),
        Err(error) if error.is_transient() => {
            say!("waiting for the scheduler at {}", client::name(url));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn left(outcome: Result<(), seagull_executor::Error>) -> anyhow::Result<u8> {
    outcome.context("the executor cannot go on")?;
    say!("left");
    Ok(0)
}
