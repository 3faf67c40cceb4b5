//! `seagull export`: what ended runs came to, as compressed JSON lines.
#![expect(clippy::disallowed_methods, reason = "a shell: ages are of now, and files are written")]

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use seagull_scheduler::{Exported, export};

use super::store_url;
use crate::cli;
use crate::errors::{say, usage, warn};
use crate::place::Place;
use crate::report::{count, number};
use crate::state::State;

/// Of zstd.
const LEVEL: i32 = 3;

pub async fn run(args: cli::Export) -> anyhow::Result<u8> {
    let place = Place::here()?;
    let state = State::find(args.state.state.as_deref(), &place)
        .ok_or_else(|| usage("nothing has run here yet\nhint: --state names the directory of a scheduler"))?;
    if args.to.is_none() && io::stdout().is_terminal() {
        return Err(usage(
            "what is exported is compressed, and this is a terminal\nhint: -o FILE, or | zstd -d",
        ));
    }
    let now = SystemTime::now();
    let scratch = tempfile::tempdir()?;
    let asked = seagull_scheduler::Export {
        state: state.directory,
        blobs: args.blobs.as_deref().map(|text| store_url("--blobs", text)).transpose()?,
        scratch: scratch.path().to_owned(),
        project: (!args.all).then(|| args.project.clone().unwrap_or_else(|| place.project())),
        since: args.since.map_or(SystemTime::UNIX_EPOCH, |since| since.before(now)),
        until: args.until.map_or(now, |until| until.before(now)),
    };
    let (to, has_store) = (args.to.clone(), asked.blobs.is_some());
    let written = tokio::task::spawn_blocking(move || match to {
        Some(path) => {
            let failed = || format!("cannot write {}", path.display());
            write(&asked, File::create(&path).with_context(failed)?).with_context(failed)
        }
        None => write(&asked, io::stdout()),
    });
    let Exported { runs, results, without_text, unreadable } = written.await??;
    for (run, why) in &unreadable {
        warn(format!("run {run} is left out: {why}"));
    }
    let [runs, results, without_text] =
        [runs, results, without_text].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    if without_text > 0 {
        let of = count(number(without_text), "failure");
        let hint =
            if has_store { "" } else { "\nhint: --blobs names the store that the scheduler keeps logs in" };
        warn(format!("of {of} the text is not there: stack and fingerprint are empty{hint}"));
    }
    let [runs, results] = [runs, results].map(number);
    say!("{} of {}", count(results, "result"), count(runs, "run"));
    Ok(0)
}

/// Whole, or it is an error.
fn write(asked: &seagull_scheduler::Export, out: impl Write) -> anyhow::Result<Exported> {
    let mut lines = zstd::Encoder::new(BufWriter::new(out), LEVEL)?;
    lines.include_checksum(true)?;
    let mut tell = |line: &seagull_scheduler::ResultLine| {
        serde_json::to_writer(&mut lines, line)?;
        lines.write_all(b"\n")
    };
    let exported = export(asked, &mut tell).map_err(|error| anyhow!("{error}"))?;
    lines.finish()?.flush()?;
    Ok(exported)
}
