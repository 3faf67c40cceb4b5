//! What ended runs came to, as lines that other programs read: one for each test of each run. For a process of its own,
//! beside whatever works in the state directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use seagull_domain::{Digest, Manifest, RunId, Seq, TextRef};
use seagull_results::index::{Body, ResultBody, RunBody};
use seagull_results::{Archive, Blobs, Logs, Remote, StoreUrl};
use seagull_scheduler_core::What;
use serde::Serialize;

use crate::documents::{Projection, Sources};
use crate::plan::manifest_in;
use crate::service::{logs_of, parse};
use crate::unread::Unread;

/// Of a text, its beginning.
const TEXT_BYTES: u32 = 8 << 10;

/// What is exported: the runs of a state directory that ended from then until then, the end excluded.
#[derive(Debug, Clone)]
pub struct Export {
    pub state: PathBuf,
    /// The store behind it, where manifests and logs are that are not here any more.
    pub blobs: Option<StoreUrl>,
    /// An empty directory.
    pub scratch: PathBuf,
    /// Of every project if None.
    pub project: Option<String>,
    pub since: SystemTime,
    pub until: SystemTime,
}

/// How much was exported.
#[derive(Debug, Default)]
pub struct Exported {
    pub runs: u64,
    pub results: u64,
    /// Failures whose text is not there: their stack and fingerprint are empty.
    pub without_text: u64,
    /// Runs that cannot be read, and why.
    pub unreadable: Vec<(RunId, String)>,
}

/// A test in a run, and the run. Moments are Unix milliseconds, durations seconds.
#[derive(Debug, Serialize)]
pub struct ResultLine<'a> {
    pub run: &'a str,
    pub project: &'a str,
    pub owner: &'a str,
    pub rev: &'a str,
    pub run_verdict: Option<&'a str>,
    pub submitted_at: u64,
    pub ended_at: u64,
    pub test: &'a str,
    pub verdict: &'a str,
    pub why: &'a str,
    /// How many results it had, and how many of them failed.
    pub results: u32,
    pub failed: u32,
    pub seconds: Option<f64>,
    pub executor: Option<&'a str>,
    pub message: &'a str,
    pub location: &'a str,
    pub stack: &'a str,
    pub fingerprint: &'a str,
    /// What files that it has left are called.
    pub attachments: &'a [String],
}

/// Tells of each result. That the store does not answer is an error. Blocks.
pub fn export(
    export: &Export,
    tell: &mut dyn FnMut(&ResultLine) -> std::io::Result<()>,
) -> Result<Exported, String> {
    let runs = export.state.join("runs");
    let archive = Archive::open(&runs).map_err(said)?;
    let remote = |url| Remote::open(url, &export.scratch, 0, Box::new(|_| {})).map(Arc::new);
    let remote = export.blobs.as_ref().map(remote).transpose().map_err(said)?;
    let blobs = Blobs::open(&export.state.join("blobs")).map_err(said)?.with(remote.clone());
    let mut exported = Exported::default();
    let ended = archive.newest().map_err(said)?.into_iter().rev();
    for (run, at) in ended.filter(|(_, at)| (export.since..export.until).contains(at)) {
        let logs = logs_of(&runs, &run).packed_into(remote.clone(), &run);
        let mut kept = Kept { blobs: &blobs, logs, ended_at: millis(at), without_text: 0 };
        match results(&archive, &run, &mut kept, export.project.as_deref()) {
            Ok(None) => {}
            Ok(Some((of, results))) => {
                exported.runs += 1;
                exported.results += results.len() as u64;
                exported.without_text += kept.without_text;
                let ended_at = millis(at);
                results.iter().try_for_each(|result| tell(&line(&of, ended_at, result))).map_err(said)?;
            }
            Err(Unread::Away(why)) => return Err(why),
            Err(Unread::Damaged(why)) => exported.unreadable.push((run, why)),
        }
    }
    Ok(exported)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// What all results of a run have in common.
struct Of {
    run: RunId,
    project: String,
    submitted_at: u64,
    body: RunBody,
}

/// The results of a run, if it is of that project.
fn results(
    archive: &Archive,
    run: &RunId,
    kept: &mut Kept,
    project: Option<&str>,
) -> Result<Option<(Of, Vec<ResultBody>)>, Unread> {
    let [first, _] = archive.ends(run).map_err(said)?;
    if let (Some(project), What::Submitted(spec)) = (project, parse(Seq(0), &first)?.what)
        && spec.project != project
    {
        return Ok(None);
    }
    let mut projection = Projection::new(kept.ended_at);
    let (mut of, mut results) = (None, Vec::new());
    for fact in archive.read(run, Seq(0)).map_err(said)? {
        let (seq, body) = fact.map_err(said)?;
        for document in projection.take(seq, parse(seq, &body)?.what, kept)? {
            match document.body {
                Body::Result(result) => results.push(*result),
                Body::Run(body) => {
                    let (project, submitted_at) = (document.of.project.clone(), document.of.submitted_at);
                    of = Some(Of { run: run.clone(), project, submitted_at, body: *body });
                }
                _ => {}
            }
        }
    }
    Ok(of.map(|of| (of, results)))
}

fn line<'a>(of: &'a Of, ended_at: u64, result: &'a ResultBody) -> ResultLine<'a> {
    let failure = result.failure.as_ref();
    ResultLine {
        run: of.run.as_str(),
        project: &of.project,
        owner: &of.body.owner,
        rev: &of.body.rev,
        run_verdict: of.body.verdict,
        submitted_at: of.submitted_at,
        ended_at,
        test: &result.test,
        verdict: result.verdict,
        why: &result.why,
        results: result.results,
        failed: result.failed,
        seconds: result.micros.map(|micros| micros as f64 / 1e6),
        executor: result.executor.as_ref().map(|executor| executor.as_str()),
        message: failure.map_or("", |failure| &failure.message),
        location: failure.map_or("", |failure| &failure.location),
        stack: failure.map_or("", |failure| &failure.stack),
        fingerprint: failure.map_or("", |failure| &failure.fingerprint),
        attachments: &result.attachments,
    }
}

/// Manifests and texts, where they are kept.
struct Kept<'a> {
    blobs: &'a Blobs,
    logs: Logs,
    ended_at: u64,
    without_text: u64,
}

impl Sources for Kept<'_> {
    fn manifest(&mut self, digest: &Digest) -> Result<Manifest, Unread> {
        manifest_in(self.blobs, digest)
    }

    fn ended_at(&self) -> u64 {
        self.ended_at
    }

    fn text(&mut self, text: TextRef) -> Result<Option<String>, Unread> {
        let wanted = TextRef { length: text.length.min(TEXT_BYTES), ..text };
        let bytes = self.logs.read(wanted)?;
        self.without_text += u64::from(bytes.is_none());
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}
