//! `seagull results-proxy`: what ended runs left in a store and an index is read without their scheduler. All that it has
//! is a copy, in a directory that goes with it, or with the next one if it was killed.

use std::fmt::Display;

use anyhow::Context;
use seagull_executor::sandbox::Home;
use seagull_results::StoreUrl;
use seagull_results::index::Address;
use seagull_scheduler::{Options, Server, Settings};

use super::scheduler::{identity, listen};
use crate::cli;
use crate::errors::usage;
use crate::signals::Signals;

pub async fn run(args: cli::ResultsProxy) -> anyhow::Result<u8> {
    let identity = identity(&args.face)?;
    let token = super::token(&args.token)?;
    let blobs = super::store_url("--blobs", &args.blobs)?;
    let index = args.index.as_deref().map(|text| super::index_address("--index", text)).transpose()?;
    is_there("--blobs", matches!(&blobs, StoreUrl::File(directory) if !directory.is_dir()), &blobs)?;
    if let Some(index) = &index {
        is_there("--index", matches!(index, Address::Sqlite(file) if !file.is_file()), index)?;
    }
    let mut signals = Signals::new()?;
    let home = Home::create_for("proxy", &std::env::temp_dir());
    let home = home.context("there is no room for copies")?;
    let copies = home.path().join("copies");
    let options = Options {
        journal: copies.clone(),
        state: copies,
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

/// Who only reads makes nothing.
fn is_there(option: &str, is_missing: bool, place: &impl Display) -> anyhow::Result<()> {
    match is_missing {
        true => Err(usage(format!(
            "{option}: there is nothing at {place}\nhint: it takes what the scheduler has as {option}"
        ))),
        false => Ok(()),
    }
}
