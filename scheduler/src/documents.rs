//! A run's facts as documents of an index. Pure: what a manifest and a text say is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seagull_domain::{
    AttemptId, BundleId, Digest, EndCause, ExecutorId, Manifest, Outcome, Record, RunSpec, Seq, SlotNumber,
    TestIndex, TestResult, TextRef, Verdict, Workspace,
};
use seagull_results::index::{
    AttemptBody, Body, BundleBody, CountsBody, Document, EXECUTIONS, Execution, Failure, Of, ResultBody,
    RunBody, excerpt, fingerprint, verdict_parts, words,
};
use seagull_scheduler_core::{Plan, What};

use crate::unread::Unread;

/// Bytes of what an attempt's end is told in.
const END: usize = 500;

/// What documents are made of besides facts.
pub(crate) trait Sources {
    fn manifest(&mut self, digest: &Digest) -> Result<Manifest, Unread>;
    /// When it ended, in Unix milliseconds.
    fn ended_at(&self) -> u64;
    /// A text of the run's. None where it is not to be had: the failure has no fingerprint then, rather than another one.
    fn text(&mut self, text: TextRef) -> Result<Option<String>, Unread>;
}

/// What the facts of a run have come to, as far as documents to come need it.
pub(crate) struct Projection {
    /// When the run was first seen.
    at: u64,
    run: Option<(Arc<Of>, RunBody)>,
    ids: Vec<String>,
    tests: Vec<Seen>,
    predicted: Vec<u64>,
    next_bundle: BundleId,
    /// Bundles of a plan that is only anticipated.
    anticipated: Vec<BundleBody>,
    known: BTreeSet<BundleId>,
    attempts: BTreeMap<AttemptId, AttemptBody>,
}

/// What a test without a verdict has come to.
#[derive(Default)]
struct Seen {
    results: u32,
    failed: u32,
    last: Option<(u64, ExecutorId)>,
    failure: Option<(String, String, Option<TextRef>)>,
    executions: Vec<Execution>,
    attachments: Vec<String>,
}

impl Projection {
    /// Of a run that was first seen then, in Unix milliseconds.
    pub fn new(at: u64) -> Projection {
        Projection {
            at,
            run: None,
            ids: Vec::new(),
            tests: Vec::new(),
            predicted: Vec::new(),
            next_bundle: BundleId(0),
            anticipated: Vec::new(),
            known: BTreeSet::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// What the run is of, once that is known.
    pub fn of(&self) -> Option<&Arc<Of>> {
        self.run.as_ref().map(|(of, _)| of)
    }

    /// The run's tests, once they are known.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Likewise, where no more facts come.
    pub fn into_ids(self) -> Vec<String> {
        self.ids
    }

    /// The documents that a fact brings, or brings up to date. Facts come in order; what makes no sense after those before
    /// it brings nothing. After an error the projection is of no use any more.
    pub fn take(&mut self, seq: Seq, what: What, sources: &mut dyn Sources) -> Result<Vec<Document>, Unread> {
        let bodies = match what {
            What::Submitted(spec) => self.submitted(*spec),
            What::Planned { plan, .. } => {
                self.anticipated.clear();
                let bundles = self.planned(&plan);
                self.confirmed(&plan.manifest, sources)?;
                bundles.into_iter().map(Body::Bundle).collect()
            }
            What::Anticipated { plan, .. } => {
                self.anticipated = self.planned(&plan);
                Vec::new()
            }
            What::Confirmed { manifest, .. } => {
                self.confirmed(&manifest, sources)?;
                std::mem::take(&mut self.anticipated).into_iter().map(Body::Bundle).collect()
            }
            What::Withdrawn => {
                self.anticipated.clear();
                Vec::new()
            }
            What::Bundled { bundle, entries, .. } => {
                let predicted = self.predicted(entries.iter().map(|(test, _)| *test));
                let tests = u32::try_from(entries.len()).unwrap_or(u32::MAX);
                vec![self.bundle(bundle, tests, Some(predicted), true)]
            }
            What::Assigned { attempt, bundle, executor, number, tests, .. } => {
                let given = AttemptBody {
                    attempt,
                    bundle,
                    executor,
                    slot: number,
                    tests,
                    left: tests,
                    end: String::new(),
                    lost: false,
                };
                self.attempts.insert(attempt, given);
                // A second copy has a bundle of which nothing else tells.
                let new = bundle.filter(|bundle| !self.known.contains(bundle));
                new.map(|bundle| self.bundle(bundle, tests, None, true)).into_iter().collect()
            }
            What::Recorded { attempt, executor, slot, records, .. } => {
                for (record, evidence) in records {
                    self.recorded(record, evidence.is_none(), (attempt, &executor, slot));
                }
                Vec::new()
            }
            What::Condemned { attempt, executor, slot, result } => {
                self.result(*result, attempt, &executor, slot);
                Vec::new()
            }
            What::AttemptEnded { attempt, cause, left, .. } => self.ended(attempt, end(&cause), left, false),
            What::AttemptLost { attempt, cause, left, .. } => {
                self.ended(attempt, cause.word().to_owned(), left, true)
            }
            What::Decided { verdicts } => verdicts
                .into_iter()
                .filter_map(|(test, verdict)| self.decided(test, verdict, sources).transpose())
                .collect::<Result<_, _>>()?,
            What::Ended { verdict, counts, exit_code, suite_errors } => {
                let ended = self.run.as_mut().map(|(_, run)| {
                    let counts = CountsBody::from(counts);
                    *run = RunBody {
                        verdict: Some(verdict.word()),
                        ended_at: Some(sources.ended_at()),
                        exit_code,
                        suite_errors,
                        tests: counts.total,
                        counts,
                        ..run.clone()
                    };
                    Body::Run(Box::new(run.clone()))
                });
                ended.into_iter().collect()
            }
            _ => Vec::new(),
        };
        let Some((of, _)) = &self.run else { return Ok(Vec::new()) };
        Ok(bodies.into_iter().map(|body| Document { of: of.clone(), version: seq.0, body }).collect())
    }

    fn submitted(&mut self, spec: RunSpec) -> Vec<Body> {
        let (revision, rerun_of) = (revision(&spec), spec.rerun_of());
        let RunSpec { id, owner, project, rev, submitted_at, .. } = spec;
        let of = Of { project, run: id, submitted_at, at: self.at };
        let run = RunBody {
            owner,
            rev,
            revision,
            rerun_of,
            tests: 0,
            verdict: None,
            ended_at: None,
            exit_code: 0,
            suite_errors: 0,
            counts: CountsBody::default(),
        };
        self.run = Some((Arc::new(of), run.clone()));
        vec![Body::Run(Box::new(run))]
    }

    fn confirmed(&mut self, manifest: &Digest, sources: &mut dyn Sources) -> Result<(), Unread> {
        self.ids = sources.manifest(manifest)?.ids().collect();
        self.tests = self.ids.iter().map(|_| Seen::default()).collect();
        Ok(())
    }

    /// The bundles of a plan, numbered as the core numbers them; none where some of its tests are under way already.
    fn planned(&mut self, plan: &Plan) -> Vec<BundleBody> {
        self.predicted.clone_from(&plan.predicted_us);
        if plan.moved.is_some() {
            return Vec::new();
        }
        let mut bundles = Vec::new();
        for tests in plan.bundles.iter().filter(|tests| !tests.is_empty()) {
            let (bundle, predicted) = (self.next_bundle, self.predicted(tests.iter().copied()));
            let tests = u32::try_from(tests.len()).unwrap_or(u32::MAX);
            self.know(bundle);
            bundles.push(BundleBody { bundle, tests, predicted: Some(predicted), anew: false });
        }
        bundles
    }

    fn predicted(&self, tests: impl Iterator<Item = TestIndex>) -> u64 {
        tests.filter_map(|test| self.predicted.get(test.0 as usize)).sum()
    }

    fn know(&mut self, bundle: BundleId) {
        self.known.insert(bundle);
        self.next_bundle = self.next_bundle.max(BundleId(bundle.0.saturating_add(1)));
    }

    fn bundle(&mut self, bundle: BundleId, tests: u32, predicted: Option<u64>, anew: bool) -> Body {
        self.know(bundle);
        Body::Bundle(BundleBody { bundle, tests, predicted, anew })
    }

    fn recorded(
        &mut self,
        record: Record,
        counts: bool,
        (attempt, executor, slot): (AttemptId, &ExecutorId, SlotNumber),
    ) {
        match record {
            Record::Result(result) if counts => self.result(result, attempt, executor, slot),
            Record::Attached { test: Some(test), file } if file.blob.is_some() => {
                if let Some(seen) = self.tests.get_mut(test.0 as usize) {
                    seen.attachments.push(file.name);
                }
            }
            _ => {}
        }
    }

    fn result(&mut self, result: TestResult, attempt: AttemptId, executor: &ExecutorId, slot: SlotNumber) {
        let Some(seen) = self.tests.get_mut(result.test.0 as usize) else { return };
        seen.results += 1;
        seen.last = Some((result.micros(), executor.clone()));
        if seen.executions.len() < EXECUTIONS {
            seen.executions.push(Execution {
                attempt,
                ordinal: result.ordinal,
                outcome: result.outcome.word(),
                detail: result.detail,
                cause: result.cause.map(|cause| cause.word()),
                phases: result.phases,
                peak_kib: result.peak_kib,
                cpu_us: result.cpu_us,
                started_at: result.started_at,
                executor: executor.clone(),
                slot,
            });
        }
        if result.outcome == Outcome::Failed {
            seen.failed += 1;
            seen.failure = Some((result.message, result.location, result.text));
        }
    }

    fn ended(&mut self, attempt: AttemptId, end: String, left: u32, lost: bool) -> Vec<Body> {
        let given = self.attempts.remove(&attempt);
        given.map(|given| Body::Attempt(AttemptBody { end, left, lost, ..given })).into_iter().collect()
    }

    fn decided(
        &mut self,
        test: TestIndex,
        verdict: Verdict,
        sources: &mut dyn Sources,
    ) -> Result<Option<Body>, Unread> {
        let of_test = (self.ids.get(test.0 as usize), self.tests.get_mut(test.0 as usize));
        let (Some(id), Some(seen)) = of_test else { return Ok(None) };
        let seen = std::mem::take(seen);
        let (word, why) = verdict_parts(verdict);
        let (micros, executor) = seen.last.unzip();
        let failure = seen.failure.map(|(message, location, text)| {
            let text = text.map_or_else(|| Ok(Some(String::new())), |text| sources.text(text))?;
            Ok::<_, Unread>(failure(message, location, text.as_deref()))
        });
        let failure = failure.transpose()?;
        Ok(Some(Body::Result(Box::new(ResultBody {
            test: id.clone(),
            position: test,
            revision: self.run.as_ref().map(|(_, run)| run.revision.clone()).unwrap_or_default(),
            verdict: word,
            why,
            results: seen.results,
            failed: seen.failed,
            micros,
            executor,
            failure,
            executions: seen.executions,
            attachments: seen.attachments,
        }))))
    }
}

fn failure(message: String, location: String, text: Option<&str>) -> Failure {
    let stack = excerpt(text.unwrap_or_default()).to_owned();
    Failure {
        fingerprint: text.map_or_else(String::new, |_| fingerprint(&message, &location, &stack)),
        words: words(&format!("{message} {stack}")),
        message,
        location,
        stack,
    }
}

/// What the files of a run were: the artifact, or what the working tree held; else the revision that its client names.
fn revision(spec: &RunSpec) -> String {
    match &spec.workspace {
        Workspace::Artifact { digest, .. } => digest.to_string(),
        Workspace::InPlace { content, .. } if !content.is_empty() => format!("{}+{content}", spec.rev),
        Workspace::InPlace { .. } => spec.rev.clone(),
    }
}

fn end(cause: &EndCause) -> String {
    let mut end = match cause {
        EndCause::Completed => "completed".to_owned(),
        EndCause::Discovered(_) => "discovered".to_owned(),
        EndCause::DiscoveryFailed(_) => "discovery failed".to_owned(),
        EndCause::Cancelled => "cancelled".to_owned(),
        EndCause::GaveBack(cause, message) if message.is_empty() => cause.to_string(),
        EndCause::GaveBack(cause, message) => format!("{cause}: {message}"),
    };
    end.truncate(end.floor_char_boundary(END));
    end
}

#[cfg(test)]
mod tests;
