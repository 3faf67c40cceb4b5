//! `seagull export`: what ended runs came to, as compressed JSON lines.
#![expect(clippy::disallowed_methods, reason = "a shell: ages are of now, and files are written")]

use std::collections::{HashMap, HashSet};
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use seagull_domain::{RunId, RunOverview, RunPlace, RunState, TextRef};
use seagull_proto::convert::ListAsked;
use seagull_proto::limits::{self, LISTED_RUNS};
use tempfile::NamedTempFile;

use super::around::Reach;
use super::store_url;
use crate::cli;
use crate::client::{Client, Error, Notice};
use crate::errors::{say, usage, warn};
use crate::progress::Progress;
use crate::report::{Exported, count, number};

/// Of zstd.
const LEVEL: i32 = 3;
const UNWRITTEN: &str = "what is exported cannot be written";
/// Runs that are named, of those that are left out.
const NAMED: usize = 3;

pub async fn run(args: cli::Export) -> anyhow::Result<u8> {
    if args.to.is_none() && io::stdout().is_terminal() {
        return Err(usage(
            "what is exported is compressed, and this is a terminal\nhint: -o FILE, or | zstd -d",
        ));
    }
    let store = args.blobs.as_deref().filter(|_| args.from.scheduler.is_none());
    let store = store.map(|text| store_url("--blobs", text)).transpose()?;
    let may_name_a_store = store.is_none() && args.from.scheduler.is_none();
    let reach = Reach::with(&args.from, store).await?;
    let now = SystemTime::now();
    let since = args.since.map_or(0, |since| millis(since.before(now)));
    let until = args.until.map_or(u64::MAX, |until| millis(until.before(now)));
    let project = (!args.all).then(|| reach.project.clone());
    let runs = ended(&reach.client, project, since..until).await?;
    let written = match &args.to {
        // What is no file, such as a pipe, cannot be replaced.
        Some(path) if path.exists() && !path.is_file() => {
            let to = File::options().write(true).open(path);
            write(&reach.client, &runs, to.with_context(|| cannot_write(path))?).await?
        }
        Some(path) => {
            let beside = beside(path).with_context(|| cannot_write(path))?;
            let written = write(&reach.client, &runs, beside.as_file()).await?;
            beside.persist(path).with_context(|| cannot_write(path))?;
            written
        }
        None => write(&reach.client, &runs, io::stdout()).await?,
    };
    written.tell(may_name_a_store);
    let results = count(number(written.results), "result");
    say!("{results} of {}", count(number(runs.len() - written.left_out.len()), "run"));
    Ok(0)
}

/// What replaces a file once it is whole, with the mode of that, or of any new one.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mode = path.metadata().map_or(0o666, |file| file.permissions().mode() & 0o777);
    tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(directory)
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The runs that have ended within a time, and when: the first to be submitted first.
async fn ended(
    client: &Client,
    project: Option<String>,
    within: Range<u64>,
) -> anyhow::Result<Vec<(RunId, u64)>> {
    let mut ended = Vec::new();
    // Of what comes after something a scheduler leaves none out, so the first page comes after the end of time.
    let end = RunPlace { submitted_at: limits::MOMENT, run: "end".parse().expect("an id") };
    let mut after = end.clone();
    loop {
        let asked = ListAsked { project: project.clone(), limit: LISTED_RUNS, after: Some(after.clone()) };
        let page = match client.list(asked).await {
            Err(error) if after != end => {
                warn(format!("what was submitted before run {} is left out: {error}", after.run));
                Vec::new()
            }
            page => later(page?, &after)?,
        };
        let Some(last) = page.last() else {
            // Where an index has two runs of an id, what is read by the id is of one.
            let mut seen = HashSet::new();
            ended.retain(|(run, _): &(RunId, u64)| seen.insert(run.clone()));
            ended.reverse();
            return Ok(ended);
        };
        after = last.place();
        ended.extend(page.into_iter().filter_map(|run| match run.state {
            RunState::Ended { at, .. } => within.contains(&at).then_some((run.run, at)),
            RunState::UnderWay | RunState::BrokenOff => None,
        }));
    }
}

/// A page of runs, all of which come after one. A scheduler that knows no pages has begun anew.
fn later(page: Vec<RunOverview>, after: &RunPlace) -> anyhow::Result<Vec<RunOverview>> {
    if page.first().is_some_and(|run| run.place() >= *after) {
        let hint =
            "hint: it is of an older release; on its own machine seagull export reads its state directory";
        return Err(anyhow!("this scheduler lists its newest {LISTED_RUNS} runs only\n{hint}"));
    }
    Ok(page)
}

/// How much was written, and what could not be.
#[derive(Default)]
struct Written {
    results: usize,
    /// Failures whose text is not kept any more.
    without_text: usize,
    /// Runs of which not all is kept that it takes, and why of the first.
    left_out: Vec<RunId>,
    why: String,
}

impl Written {
    fn tell(&self, may_name_a_store: bool) {
        let hint = match may_name_a_store {
            true => {
                "\nhint: --blobs names the scheduler's store, which may have it; without one it is not kept any more"
            }
            false => "",
        };
        if !self.left_out.is_empty() {
            let named: Vec<_> = self.left_out.iter().take(NAMED).map(RunId::as_str).collect();
            let more = match self.left_out.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (runs, is) = match self.left_out.len() {
                1 => ("run", "is"),
                _ => ("runs", "are"),
            };
            warn(format!("{runs} {}{more} {is} left out: {}{hint}", named.join(", "), self.why));
        }
        if self.without_text > 0 {
            let of = count(number(self.without_text), "failure");
            warn(format!("of {of} the text is not there: stack and fingerprint are empty{hint}"));
        }
    }
}

/// Whole, or it is an error.
async fn write(client: &Client, runs: &[(RunId, u64)], out: impl Write) -> anyhow::Result<Written> {
    let mut lines = zstd::Encoder::new(BufWriter::new(out), LEVEL)?;
    lines.include_checksum(true)?;
    let mut written = Written::default();
    let progress = Progress::new(true);
    for (done, (run, ended_at)) in runs.iter().enumerate() {
        let what = || format!("{done} of {} are exported", count(number(runs.len()), "run"));
        let read = progress.during(what, exported(client, run)).await;
        let exported = match read.with_context(|| format!("run {run} cannot be read"))? {
            Ok(exported) => exported,
            Err(why) => {
                if written.left_out.is_empty() {
                    written.why = why;
                }
                written.left_out.push(run.clone());
                continue;
            }
        };
        let wanted = exported.texts();
        let texts = progress.during(what, texts(client, run, wanted.clone())).await?;
        written.without_text += wanted.iter().filter(|text| !texts.contains_key(text)).count();
        written.results += exported.results();
        exported
            .tell((run, *ended_at), &texts, |line| {
                serde_json::to_writer(&mut lines, line)?;
                lines.write_all(b"\n")
            })
            .context(UNWRITTEN)?;
    }
    lines.finish().and_then(|mut out| out.flush()).context(UNWRITTEN)?;
    Ok(written)
}

/// What a run has come to, or why that is not to be had of this one.
async fn exported(client: &Client, run: &RunId) -> anyhow::Result<Result<Exported, String>> {
    let mut exported = Exported::default();
    let mut notices = client.look_at(run.clone());
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Manifest(manifest) => exported.manifest(&manifest),
            Notice::Items(items) => items.into_iter().for_each(|item| exported.apply(item.event)),
            Notice::Failed(error) if error.is_of_one() => return Ok(Err(error.to_string())),
            Notice::Failed(error) => return Err(error.into()),
            Notice::Disconnected(why) => return Err(anyhow!("{why}")),
            _ => {}
        }
    }
    Ok(Ok(exported))
}

/// Those that are kept.
async fn texts(
    client: &Client,
    run: &RunId,
    wanted: Vec<TextRef>,
) -> anyhow::Result<HashMap<TextRef, String>> {
    let mut texts = HashMap::new();
    let mut trouble = None;
    let take = |text, read: Result<String, Error>| match read {
        Ok(content) => drop(texts.insert(text, content)),
        Err(error) if error.is_of_one() => {}
        Err(error) => trouble = Some(error),
    };
    client.texts(run, wanted, take).await;
    match trouble {
        Some(error) => Err(anyhow::Error::new(error).context(format!("what run {run} said cannot be read"))),
        None => Ok(texts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_that_knows_no_pages_is_told_by_its_second() {
        let run = |name: &str, submitted_at| {
            let spec = serde_json::json!({
                "id": name, "owner": "o", "project": "p", "submitted_at": submitted_at, "arguments": [], "cap_ms": 1,
                "retries": 0, "fail_fast": null, "grace_ms": 1, "seed": 1, "environment": {},
                "workspace": {"in_place": {"directory": "/"}},
            });
            RunOverview::of(&serde_json::from_value(spec).unwrap(), RunState::UnderWay)
        };
        let end = RunPlace { submitted_at: limits::MOMENT, run: "end".parse().unwrap() };
        let newest = [run("b", 2), run("a", 1)];
        let first = later(newest.to_vec(), &end).unwrap();
        assert_eq!(first, newest);
        let after = first[1].place();
        let refused = later(newest.to_vec(), &after).unwrap_err().to_string();
        assert!(refused.contains("of an older release"), "{refused}");
        assert!(later(newest[..1].to_vec(), &newest[0].place()).is_err(), "of runs of one moment, too");
        assert_eq!(later(vec![run("before", 0)], &after).unwrap().len(), 1);
        assert!(later(Vec::new(), &after).unwrap().is_empty());
    }
}
