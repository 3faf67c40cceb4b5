//! `seagull gc`: what is kept of ended runs goes by its age, but for runs that somebody keeps.
#![expect(clippy::disallowed_methods, reason = "a shell: ages are of now, and stores block")]

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use seagull_domain::RunId;
use seagull_results::index::{self, Address};
use seagull_results::{Class, Retention, StoreUrl};
use seagull_scheduler::{Swept, pin, pinned, sweep};
use serde::Serialize;

use super::around::Reach;
use super::{index_address, print, store_url};
use crate::cli::{self, FromArgs, RunName};
use crate::config::Ages;
use crate::errors::{say, usage, warn};
use crate::memory;
use crate::place::Place;
use crate::progress::Progress;
use crate::report::Output;
use crate::state::State;

pub async fn run(args: cli::Sweep) -> anyhow::Result<u8> {
    let place = Place::here()?;
    place.config.warnings.iter().for_each(warn);
    let state = State::find(args.state.state.as_deref(), &place)
        .ok_or_else(|| usage("nothing is kept here\nhint: --state names the directory of a scheduler"))?;
    let state = state.directory;
    let blobs = args.blobs.as_deref().map(|text| store_url("--blobs", text)).transpose()?;
    if args.pins || !args.pin.is_empty() || !args.unpin.is_empty() {
        return pins(&args, &state, blobs).await;
    }
    let retention = retention(&args.ages, &place.config.retention);
    let index = args.index.as_deref().map(|text| index_address("--index", text)).transpose()?;
    let now = SystemTime::now();
    let asked =
        seagull_scheduler::Sweep { state: state.clone(), blobs, retention, now, dry_run: args.dry_run };
    let of = asked.blobs.as_ref().map_or_else(|| state.display().to_string(), ToString::to_string);
    let sweeping = tokio::task::spawn_blocking(move || sweep(&asked));
    let progress = Progress::new(args.form.output == Output::Human);
    let swept = progress.during(|| format!("looking through {of}"), sweeping).await?;
    let (swept, kept) = swept.map_err(|error| anyhow!("{error}"))?;
    let before = retention.before(Class::Results, now);
    let before = before.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let own = state.join("history.sqlite");
    let own = own.is_file().then_some(Address::Sqlite(own));
    let (mut forgotten, mut outcome) = (Vec::new(), Ok(0));
    for address in own.into_iter().chain(index) {
        match forget(&address, before, &kept, args.dry_run).await {
            Ok(gone) => forgotten.extend(gone.into_iter().map(|removed| (address.to_string(), removed))),
            Err(error) => outcome = Err(error.into()),
        }
    }
    // What is gone by then is said, whatever an index says.
    show(&args, &swept, &forgotten, outcome.is_ok())?;
    outcome
}

async fn forget(
    address: &Address,
    before: u64,
    kept: &HashSet<RunId>,
    dry_run: bool,
) -> Result<Vec<String>, index::Error> {
    index::open(address)?.forget(before, kept, dry_run).await
}

fn retention(given: &cli::AgeArgs, settings: &Ages) -> Retention {
    let default = Retention::default();
    let age = |given: Option<_>, set: Option<_>, default| given.or(set).unwrap_or(default);
    Retention {
        passed_logs: age(given.passed_logs, settings.passed_logs, default.passed_logs),
        failed_logs: age(given.failed_logs, settings.failed_logs, default.failed_logs),
        results: age(given.results, settings.results, default.results),
        timings: age(given.timings, settings.timings, default.timings),
        artifacts: age(given.artifacts, settings.artifacts, default.artifacts),
        attachments: age(given.attachments, settings.attachments, default.attachments),
    }
}

/// The runs that somebody keeps. Stores block.
async fn kept(state: &Path, blobs: Option<StoreUrl>) -> anyhow::Result<Vec<RunId>> {
    let state = state.to_owned();
    let pinned = tokio::task::spawn_blocking(move || pinned(&state, blobs.as_ref())).await?;
    pinned.map_err(|error| anyhow!("{error}"))
}

async fn pins(args: &cli::Sweep, state: &Path, blobs: Option<StoreUrl>) -> anyhow::Result<u8> {
    let all = args.pin.iter().map(|run| (run, true)).chain(args.unpin.iter().map(|run| (run, false)));
    for (name, is_kept) in all {
        let run = match name {
            RunName::Id(run) => run.clone(),
            RunName::Last => Reach::new(&FromArgs::of(args.state.clone())).await?.run(name).await?,
        };
        let (state, store, of) = (state.to_owned(), blobs.clone(), run.clone());
        let done = tokio::task::spawn_blocking(move || pin(&state, store.as_ref(), &of, is_kept)).await?;
        done.map_err(|error| anyhow!("{error}"))?.ok_or_else(|| {
            let hint = match blobs {
                Some(_) => "seagull runs lists runs",
                None => "--blobs names the store that may have it; seagull runs lists runs",
            };
            usage(format!("no run {run} has ended here, or it is not kept here any more\nhint: {hint}"))
        })?;
    }
    if args.pins {
        let runs = kept(state, blobs).await?;
        print(|out| runs.iter().try_for_each(|run| writeln!(out, "{run}")))?;
    }
    Ok(0)
}

#[derive(Serialize)]
struct Gone {
    class: &'static str,
    removed: u64,
    bytes: u64,
    dry_run: bool,
}

/// What an index forgets: a run, or a whole index of Elasticsearch.
#[derive(Serialize)]
struct Forgotten<'a> {
    index: &'a str,
    removed: &'a str,
    dry_run: bool,
}

fn show(
    args: &cli::Sweep,
    swept: &Swept,
    forgotten: &[(String, String)],
    is_all: bool,
) -> anyhow::Result<()> {
    let dry_run = args.dry_run;
    print(|out| match args.form.output {
        Output::Json => {
            for (class, (removed, bytes)) in &swept.0 {
                let gone = Gone { class: class.word(), removed: *removed, bytes: *bytes, dry_run };
                serde_json::to_writer(&mut *out, &gone)?;
                writeln!(out)?;
            }
            forgotten.iter().try_for_each(|(index, removed)| {
                serde_json::to_writer(&mut *out, &Forgotten { index, removed, dry_run })?;
                writeln!(out)
            })
        }
        _ => {
            for (class, (removed, bytes)) in &swept.0 {
                let has_bytes = *class != Class::Timings;
                let size = if has_bytes { memory::kib(bytes.div_ceil(1024)) } else { String::new() };
                writeln!(out, "{}", format!("{:<12} {removed:>8} {size:>10}", class.word()).trim_end())?;
            }
            match forgotten.len() {
                0 => Ok(()),
                removed => writeln!(out, "{:<12} {removed:>8}", "index"),
            }
        }
    })?;
    match (swept.0.is_empty() && forgotten.is_empty(), dry_run) {
        (true, _) if !is_all => {}
        (true, _) => say!("nothing is older than it may be"),
        (false, true) => say!("this would be removed"),
        (false, false) => {}
    }
    Ok(())
}
