//! `seagull results-proxy`: what ended runs left in a store and an index is read without their scheduler. All that it has
//! is a copy, in a directory that goes with it.

use anyhow::Context;
use seagull_scheduler::{Options, Server, Settings};

use super::scheduler::{identity, listen};
use crate::cli;
use crate::signals::Signals;

pub async fn run(args: cli::ResultsProxy) -> anyhow::Result<u8> {
    let identity = identity(&args.face)?;
    let token = super::token(&args.token)?;
    let blobs = super::store_url("--blobs", &args.blobs)?;
    let index = args.index.as_deref().map(|text| super::index_address("--index", text)).transpose()?;
    let mut signals = Signals::new()?;
    let copies = tempfile::tempdir().context("there is no room for copies")?;
    let options = Options {
        journal: copies.path().to_owned(),
        state: copies.path().to_owned(),
        blobs: Some(blobs),
        index,
        spool: seagull_scheduler::SPOOL_BYTES,
        settings: Settings::default(),
        token,
        reads_only: true,
    };
    let mut server = Server::start(options).context("the proxy cannot start")?;
    listen(&server, &args.face, identity).await?;
    tokio::select! {
        () = signals.next() => Ok(0),
        error = server.failed() => Err(error).context("the proxy has ended"),
    }
}
