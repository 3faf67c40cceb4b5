//! What a run came to as lines that other programs read, one for each of its tests, made of its stream. Pure: what failures
//! said is passed in.

use std::collections::HashMap;

use seagull_domain::{
    ExecutorId, Manifest, Outcome, RunEvent, RunId, RunSpec, RunVerdict, TestIndex, TextRef, Verdict,
};
use seagull_results::index::{TEXT_BYTES, excerpt, fingerprint, verdict_parts};
use serde::Serialize;

/// A test in a run, and the run. Moments are Unix milliseconds, durations seconds.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    run: &'a str,
    project: &'a str,
    owner: &'a str,
    rev: &'a str,
    run_verdict: Option<&'a str>,
    submitted_at: u64,
    ended_at: u64,
    test: &'a str,
    verdict: &'a str,
    why: String,
    /// How many results it had, and how many of them failed.
    results: u32,
    failed: u32,
    seconds: Option<f64>,
    executor: Option<&'a str>,
    message: &'a str,
    location: &'a str,
    stack: &'a str,
    fingerprint: String,
    /// What files that it has left are called.
    attachments: &'a [String],
}

/// What a run has come to, as its stream tells.
#[derive(Default)]
pub struct Exported {
    spec: Option<Box<RunSpec>>,
    verdict: Option<RunVerdict>,
    ids: Vec<String>,
    seen: Vec<Seen>,
    /// In the order in which they were decided.
    decided: Vec<(TestIndex, Verdict)>,
}

#[derive(Default)]
struct Seen {
    results: u32,
    failed: u32,
    /// Microseconds of the last result, and where that came from.
    last: Option<(u64, ExecutorId)>,
    failure: Option<Failure>,
    attachments: Vec<String>,
}

struct Failure {
    message: String,
    location: String,
    text: Option<TextRef>,
}

impl Exported {
    /// The tests of the run; what is known of them begins anew.
    pub fn manifest(&mut self, manifest: &Manifest) {
        self.ids = manifest.ids().collect();
        self.seen = self.ids.iter().map(|_| Seen::default()).collect();
    }

    pub fn apply(&mut self, event: RunEvent) {
        match event {
            RunEvent::RunStarted(spec) => self.spec = Some(spec),
            RunEvent::RunFinished { verdict, .. } => self.verdict = Some(verdict),
            RunEvent::TestFinished { result, executor, evidence: None, .. } => {
                let Some(seen) = self.seen.get_mut(result.test.0 as usize) else { return };
                seen.results += 1;
                seen.last = Some((result.micros(), executor));
                if result.outcome == Outcome::Failed {
                    seen.failed += 1;
                    let text =
                        result.text.map(|text| TextRef { length: text.length.min(TEXT_BYTES), ..text });
                    seen.failure = Some(Failure { message: result.message, location: result.location, text });
                }
            }
            RunEvent::Attached { test: Some(test), file, .. } if file.blob.is_some() => {
                if let Some(seen) = self.seen.get_mut(test.0 as usize) {
                    seen.attachments.push(file.name);
                }
            }
            RunEvent::Verdict { test, verdict } => self.decided.push((test, verdict)),
            _ => {}
        }
    }

    pub fn results(&self) -> usize {
        self.decided.len()
    }

    /// What the failures of decided tests said.
    pub fn texts(&self) -> Vec<TextRef> {
        let seen = self.decided.iter().filter_map(|(test, _)| self.seen.get(test.0 as usize));
        seen.filter_map(|seen| seen.failure.as_ref()?.text).collect()
    }

    /// Tells of each test of the run, which ended then. A failure whose text is not among those that are given has no stack
    /// and no fingerprint, rather than another one.
    pub fn tell<E>(
        &self,
        (run, ended_at): (&RunId, u64),
        texts: &HashMap<TextRef, String>,
        mut tell: impl FnMut(&Line) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(spec) = &self.spec else { return Ok(()) };
        for (test, verdict) in &self.decided {
            let of_test = (self.ids.get(test.0 as usize), self.seen.get(test.0 as usize));
            let (Some(id), Some(seen)) = of_test else { continue };
            let (verdict, why) = verdict_parts(*verdict);
            let failure = seen.failure.as_ref();
            let text = failure.and_then(|failure| match failure.text {
                Some(text) => texts.get(&text).map(String::as_str),
                None => Some(""),
            });
            let stack = excerpt(text.unwrap_or_default());
            let print = |of: &Failure| text.map(|_| fingerprint(&of.message, &of.location, stack));
            tell(&Line {
                run: run.as_str(),
                project: &spec.project,
                owner: &spec.owner,
                rev: &spec.rev,
                run_verdict: self.verdict.map(RunVerdict::word),
                submitted_at: spec.submitted_at,
                ended_at,
                test: id,
                verdict,
                why,
                results: seen.results,
                failed: seen.failed,
                seconds: seen.last.as_ref().map(|(micros, _)| *micros as f64 / 1e6),
                executor: seen.last.as_ref().map(|(_, executor)| executor.as_str()),
                message: failure.map_or("", |failure| &failure.message),
                location: failure.map_or("", |failure| &failure.location),
                stack,
                fingerprint: failure.and_then(print).unwrap_or_default(),
                attachments: &seen.attachments,
            })?;
        }
        Ok(())
    }
}
